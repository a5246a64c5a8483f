/**
 * The status port as status-server wires it, over a small installation with 1,000 certificates. Says over IPC where it
 * listens; `signed` asks how many signatures were made, `revoke` revokes the first certificate's unit.
 * argv[2]: scratch directory, also the CRL directory.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { sequence } from '../../src/x509/der.js';
import { certIdOf, ocspIssuerHashes } from '../../src/x509/ocsp.js';
import { readSpki } from '../../src/x509/spki.js';
import { openStatusRooms } from '../../test/support/status-rooms.js';
import { openStatusPort } from '../../test/support/status-service.js';
import { startStatusWorld } from '../../test/support/status-world.js';

const CERTIFICATES = 1_000;

export interface OcspPortReady {
  readonly port: number;
  readonly firstSerialHex: string;
  readonly requestsFile: string;
}

const dir = process.argv[2] ?? '';
const world = await startStatusWorld();
const rooms = openStatusRooms(world);
await world.beat();
const beats = setInterval(() => void world.beat(), 1_000);
const port = await openStatusPort(world, { dir });
const { sha1 } = ocspIssuerHashes(world.deviceCa.subjectDer, readSpki(world.deviceCa.spkiDer));
const unit = await world.addUnit();
const serials: Buffer[] = [];
const key = world.newKey();
for (let index = 0; index < CERTIFICATES; index += 1) {
  serials.push((await world.issue({ unitId: index === 0 ? unit.id : null, key })).serial);
}
const requests = serials.map((serial) => {
  const body = sequence(sequence(sequence(sequence(certIdOf('sha1', sha1, serial).certIdDer))));
  const head = `POST /ocsp HTTP/1.1\r\nHost: pki.hanbit.example\r\nContent-Type: application/ocsp-request\r\nContent-Length: ${body.length}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), body]).toString('base64');
});
const requestsFile = join(dir, 'requests.json');
writeFileSync(requestsFile, JSON.stringify(requests));

const obey = async (order: unknown): Promise<void> => {
  if (order === 'signed') process.send?.(world.signed.length);
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
    .then(() => world.close())
    .then(() => process.exit(0));
});
process.send?.({
  port: port.port,
  firstSerialHex: serials[0]?.toString('hex') ?? '',
  requestsFile,
} satisfies OcspPortReady);
