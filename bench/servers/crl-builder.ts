/**
 * Makes CRLs of one CA as the publisher does, from the list in memory or from the database. argv: entries; `memory` or
 * `database`; a scratch directory. Any message → CrlBuilderRound: from a hundredth of the list changed, or from nothing in
 * memory, to the signed CRL in hand.
 */
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildCrl, type PreviousCrl } from '../../src/lifecycle/status/build-crl.js';
import { CrlBook } from '../../src/lifecycle/status/crl-book.js';
import { CrlBooks } from '../../src/lifecycle/status/crl-books.js';
import { crlStore } from '../../src/lifecycle/status/crl-store.pg.js';
import type { CrlStore, StatusWitness } from '../../src/lifecycle/status/index.js';
import { signCrl } from '../../src/lifecycle/status/sign-crl.js';
import { statusChangeReader } from '../../src/lifecycle/status/status-changes.pg.js';
import { openPool } from '../../src/platform/db/pool.pg.js';
import { transactorOf } from '../../src/platform/db/transaction.pg.js';
import { certificatePem } from '../../src/x509/certificate.js';
import { crlEntry, readCrlHead } from '../../src/x509/crl.js';
import { readSpki } from '../../src/x509/spki.js';
import { startStatusWorld } from '../../test/support/status-world.js';
import { fillRevoked } from './crl-rows.js';

export interface CrlBuilderReady {
  readonly databaseUrl: string;
  /** Of the CRL. */
  readonly bytes: number;
}

export interface CrlBuilderRound {
  readonly seconds: number;
  /** This process and, for `database`, its PostgreSQL process. */
  readonly cpuSeconds: number;
  readonly bytes: number;
  readonly checks: { readonly what: string; readonly ok: boolean }[];
}

const [count, source, dir] = [Number(process.argv[2]), process.argv[3], process.argv[4] ?? ''];
const isMemory = source === 'memory';
const world = await startStatusWorld();
const pool = openPool(world.db.url, { applicationName: 'bench', connectionsMax: 1 });
const transactor = transactorOf(pool);
const standings = await crlStore.standings(world.transactor.read, new Date());
const issuer = standings.find(({ issuer: one }) => one.id === world.deviceCa.id)?.issuer;
if (!issuer) throw new Error('the world has no Device CA');
const spki = readSpki(world.deviceCa.spkiDer);
/** Of the one connection, which the pool may have closed and opened meanwhile. */
let backend = 0;
const startedAt = new Date(Math.floor(Date.now() / 1_000) * 1_000);
const endSeconds = startedAt.getTime() / 1_000 + 345_600;
const hour = Math.floor(startedAt.getTime() / 3_600_000);

let book = new CrlBook();
let previous: PreviousCrl | null = null;
let number = 0;
/** Serials, one after another: a million objects would be collected in the time that is measured. */
let listed = Buffer.alloc(0);
const SERIAL_BYTES = 16;
let took = { seconds: 0, cpuSeconds: 0 };
function newSerial(): Buffer {
  const serial = randomBytes(SERIAL_BYTES);
  serial[0] = 1;
  serial.writeUInt32BE(hour - (serial.readUInt8(15) % 72), 1);
  return serial;
}

function entryOf(serial: Buffer): Buffer {
  return crlEntry({ serial, revokedAt: startedAt, reason: 'keyCompromise' });
}

function fillBook(): void {
  const serials = Array.from({ length: count }, newSerial).sort((a, b) => a.compare(b));
  listed = Buffer.concat(serials);
  const notAfters = Buffer.alloc(4 * count);
  for (let at = 0; at < count; at += 1) notAfters.writeUInt32BE(endSeconds, at * 4);
  book.append(Buffer.concat(serials.map(entryOf)), notAfters);
}

/** As a publisher that was just started has it. */
async function readAll(): Promise<CrlBook> {
  const books = new CrlBooks({ store: crlStore, changes: statusChangeReader, transactor });
  await books.catchUp();
  return books.of(world.deviceCa.id, startedAt.getTime() / 1_000);
}

interface Churn {
  readonly added: readonly { serial: Buffer; entryDer: Buffer }[];
  readonly released: readonly Buffer[];
}

/** A hundredth of the list: half of it new, half released. */
function churnOf(): Churn {
  const half = isMemory ? count / 200 : 0;
  const placeOf = (at: number): number => ((at * 199 + number) % count) * SERIAL_BYTES;
  const released = Array.from({ length: half }, (_, at) => {
    const place = placeOf(at);
    const serial = Buffer.from(listed.subarray(place, place + SERIAL_BYTES));
    newSerial().copy(listed, place);
    return serial;
  });
  const added = released.map((_, at) => Buffer.from(listed.subarray(placeOf(at), placeOf(at) + SERIAL_BYTES)));
  return { added: added.map((serial) => ({ serial, entryDer: entryOf(serial) })), released };
}

const witnessesOf = (released: readonly Buffer[]): CrlStore['witnesses'] => {
  const at = new Date();
  const known = new Map(
    released.map((serial): [string, StatusWitness] => {
      const serialHex = serial.toString('hex');
      return [serialHex, { serialHex, kind: 'certificate.released', notAfter: new Date(endSeconds * 1_000), at }];
    }),
  );
  return async (_tx, _issuerId, serials) => serials.flatMap((serial) => known.get(serial.toString('hex')) ?? []);
};

async function make(issuerOf: NonNullable<typeof issuer>, { added, released }: Churn): Promise<Buffer> {
  const witnesses = witnessesOf(released);
  backend = (await pool.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')).rows[0]?.pid ?? 0;
  const before = { own: process.cpuUsage(), server: serverSeconds(), atMs: performance.now() };
  if (isMemory) {
    for (const { serial, entryDer } of added) book.put(serial, entryDer, endSeconds);
    for (const serial of released) book.remove(serial);
  } else book = await readAll();
  const building = { witnesses, tx: transactor.read, onWait: async () => undefined };
  const input = {
    issuer: { ...issuerOf, numberLast: number },
    spki,
    book,
    previous,
    now: new Date(),
    lifeSeconds: 21_600,
  };
  const built = await buildCrl(building, input);
  const der = await signCrl(world.signer, issuerOf, spki, built);
  const seconds = (performance.now() - before.atMs) / 1_000;
  const { user, system } = process.cpuUsage(before.own);
  took = { seconds, cpuSeconds: (user + system) / 1e6 + serverSeconds() - before.server };
  number = built.number;
  world.signed.length = 0;
  // A publisher that was just started compares with the file that lies there; what that costs is the memory's row.
  if (isMemory)
    previous = {
      number: BigInt(number),
      thisUpdate: built.thisUpdate,
      entriesDer: readCrlHead(der).entriesDer,
      judged: built.judged,
    };
  return der;
}

function serverSeconds(): number {
  if (isMemory) return 0;
  const ticks = readFileSync(`/proc/${backend}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? [];
  return (Number(ticks[11]) + Number(ticks[12])) / 100;
}

/** OpenSSL on all of it: signature, number, and as many entries as there must be. */
function checksOf(der: Buffer): CrlBuilderRound['checks'] {
  writeFileSync(join(dir, 'ca.pem'), certificatePem(world.deviceCa.certificateDer));
  writeFileSync(join(dir, 'list.crl'), der);
  const args = ['crl', '-inform', 'DER', '-in', join(dir, 'list.crl'), '-noout', '-CAfile', join(dir, 'ca.pem')];
  const { stdout, stderr } = spawnSync('openssl', [...args, '-crlnumber'], { encoding: 'utf8' });
  return [
    { what: `openssl verifies the CRL of ${count} entries`, ok: stderr.includes('verify OK') },
    {
      what: 'it bears the number',
      ok: Number.parseInt(/crlNumber=(?:0x)?(\w+)/.exec(stdout)?.[1] ?? '', 16) === number,
    },
    { what: `it has ${count} entries`, ok: book.count === count },
  ];
}

if (isMemory) fillBook();
else {
  await fillRevoked(world.db, { issuerIds: [issuer.id], certificates: count });
  await world.beat();
  book = await readAll();
}

const ca = issuer;
const obey = async (order: { readonly check?: boolean }): Promise<void> => {
  const der = await make(ca, churnOf());
  const checks = order.check === true ? checksOf(der) : [];
  process.send?.({ ...took, bytes: der.length, checks } satisfies CrlBuilderRound);
};
process.on('message', (order: { check?: boolean }) => void obey(order));
process.on('SIGTERM', () => {
  void pool
    .end()
    .then(() => world.close())
    .then(() => process.exit(0));
});
process.send?.({
  databaseUrl: world.db.url,
  bytes: (await make(ca, { added: [], released: [] })).length,
} satisfies CrlBuilderReady);
