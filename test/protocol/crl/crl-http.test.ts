import { generateKeyPairSync, sign, verify } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { FemtoError } from '../../../src/platform/errors.js';
import { systemClock } from '../../../src/platform/system-clock.js';
import { timeText } from '../../../src/protocol/time/time-http.js';
import { openStatusRooms, type StatusRooms } from '../../support/status-rooms.js';
import { openStatusPort, type StatusPort } from '../../support/status-service.js';
import { type StatusWorld, startStatusWorld } from '../../support/status-world.js';

let world: StatusWorld;
let rooms: StatusRooms;
let port: StatusPort;
const timeKey = generateKeyPairSync('ec', { namedCurve: 'P-256' });
let isCertified = false;

beforeAll(async () => {
  world = await startStatusWorld();
  rooms = openStatusRooms(world);
  await rooms.publisher().publishDue();
  writeFileSync(join(rooms.crlDir, 'access-root.crl'), world.rootCrl(world.roots.access));
  writeFileSync(join(rooms.crlDir, 'broken.crl'), 'not a CRL');
  port = await openStatusPort(world, {
    dir: rooms.crlDir,
    time: {
      clock: systemClock,
      sign: (text) => {
        if (isCertified) return { signature: sign('sha256', text, timeKey.privateKey), certificatePem: 'PEM' };
        throw new FemtoError('RETRY_LATER', 'not yet', { retryAfterSeconds: 1 });
      },
    },
  });
});
afterAll(async () => {
  await port.close();
  rooms.remove();
  await world.close();
});

describe('CRLs and CA certificates over HTTP', () => {
  test.each(['device-ca-1', 'bootstrap-ca', 'services-ca', 'access-root'])(
    '%s: type, thirty seconds, ETag, 304',
    async (label) => {
      const url = `${port.url}/crl/${label}.crl`;
      const first = await fetch(url);
      expect(first.status).toBe(200);
      expect(first.headers.get('content-type')).toBe('application/pkix-crl');
      expect(first.headers.get('cache-control')).toBe('max-age=30, public, no-transform, must-revalidate');
      const etag = first.headers.get('etag') ?? '';
      for (const condition of [etag, `W/${etag}`, `"other", ${etag}`, '*']) {
        expect((await fetch(url, { headers: { 'if-none-match': condition } })).status).toBe(304);
      }
      expect((await fetch(url, { headers: { 'if-none-match': '"other"' } })).status).toBe(200);
      const head = await fetch(url, { method: 'HEAD' });
      expect(head.headers.get('content-length')).toBe(String((await first.arrayBuffer()).byteLength));
    },
  );

  test('CA certificates, roots included, byte for byte', async () => {
    for (const ca of [world.deviceCa, world.roots.services]) {
      const response = await fetch(`${port.url}/ca/${ca.label}.cer`);
      expect(response.headers.get('content-type')).toBe('application/pkix-cert');
      expect(Buffer.from(await response.arrayBuffer()).equals(ca.certificateDer)).toBe(true);
    }
  });

  test.each([
    '/crl/none.crl',
    '/crl/broken.crl',
    '/crl/..%2fsecrets.crl',
    '/crl/',
    '/ca/device-ca-1.crl',
    '/ca/DEVICE.cer',
  ])('%s is 404', async (path) => {
    expect((await fetch(`${port.url}${path}`)).status).toBe(404);
  });

  test('a revocation is fetchable within seconds, and an older file put in its place is not believed', async () => {
    const unit = await world.addUnit();
    await world.issue({ unitId: unit.id });
    const fetchCrl = async () => Buffer.from(await (await fetch(`${port.url}/crl/device-ca-1.crl`)).arrayBuffer());
    const old = await fetchCrl();
    await rooms.revocation.revoke({
      actor: 'person:kim',
      personId: null,
      reason: 'keyCompromise',
      note: 'stolen',
      selection: { by: 'unit', unitId: unit.id },
    });
    await world.db.pool.query(`UPDATE lease SET expires_at = now() - interval '1 second'`);
    await rooms.publisher().publishDue();
    const end = Date.now() + 3_000;
    while ((await fetchCrl()).equals(old)) {
      if (Date.now() > end) throw new Error('the new CRL was not served within 3 s');
      await new Promise((done) => setTimeout(done, 100));
    }
    const current = await fetchCrl();
    writeFileSync(join(rooms.crlDir, 'device-ca-1.crl'), old);
    await new Promise((done) => setTimeout(done, 1_200));
    expect((await fetchCrl()).equals(current)).toBe(true);
  });
});

describe('status servers without the disk of the publisher', () => {
  test('one that hears of a CRL, and one that hears nothing, both serve the newest', async () => {
    const elsewhere = mkdtempSync(join(tmpdir(), 'fp-elsewhere-'));
    const hearing = await openStatusPort(world, { dir: elsewhere });
    const deaf = await openStatusPort(world, {
      dir: elsewhere,
      databaseUrl: 'postgresql://nobody@127.0.0.1:1/none',
    });
    const unit = await world.addUnit();
    const { serial } = await world.issue({ unitId: unit.id });
    await rooms.revocation.hold({
      actor: 'person:kim',
      personId: null,
      reason: 'certificateHold',
      note: 'seen elsewhere',
      selection: { by: 'unit', unitId: unit.id },
    });
    await world.db.pool.query(`UPDATE lease SET expires_at = now() - interval '1 second'`);
    const [published] = await rooms.publisher().publishDue();
    expect(published).toMatchObject({ issuer: 'device-ca-1', outcome: 'published' });
    const serves = async ({ url }: StatusPort): Promise<boolean> => {
      const answer = await fetch(`${url}/crl/device-ca-1.crl`);
      return answer.ok && Buffer.from(await answer.arrayBuffer()).includes(serial);
    };
    for (const one of [hearing, deaf]) {
      while (!(await serves(one))) await sleep(50);
      await one.close();
    }
    rmSync(elsewhere, { recursive: true, force: true });
  });
});

describe('GET /time (rules 8.3)', () => {
  const nonce = 'AB'.repeat(16);

  test('503 until the key is certified, then time, nonce and signature', async () => {
    const waiting = await fetch(`${port.url}/time?nonce=${nonce}`);
    expect(waiting.status).toBe(503);
    expect(waiting.headers.get('retry-after')).toBe('1');
    isCertified = true;
    const response = await fetch(`${port.url}/time?nonce=${nonce}`);
    expect(response.headers.get('cache-control')).toBe('no-store');
    const body = (await response.json()) as { time: string; nonce: string; signature: string; certificate: string };
    expect(body.nonce).toBe(nonce.toLowerCase());
    expect(Math.abs(Date.now() - new Date(body.time).getTime())).toBeLessThan(2_000);
    const signature = Buffer.from(body.signature, 'base64');
    expect(verify('sha256', timeText(body.time, body.nonce), timeKey.publicKey, signature)).toBe(true);
  });

  test.each([
    '/time',
    '/time?nonce=',
    '/time?nonce=ab',
    `/time?nonce=${'a'.repeat(31)}`,
    `/time?nonce=${'ab'.repeat(65)}`,
    '/time?nonce=zz',
  ])('%s is 400', async (path) => {
    expect((await fetch(`${port.url}${path}`)).status).toBe(400);
  });
});
