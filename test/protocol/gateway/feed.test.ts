import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { feedReader, noise, revocationOf } from '../../support/feed-reader.js';
import { type GatewayWorld, startGatewayWorld } from '../../support/gateway-world.js';

let world: GatewayWorld;
let reader: ReturnType<typeof feedReader>;
type Gateway = Awaited<ReturnType<GatewayWorld['addGateway']>>;
let gangnam: Gateway;
let busan: Gateway;

beforeAll(async () => {
  world = await startGatewayWorld();
  reader = feedReader(world);
  gangnam = await world.addGateway('segw-gangnam-1');
  busan = await world.addGateway('segw-busan-1');
});
afterAll(async () => {
  await world.close();
});

describe('a page of the feed', () => {
  test('tells holds, releases and revocations in order, each with issuer, serial, unit, reason and time', async () => {
    const unit = await world.addUnit({ state: 'ACTIVE' });
    const from = await reader.end();
    await reader.hold(unit);
    await reader.append(noise(1));
    await reader.release(unit);
    await reader.revoke(unit);
    await reader.append(noise(2));
    const to = await reader.end();
    const nonce = 'ab'.repeat(16);
    const read = await reader.page(gangnam, `after=${from}&nonce=${nonce}`);
    expect(read).toMatchObject({ version: 1, kind: 'entries', gateway: 'segw-gangnam-1', nonce, from, to, end: to });
    const ofUnit = {
      issuer: issuerKey('bootstrap-ca'),
      serial: unit.bootstrap.serial.toString('hex'),
      unit: unit.fqdn,
    };
    expect(read.entries).toEqual([
      { ...ofUnit, event: 'held', reason: 'certificateHold', position: expect.any(String), at: expect.any(String) },
      {
        ...ofUnit,
        event: 'released',
        reason: expect.any(String),
        position: expect.any(String),
        at: expect.any(String),
      },
      { ...ofUnit, event: 'revoked', reason: 'keyCompromise', position: expect.any(String), at: expect.any(String) },
    ]);
    expect(Math.abs(Date.now() - Date.parse(read.entries[0].at))).toBeLessThan(60_000);
  });

  test('is signed as a whole: jose and openssl refuse it after one changed character', async () => {
    const from = await reader.end();
    const { body: jws } = await world.client.call('GET', `/v1/feed?after=${from}`, { as: gangnam });
    const [header, payload, signature] = (jws as string).split('.') as [string, string, string];
    expect(await opensslSays(`${header}.${payload}`, signature)).toBe('Verified OK');
    const altered = Buffer.from(Buffer.from(payload, 'base64url').toString().replace('gangnam', 'hannam0'));
    await expect(reader.verified(`${header}.${altered.toString('base64url')}.${signature}`)).rejects.toThrow(
      'signature verification failed',
    );
    expect(await opensslSays(`${header}.${altered.toString('base64url')}`, signature)).toMatch(/Verification failure/i);
    const leaf = join(world.dir, 'x5c.pem');
    const { x5c } = JSON.parse(Buffer.from(header, 'base64url').toString());
    writeFileSync(leaf, `-----BEGIN CERTIFICATE-----\n${x5c[0]}\n-----END CERTIFICATE-----\n`);
    const services = join(world.dir, 'services-ca.pem');
    writeFileSync(services, world.token.entry('services-ca').certificatePem);
    const root = join(world.dir, 'services-root.pem');
    expect(await world.client.openssl('verify', '-CAfile', root, '-untrusted', services, leaf)).toContain('OK');
  });

  test('moves past numbered rows that are not for the feed, so that nobody stays behind', async () => {
    const from = await reader.end();
    await reader.append(noise(3), noise(4));
    const to = await reader.end();
    expect(await reader.page(gangnam, `after=${from}`)).toMatchObject({ kind: 'entries', entries: [], to });
    expect(await reader.page(gangnam, `after=${to}`)).toMatchObject({ from: to, to, entries: [] });
  });

  test('ends after so many entries, or below 256 KiB, and the next goes on without a hole', async () => {
    const unit = await world.addUnit();
    const from = await reader.end();
    const rows = Array.from({ length: 1_200 }, (_, n) => revocationOf(unit, n + 1));
    await reader.append(...rows);
    const to = await reader.end();
    expect((await reader.page(gangnam, `after=${from}&limit=7`)).entries).toHaveLength(7);
    const serials: string[] = [];
    let [position, pages] = [from, 0];
    while (position !== to) {
      const { body } = await world.client.call('GET', `/v1/feed?after=${position}`, { as: gangnam });
      expect(body.length).toBeLessThanOrEqual(256 * 1_024);
      const read = await reader.verified(body);
      expect(read.entries.length).toBeLessThanOrEqual(1_000);
      expect([read.from, read.kind]).toEqual([position, 'entries']);
      serials.push(...read.entries.map(({ serial }: { serial: string }) => serial));
      position = read.to;
      pages += 1;
    }
    expect(pages).toBeGreaterThan(1);
    expect(serials).toEqual(rows.map(({ body }) => body.serial));
  });

  test('a transaction that began earlier and commits later is told to whoever read on meanwhile', async () => {
    const [early, late] = [await world.addUnit(), await world.addUnit()];
    const from = await reader.end();
    const slow = await world.db.pool.connect();
    await slow.query('BEGIN');
    const row = revocationOf(late, 77);
    await slow.query('INSERT INTO ledger_inbox (kind, subject, at, body) VALUES ($1, $2, $3, $4)', [
      row.kind,
      row.subject,
      row.at,
      JSON.stringify(row.body),
    ]);
    await reader.revoke(early);
    await world.sequence();
    const first = await reader.page(gangnam, `after=${from}`);
    expect(first.entries.map(({ unit }: { unit: string }) => unit)).toEqual([early.fqdn]);
    await slow.query('COMMIT');
    slow.release();
    await world.sequence();
    for (const gateway of [gangnam, busan]) {
      const second = await reader.page(gateway, `after=${first.to}`);
      expect(second.entries.map(({ unit }: { unit: string }) => unit)).toEqual([late.fqdn]);
    }
  });

  test('after a restart of the port a reader goes on where it was', async () => {
    const from = await reader.end();
    await reader.revoke(await world.addUnit());
    await world.sequence();
    const before = await reader.page(gangnam, `after=${from}`);
    await reader.revoke(await world.addUnit());
    await world.sequence();
    await world.restart();
    const after = await reader.page(gangnam, `after=${before.to}`);
    expect([before.entries.length, after.entries.length]).toEqual([1, 1]);
    expect(after.from).toBe(before.to);
  });

  test('a query of another shape is a BAD_REQUEST', async () => {
    for (const query of [
      '',
      'after=1',
      'after=1:-1',
      'after=01:2',
      'after=1:1&after=1:2',
      'after=1:1&limit=0',
      'after=1:1&limit=1001',
      'after=1:1&wait=26',
      'after=1:1&nonce=zz',
      'after=1:1&more=1',
    ]) {
      const { status, body } = await world.client.call('GET', `/v1/feed?${query}`, { as: gangnam });
      expect([query, status, body.code]).toEqual([query, 400, 'BAD_REQUEST']);
    }
  });
});

describe('a position that means nothing', () => {
  beforeEach(async () => {
    await world.db.pool.query('DELETE FROM crl_dirty');
  });

  test('another epoch, or one beyond the end, is answered with where the CRLs stand and where to go on', async () => {
    await world.db.pool.query(
      `INSERT INTO crl (issuer_id, number, this_update, next_update, entry_count, sha256, der, fence)
       SELECT id, 5, now(), now() + interval '6 hours', 0, '\\x00', '\\x00', 1 FROM issuer WHERE kind = 'bootstrap-ca'`,
    );
    const to = await reader.end();
    for (const [after, reason] of [
      ['0:0', 'unknown-epoch'],
      ['7:1', 'unknown-epoch'],
      ['1:99999999', 'beyond-end'],
    ]) {
      const read = await reader.page(gangnam, `after=${after}&wait=20`);
      expect(read).toMatchObject({ kind: 'resync', reason, from: after, to });
      expect(read.crls).toEqual([
        {
          issuer: issuerKey('bootstrap-ca'),
          number: 5,
          thisUpdate: expect.any(String),
          url: expect.stringMatching(/^http.*\/crl\/bootstrap-ca.*\.crl$/),
          certificate: expect.stringMatching(/^MII/),
        },
      ]);
    }
  });

  test('what is not in a CRL yet is told again after a resync, because it goes on from before it', async () => {
    const unit = await world.addUnit();
    await reader.revoke(unit);
    const now = await reader.end();
    const read = await reader.page(gangnam, 'after=0:0');
    expect(read.kind).toBe('resync');
    expect(Number(read.to.split(':')[1])).toBeLessThan(Number(now.split(':')[1]));
    const told: string[] = [];
    for (let position = read.to; position !== now; ) {
      const next = await reader.page(gangnam, `after=${position}`);
      told.push(...next.entries.map((entry: { unit: string }) => entry.unit));
      position = next.to;
    }
    expect(told).toContain(unit.fqdn);
  });

  test('a row that is gone behind a reader is a resync, and no page hides it', async () => {
    const from = await reader.end();
    await reader.append(noise(20), noise(21));
    const to = await reader.end();
    const [epoch, seq] = to.split(':');
    await world.db.pool.query('ALTER TABLE ledger DISABLE TRIGGER ledger_no_change');
    const kept = `CREATE TABLE kept AS SELECT * FROM ledger WHERE epoch = ${epoch} AND seq = ${Number(seq) - 1}`;
    await world.db.pool.query(kept);
    await world.db.pool.query('DELETE FROM ledger l USING kept k WHERE l.epoch = k.epoch AND l.seq = k.seq');
    expect(await reader.page(gangnam, `after=${from}`)).toMatchObject({ kind: 'resync', reason: 'gap', to });
    await world.db.pool.query('INSERT INTO ledger SELECT * FROM kept');
    await world.db.pool.query('DROP TABLE kept');
    await world.db.pool.query('ALTER TABLE ledger ENABLE TRIGGER ledger_no_change');
    expect(await reader.page(gangnam, `after=${from}`)).toMatchObject({ kind: 'entries', to });
  });
});

function issuerKey(label: string): string {
  return world.token.entry(label).keyIdentifierHex;
}

/** As docs/gateway.md does it: the two numbers of the signature become DER, and openssl judges. */
async function opensslSays(signed: string, signature: string): Promise<string> {
  const raw = Buffer.from(signature, 'base64url').toString('hex');
  const file = (name: string): string => join(world.dir, name);
  writeFileSync(
    file('sig.cnf'),
    `asn1=SEQUENCE:s\n[s]\nr=INTEGER:0x${raw.slice(0, 64)}\ns=INTEGER:0x${raw.slice(64)}\n`,
  );
  await world.client.openssl('asn1parse', '-genconf', file('sig.cnf'), '-noout', '-out', file('sig.der'));
  writeFileSync(file('decision.pem'), world.decisionPem);
  writeFileSync(
    file('decision.pub'),
    await world.client.openssl('x509', '-in', file('decision.pem'), '-pubkey', '-noout'),
  );
  writeFileSync(file('signed'), signed);
  try {
    const told = ['dgst', '-sha256', '-verify', file('decision.pub'), '-signature', file('sig.der'), file('signed')];
    return execFileSync('openssl', told, { encoding: 'utf8', stdio: 'pipe' }).trim();
  } catch (error) {
    return String((error as { stdout?: string }).stdout).trim();
  }
}
