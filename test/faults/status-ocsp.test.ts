import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { openPool, type Pool } from '../../src/platform/db/pool.pg.js';
import { transactorOf } from '../../src/platform/db/transaction.pg.js';
import { readCertificate } from '../../src/x509/certificate.js';
import { explicitTag, octetString, oid, sequence } from '../../src/x509/der.js';
import { certIdOf, ocspIssuerHashes, readOcspResponse } from '../../src/x509/ocsp.js';
import { OID } from '../../src/x509/oids.js';
import { readSpki } from '../../src/x509/spki.js';
import { openStatusRooms, type StatusRooms } from '../support/status-rooms.js';
import { openStatusPort, type StatusPort } from '../support/status-service.js';
import { type StatusWorld, startStatusWorld, type WorldCa } from '../support/status-world.js';

let world: StatusWorld;
let rooms: StatusRooms;
let port: StatusPort;
let now: Date;
const clock = { now: () => now };
beforeEach(async () => {
  now = new Date();
  world = await startStatusWorld();
  rooms = openStatusRooms(world);
  await world.beat(now);
});
afterEach(async () => {
  await port.close();
  rooms.remove();
  await world.close();
});

const why = { actor: 'person:kim', personId: null, reason: 'keyCompromise', note: 'stolen' } as const;

function requestFor(ca: WorldCa, serial: Buffer, nonce?: Buffer): Buffer {
  const { sha1 } = ocspIssuerHashes(ca.subjectDer, readSpki(ca.spkiDer));
  const list = sequence(sequence(certIdOf('sha1', sha1, serial).certIdDer));
  if (!nonce) return sequence(sequence(list));
  const extension = sequence(oid(OID.ocspNonce), octetString(octetString(nonce)));
  return sequence(sequence(list, explicitTag(2, sequence(extension))));
}

async function post(body: Buffer): Promise<{ bytes: Buffer; headers: Headers; says: string }> {
  const response = await fetch(`${port.url}/ocsp`, {
    method: 'POST',
    headers: { 'content-type': 'application/ocsp-request' },
    body,
  });
  const bytes = Buffer.from(await response.arrayBuffer());
  const parsed = readOcspResponse(bytes);
  const says =
    parsed.status === 'successful' ? (parsed.basic.responseData.responses[0]?.status.kind ?? '') : parsed.status;
  return { bytes, headers: response.headers, says };
}

const ask = (serial: Buffer, nonce?: Buffer) => post(requestFor(world.deviceCa, serial, nonce));
const later = (seconds: number) => {
  now = new Date(now.getTime() + seconds * 1_000);
};

async function until(check: () => Promise<boolean>): Promise<void> {
  for (const end = Date.now() + 5_000; !(await check()); ) {
    if (Date.now() > end) throw new Error('not seen within 5 s');
    await new Promise((done) => setTimeout(done, 50));
  }
}

describe('S1: the token is away', () => {
  test('cached answers go on until their nextUpdate, then tryLater; never stale, never an unsigned good', async () => {
    port = await openStatusPort(world, { clock });
    const { serial } = await world.issue({});
    const first = await ask(serial);
    expect(first.says).toBe('good');
    const stolen = await world.issue({});
    const { issuerId } = stolen;
    await rooms.revocation.revoke({ ...why, selection: { by: 'certificate', issuerId, serial: stolen.serial } });
    await until(async () => (await ask(stolen.serial)).says === 'revoked');
    world.breakSigner(true);
    // The cursor may just have withdrawn it to have it made anew; what it never becomes is good.
    expect(['revoked', 'tryLater']).toContain((await ask(stolen.serial)).says);
    const fresh = await world.issue({});
    expect((await ask(fresh.serial)).says).toBe('tryLater');
    later(3_000); // past its half life: it would be made anew, and cannot be
    await world.beat(now);
    const held = await ask(serial);
    expect(held.bytes.equals(first.bytes)).toBe(true);
    expect((await ask(serial, Buffer.alloc(16, 3))).bytes.equals(first.bytes)).toBe(true);
    later(601);
    await world.beat(now);
    expect((await ask(serial)).says).toBe('tryLater');
    expect((await ask(stolen.serial)).says).toBe('tryLater');
    world.breakSigner(false);
    expect((await ask(serial)).says).toBe('good');
    expect((await ask(stolen.serial)).says).toBe('revoked');
  });
});

describe('the heartbeat stops: state that may be old', () => {
  test('after a minute nothing new is said; what was said goes on until its nextUpdate', async () => {
    port = await openStatusPort(world, { clock });
    const { serial } = await world.issue({});
    const first = await ask(serial);
    later(90);
    expect((await ask(serial)).bytes.equals(first.bytes)).toBe(true);
    const other = await world.issue({});
    expect((await ask(other.serial)).says).toBe('tryLater');
    expect((await ask(Buffer.from('1234', 'hex'))).says).toBe('tryLater');
    later(3_600);
    expect((await ask(serial)).says).toBe('tryLater');
  });

  test('thisUpdate is the heartbeat, not the time of signing', async () => {
    port = await openStatusPort(world, { clock });
    const { serial } = await world.issue({});
    later(40);
    const parsed = readOcspResponse((await ask(serial)).bytes);
    const data = parsed.status === 'successful' ? parsed.basic.responseData : undefined;
    expect(data?.responses[0]?.thisUpdate.getTime()).toBe(Math.floor((now.getTime() - 40_000) / 1_000) * 1_000);
    expect(data?.producedAt.getTime()).toBe(Math.floor(now.getTime() / 1_000) * 1_000);
  });
});

describe('the database goes away', () => {
  test('cached answers and CRLs go on, everything else is tryLater, and it recovers alone', async () => {
    const pool: Pool = openPool(world.db.url, { applicationName: 'status', connectionsMax: 4 });
    let isDown = false;
    const inner = transactorOf(pool);
    const transactor: typeof inner = {
      run: (work) => inner.run(work),
      runTogether: (work) => inner.runTogether(work),
      readSnapshot: (work) => inner.readSnapshot(work),
      read: {
        query: (sql, params) =>
          isDown ? Promise.reject(new Error('connection refused')) : inner.read.query(sql, params),
      },
    };
    await rooms.publisher().publishDue();
    port = await openStatusPort(world, { transactor, dir: rooms.crlDir });
    const { serial } = await world.issue({});
    const first = await ask(serial);
    const stolen = await world.issue({});
    await rooms.revocation.revoke({
      ...why,
      selection: { by: 'certificate', issuerId: stolen.issuerId, serial: stolen.serial },
    });
    await until(async () => (await ask(stolen.serial)).says === 'revoked');
    isDown = true;
    expect((await ask(serial)).bytes.equals(first.bytes)).toBe(true);
    expect((await ask(stolen.serial)).says).toBe('revoked');
    expect((await ask(Buffer.alloc(16, 1))).says).toBe('tryLater');
    const crl = await fetch(`${port.url}/crl/device-ca-1.crl`);
    expect(crl.status).toBe(200);
    expect((await fetch(`${port.url}/ca/device-ca-1.cer`)).status).toBe(200);
    isDown = false;
    const other = await world.issue({});
    expect((await ask(other.serial)).says).toBe('good');
    await port.close();

    // Started while it is away: nobody knows whose a certificate is, so it is not "unauthorized".
    isDown = true;
    port = await openStatusPort(world, { transactor, dir: rooms.crlDir });
    expect((await ask(serial)).says).toBe('tryLater');
    expect((await ask(stolen.serial)).says).toBe('tryLater');
    expect((await fetch(`${port.url}/crl/device-ca-1.crl`)).status).toBe(200);
    isDown = false;
    expect((await ask(serial)).says).toBe('good');
    expect((await ask(stolen.serial)).says).toBe('revoked');
    await pool.end();
  });
});

describe('rules 7.2: a NOTIFY that is lost', () => {
  test('the ledger cursor withdraws the answer all the same', async () => {
    port = await openStatusPort(world);
    const unit = await world.addUnit();
    const { serial } = await world.issue({ unitId: unit.id });
    expect((await ask(serial)).says).toBe('good');
    await world.db.pool.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'listen:femtopki_status' AND datname = current_database()`,
    );
    await rooms.revocation.revoke({ ...why, selection: { by: 'unit', unitId: unit.id } });
    // Nobody told us, and nobody numbers the entry: what is committed is seen all the same.
    await until(async () => (await ask(serial)).says === 'revoked');
  });
});

describe('S10: a responder that clients would refuse', () => {
  test.each<[string, (ca: WorldCa) => Promise<unknown>]>([
    ['expired', () => world.db.pool.query(`UPDATE ocsp_signer SET not_after = now() - interval '1 second'`)],
    [
      'without OCSPSigning and no-check',
      async (ca) => {
        const { der } = await world.issue({ ca });
        return world.db.pool.query('UPDATE ocsp_signer SET certificate_der = $1', [der]);
      },
    ],
  ])('%s: nothing is signed, and the trouble has a name', async (_what, spoil) => {
    await spoil(world.deviceCa);
    port = await openStatusPort(world);
    const { serial } = await world.issue({});
    expect((await ask(serial)).says).toBe('tryLater');
    expect(port.service.directory.troubles().join()).toContain('device-ca-1');
  });

  test('a signer made for another CA is not used', async () => {
    await world.db.pool.query(
      'UPDATE ocsp_signer SET certificate_der = (SELECT certificate_der FROM ocsp_signer WHERE issuer_id = $2) WHERE issuer_id = $1',
      [world.deviceCa.id, world.bootstrapCa.id],
    );
    port = await openStatusPort(world);
    const { serial } = await world.issue({});
    expect((await ask(serial)).says).toBe('tryLater');
    expect(port.service.directory.troubles().join()).toContain('names another issuer');
  });

  test('no answer outlives its signer', async () => {
    const { rows } = await world.db.pool.query('SELECT certificate_der FROM ocsp_signer WHERE issuer_id = $1', [
      world.deviceCa.id,
    ]);
    const { notAfter } = readCertificate(rows[0].certificate_der);
    now = new Date(notAfter.getTime() - 600_000);
    await world.beat(now);
    // Before the port: its clock is ten days on, and by that a serial of today is no longer one that may be on its way.
    const { serial } = await world.issue({});
    port = await openStatusPort(world, { clock });
    const parsed = readOcspResponse((await ask(serial)).bytes);
    const answer = parsed.status === 'successful' ? parsed.basic.responseData.responses[0] : undefined;
    expect(answer?.nextUpdate).toEqual(notAfter);
  });
});

describe('a flood of questions that must be signed for one asker each', () => {
  test('cached answers go on; nonces are then answered without one; unknown serials are tryLater', async () => {
    port = await openStatusPort(world, { clock, livePerSecond: 5 });
    const { serial } = await world.issue({});
    const cached = await ask(serial);
    const signedBefore = world.signed.length;
    const replies = [];
    for (let index = 0; index < 60; index += 1) replies.push(await ask(serial, Buffer.alloc(16, index)));
    expect(world.signed.length - signedBefore).toBeLessThanOrEqual(10);
    expect(replies.every(({ says }) => says === 'good')).toBe(true);
    expect(replies.filter(({ bytes }) => bytes.equals(cached.bytes)).length).toBeGreaterThanOrEqual(50);
    const unknown = [];
    for (let index = 0; index < 20; index += 1) unknown.push(await ask(Buffer.from([0x12, index])));
    expect(unknown.filter(({ says }) => says === 'tryLater')).toHaveLength(20);
    expect((await ask(serial)).bytes.equals(cached.bytes)).toBe(true);
  });

  test('a thousand spellings of one question are signed once', async () => {
    port = await openStatusPort(world);
    const { serial } = await world.issue({});
    const { sha1 } = ocspIssuerHashes(world.deviceCa.subjectDer, readSpki(world.deviceCa.spkiDer));
    const list = sequence(sequence(certIdOf('sha1', sha1, serial).certIdDer));
    const before = world.signed.length;
    for (let index = 0; index < 50; index += 1) {
      const unknown = sequence(oid(`1.3.6.1.4.1.99999.${index}`), octetString(Buffer.alloc(4)));
      expect((await post(sequence(sequence(list, explicitTag(2, sequence(unknown)))))).says).toBe('good');
    }
    expect(world.signed.length - before).toBe(1);
  });

  test('fifty at once for one certificate: one signature', async () => {
    port = await openStatusPort(world);
    const { serial } = await world.issue({});
    const before = world.signed.length;
    await Promise.all(Array.from({ length: 50 }, () => ask(serial)));
    expect(world.signed.length - before).toBe(1);
  });
});
