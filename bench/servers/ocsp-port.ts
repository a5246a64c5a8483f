/**
 * The status port as status-server wires it, over an installation with so many certificates, made by the database itself.
 * Orders over IPC, each answered: `state`, `revoke` (the unit of the first certificate)..
 * argv[2]: scratch directory, also the CRL directory; argv[3]: JSON OcspPortOptions.
 */
import type { KeyObject } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { connectSigner } from '../../src/platform/hsm/signer-client.js';
import type { Signer } from '../../src/platform/signer.js';
import { ocspIssuerHashes } from '../../src/x509/ocsp.js';
import { readSpki } from '../../src/x509/spki.js';
import { openStatusRooms } from '../../test/support/status-rooms.js';
import { openStatusPort } from '../../test/support/status-service.js';
import { startStatusWorld } from '../../test/support/status-world.js';
import { startPinned } from '../measure/pinned-process.js';
import { fillCertificates } from './bench-certificates.js';

export interface OcspPortOptions {
  readonly certificates: number;
  /** Every so manieth is revoked; default none. */
  readonly revokedEvery?: number;
  readonly livePerSecond?: number;
  /** Answers are signed by a process on this core, as the signer is another host's (rules 2.5); default: in this process. */
  readonly signerCore?: number;
  /** Units with a certificate each, beside them; default none. */
  readonly units?: number;
}

export interface OcspPortReady {
  readonly port: number;
  /** A certificate of a unit, beside the others. */
  readonly firstSerialHex: string;
  readonly nameHashHex: string;
  readonly keyHashHex: string;
  readonly hour: number;
  readonly databaseUrl: string;
  readonly units: readonly { readonly unitId: number; readonly serialHex: string }[];
}

export interface OcspPortState {
  readonly signed: number;
  readonly cached: number;
  readonly worked: number;
  readonly answers: number;
  readonly cacheBytes: number;
  readonly index: { readonly issued: number; readonly rows: number; readonly bytes: number };
}

const dir = process.argv[2] ?? '';
const options = JSON.parse(process.argv[3] ?? '{"certificates":1000}') as OcspPortOptions;
const world = await startStatusWorld();
const rooms = openStatusRooms(world);
await world.beat();
const beats = setInterval(() => void world.beat(), 1_000);
const hour = Math.floor(Date.now() / 3_600_000) - 72;
const unit = await world.addUnit();
const first = await world.issue({ unitId: unit.id });
const units: { unitId: number; serialHex: string }[] = [];
for (const key = world.newKey(); units.length < (options.units ?? 0); ) {
  const { id: unitId } = await world.addUnit();
  units.push({ unitId, serialHex: (await world.issue({ unitId, key })).serial.toString('hex') });
}
await fillCertificates(world.db, { ...options, issuerId: world.deviceCa.id, hour });
const events = { cached: 0, worked: 0 };
const signing = options.signerCore === undefined ? undefined : await startSigning(options.signerCore);
const port = await openStatusPort(world, {
  dir,
  ...(signing && { signer: signing.signer }),
  ...(options.livePerSecond !== undefined && { livePerSecond: options.livePerSecond }),
  onEvent: (event) => {
    if (event === 'cached' || event === 'worked') events[event] += 1;
  },
});
while (port.service.watch.snapshot === undefined) await new Promise((done) => setTimeout(done, 20));
const { sha1 } = ocspIssuerHashes(world.deviceCa.subjectDer, readSpki(world.deviceCa.spkiDer));
writeFileSync(join(dir, 'ready'), '');

const obey = async (order: unknown): Promise<void> => {
  if (order === 'state') {
    const { answers, bytes } = port.service.responder.cache.counts;
    const { index } = port.service.watch;
    process.send?.({
      signed: world.signed.length,
      ...events,
      answers,
      cacheBytes: bytes,
      index: index.counts,
    } satisfies OcspPortState);
    world.signed.length = 0; // its bytes are nobody's memory but the bench's
  }
  if (order !== 'revoke') return;
  await rooms.revocation.revoke({
    actor: 'system:bench',
    personId: null,
    reason: 'keyCompromise',
    note: 'the answer must change',
    selection: { by: 'unit', unitId: unit.id },
  });
  process.send?.('revoked');
};
process.on('message', (order) => void obey(order));
process.on('SIGTERM', () => {
  clearInterval(beats);
  void port
    .close()
    .then(() => signing?.end())
    .then(() => world.close())
    .then(() => process.exit(0));
});
process.send?.({
  port: port.port,
  firstSerialHex: first.serial.toString('hex'),
  nameHashHex: sha1.nameHash.toString('hex'),
  keyHashHex: sha1.keyHash.toString('hex'),
  hour,
  databaseUrl: world.db.url,
  units,
} satisfies OcspPortReady);

async function startSigning(core: number): Promise<{ signer: Signer; end(): Promise<void> }> {
  const path = join(dir, 'signer.sock');
  const standIn = startPinned(new URL('./memory-signer.ts', import.meta.url), core, [path]);
  const pem = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }).toString();
  standIn.send([...world.keys].map(([label, { privateKey }]) => [label, pem(privateKey)]));
  await standIn.next();
  const signer = connectSigner({ runDir: dir, role: 'status', dial: async () => createConnection(path) });
  return {
    signer,
    end: async () => {
      await signer.close();
      await standIn.end();
    },
  };
}
