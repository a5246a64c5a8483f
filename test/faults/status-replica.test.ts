/**
 * Status servers that read a streaming standby, as a real PostgreSQL has it (rules 6.1, 6.2): never a false revoked or
 * never-issued, tryLater for what a replica that lags cannot know.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { openPool, type Pool } from '../../src/platform/db/pool.pg.js';
import { transactorOf } from '../../src/platform/db/transaction.pg.js';
import { explicitTag, octetString, oid, sequence } from '../../src/x509/der.js';
import { certIdOf, ocspIssuerHashes, readOcspResponse } from '../../src/x509/ocsp.js';
import { OID } from '../../src/x509/oids.js';
import { readSpki } from '../../src/x509/spki.js';
import { type ReplicatedPostgres, startReplicatedPostgres } from '../support/postgres-standby.js';
import { startStatusProcess } from '../support/status-process.js';
import { openStatusRooms, type StatusRooms } from '../support/status-rooms.js';
import { openStatusPort, type StatusPort } from '../support/status-service.js';
import { type StatusWorld, startStatusWorld, type WorldCertificate } from '../support/status-world.js';

let pair: ReplicatedPostgres;
let world: StatusWorld;
let rooms: StatusRooms;
let standby: Pool;
let ports: StatusPort[];
let aheadMs = 0;
const clock = { now: () => new Date(Date.now() + aheadMs) };
const HOUR_MS = 3_600_000;
const hoursAgo = (hours: number) => new Date(Date.now() - hours * HOUR_MS);
const kim = { actor: 'person:kim', personId: null, reason: 'keyCompromise', note: 'stolen' } as const;
/** Nobody listens there: a status server that hears no notices. */
const DEAF = 'postgresql://nobody@127.0.0.1:1/none';

beforeAll(async () => {
  pair = await startReplicatedPostgres();
  world = await startStatusWorld({ db: pair.db });
  rooms = openStatusRooms(world);
  standby = openPool(pair.standbyUrl, { applicationName: 'status', connectionsMax: 8 });
}, 120_000);
afterAll(async () => {
  await standby?.end();
  rooms?.remove();
  await pair?.close();
}, 60_000);
beforeEach(async () => {
  aheadMs = 0;
  ports = [];
  await beat();
});
afterEach(async () => {
  await pair.resume().catch(() => undefined);
  await Promise.all(ports.map((port) => port.close()));
});

const beat = () => world.beat(clock.now());

async function open(options: Parameters<typeof openStatusPort>[1]): Promise<StatusPort> {
  const port = await openStatusPort(world, { clock, ...options });
  ports.push(port);
  // Until then it follows nothing, and keeps no answer that it cannot vouch for.
  await until(async () => port.service.watch.snapshot !== undefined);
  return port;
}
const onPrimary = () => open({});
const onReplica = (databaseUrl?: string) =>
  open({
    transactor: transactorOf(standby),
    primary: world.transactor,
    ...(databaseUrl !== undefined && { databaseUrl }),
  });

async function unitWith(): Promise<{ unitId: number; certificate: WorldCertificate }> {
  const unit = await world.addUnit();
  // Drawn now, as issuance draws: a serial tells the hour.
  return {
    unitId: unit.id,
    certificate: await world.issue({ unitId: unit.id, generation: 1, notBefore: clock.now() }),
  };
}
const byUnit = (unitId: number) => ({ by: 'unit', unitId }) as const;

/** Of our shape, drawn hours ago and never used. */
async function neverIssued(): Promise<Buffer> {
  const { serial } = await world.issue({ state: 'signing', notBefore: hoursAgo(4) });
  await world.db.pool.query('DELETE FROM issuance_intent WHERE serial = $1', [serial]);
  return serial;
}

let nonces = 0;
/** What an asker without a cached answer is told: a nonce is answered from the state of now, or not at all. */
async function ask(port: StatusPort, serial: Buffer, { nonce = true } = {}): Promise<string> {
  const { sha1 } = ocspIssuerHashes(world.deviceCa.subjectDer, readSpki(world.deviceCa.spkiDer));
  const list = sequence(sequence(certIdOf('sha1', sha1, serial).certIdDer));
  nonces += 1;
  const value = Buffer.alloc(16);
  value.writeUInt32BE(nonces);
  const extension = sequence(oid(OID.ocspNonce), octetString(octetString(value)));
  const body = sequence(nonce ? sequence(list, explicitTag(2, sequence(extension))) : sequence(list));
  const headers = { 'content-type': 'application/ocsp-request' };
  const response = await fetch(`${port.url}/ocsp`, { method: 'POST', headers, body });
  const parsed = readOcspResponse(Buffer.from(await response.arrayBuffer()));
  if (parsed.status !== 'successful') return parsed.status;
  const [answer] = parsed.basic.responseData.responses;
  if (answer?.status.kind !== 'revoked') return answer?.status.kind ?? '';
  return answer.status.at.getTime() === 0 ? 'never issued' : `revoked ${answer.status.reason}`;
}

async function until(check: () => Promise<boolean>): Promise<void> {
  for (const end = Date.now() + 10_000; !(await check()); ) {
    if (Date.now() > end) throw new Error('not seen within 10 s');
    await new Promise((done) => setTimeout(done, 50));
  }
}

describe('a replica that has caught up', () => {
  test('two status servers, one on the primary and one on the replica, give the same verdicts', async () => {
    const made = {
      good: await unitWith(),
      revoked: await unitWith(),
      held: await unitWith(),
      released: await unitWith(),
    };
    await rooms.revocation.revoke({ ...kim, selection: byUnit(made.revoked.unitId) });
    for (const { unitId } of [made.held, made.released])
      await rooms.revocation.hold({ ...kim, reason: 'certificateHold', selection: byUnit(unitId) });
    await rooms.revocation.release({ ...kim, unitId: made.released.unitId });
    const signing = await world.issue({ state: 'signing' });
    const unknown = await neverIssued();
    await beat();
    await pair.caughtUp();
    for (const port of [await onPrimary(), await onReplica()]) {
      expect({
        good: await ask(port, made.good.certificate.serial),
        revoked: await ask(port, made.revoked.certificate.serial),
        held: await ask(port, made.held.certificate.serial),
        released: await ask(port, made.released.certificate.serial),
        signing: await ask(port, signing.serial),
        unknown: await ask(port, unknown),
      }).toEqual({
        good: 'good',
        revoked: 'revoked keyCompromise',
        held: 'revoked certificateHold',
        released: 'good',
        signing: 'tryLater',
        unknown: 'never issued',
      });
    }
  });

  test('a revocation is seen without a notice, from the ledger alone', async () => {
    const { unitId, certificate } = await unitWith();
    await pair.caughtUp();
    const port = await onReplica(DEAF);
    expect(await ask(port, certificate.serial, { nonce: false })).toBe('good');
    await rooms.revocation.revoke({ ...kim, selection: byUnit(unitId) });
    await until(async () => (await ask(port, certificate.serial, { nonce: false })) === 'revoked keyCompromise');
  });
});

describe('a replica that lags', () => {
  test('what was issued meanwhile is tryLater, never never-issued, and right when it has caught up', async () => {
    const port = await onReplica();
    await pair.caughtUp();
    await pair.pause();
    const { certificate } = await unitWith();
    await beat();
    expect(await ask(port, certificate.serial)).toBe('tryLater');
    await pair.resume();
    await pair.caughtUp();
    expect(await ask(port, certificate.serial)).toBe('good');
  });

  test('what was drawn just before the hour and recorded just after it is not called never issued', async () => {
    const hour = new Date(Math.floor(Date.now() / HOUR_MS) * HOUR_MS);
    aheadMs = hour.getTime() + 5_000 - Date.now();
    await beat();
    await pair.caughtUp();
    await pair.pause();
    const unit = await world.addUnit();
    const { serial } = await world.issue({ unitId: unit.id, notBefore: new Date(hour.getTime() - 1_000) });
    expect(await ask(await onReplica(DEAF), serial)).toBe('tryLater');
    await pair.resume();
    await pair.caughtUp();
    expect(await ask(await onReplica(DEAF), serial)).toBe('good');
  });

  test('whose revocation was told is not called good again by state from before it', async () => {
    const { unitId, certificate } = await unitWith();
    await pair.caughtUp();
    const port = await onReplica();
    expect(await ask(port, certificate.serial, { nonce: false })).toBe('good');
    await pair.pause();
    await rooms.revocation.revoke({ ...kim, selection: byUnit(unitId) });
    // Told by the primary: the answer that was kept is gone, and the replica still believes the certificate.
    await until(async () => (await ask(port, certificate.serial, { nonce: false })) !== 'good');
    for (let index = 0; index < 20; index += 1) {
      expect(['revoked keyCompromise', 'tryLater']).toContain(
        await ask(port, certificate.serial, { nonce: index % 2 === 0 }),
      );
      await new Promise((done) => setTimeout(done, 50));
    }
    await pair.resume();
    await until(async () => (await ask(port, certificate.serial, { nonce: false })) === 'revoked keyCompromise');
  });

  test('by more than a minute says nothing new, and what it said goes on until its nextUpdate', async () => {
    const { certificate } = await unitWith();
    const other = await unitWith();
    const unknown = await neverIssued();
    await beat();
    await pair.caughtUp();
    const port = await onReplica(DEAF);
    expect(await ask(port, certificate.serial, { nonce: false })).toBe('good');
    await pair.pause();
    await rooms.revocation.revoke({ ...kim, selection: byUnit(other.unitId) });
    aheadMs = 61_000;
    await beat();
    expect(await ask(port, certificate.serial, { nonce: false })).toBe('good');
    expect(await ask(port, other.certificate.serial)).toBe('tryLater');
    expect(await ask(port, unknown)).toBe('tryLater');
    aheadMs = HOUR_MS + 61_000;
    expect(await ask(port, certificate.serial, { nonce: false })).toBe('tryLater');
    await beat();
    await pair.resume();
    await pair.caughtUp();
    await until(async () => (await ask(port, other.certificate.serial)) === 'revoked keyCompromise');
    expect(await ask(port, certificate.serial)).toBe('good');
  });
});

describe('the process, told of a replica by its configuration', () => {
  test('reads the replica, and is ready without the primary', async () => {
    await pair.caughtUp();
    const server = await startStatusProcess({ databaseUrl: DEAF, status: { replicaUrl: pair.standbyUrl } });
    try {
      const says = (url: string) => fetch(url).catch(() => undefined);
      await until(async () => (await says(`${server.probesUrl}/readyz`))?.status === 200);
      const ca = await says(`${server.url}/ca/device-ca-1.cer`);
      expect(Buffer.from(await (ca ?? new Response()).arrayBuffer())).toEqual(world.deviceCa.certificateDer);
    } finally {
      await server.stop();
    }
  }, 60_000);
});

describe('the primary is gone', () => {
  test('the replica goes on for a minute, kept answers until their nextUpdate, then all is tryLater', async () => {
    const { certificate } = await unitWith();
    const other = await unitWith();
    await beat();
    await pair.caughtUp();
    const port = await onReplica();
    expect(await ask(port, certificate.serial, { nonce: false })).toBe('good');
    await pair.stopPrimary();
    expect(await ask(port, other.certificate.serial)).toBe('good');
    aheadMs = 61_000;
    expect(await ask(port, certificate.serial, { nonce: false })).toBe('good');
    expect(await ask(port, other.certificate.serial)).toBe('tryLater');
    aheadMs = HOUR_MS + 1_000;
    expect(await ask(port, certificate.serial, { nonce: false })).toBe('tryLater');
  }, 60_000);
});
