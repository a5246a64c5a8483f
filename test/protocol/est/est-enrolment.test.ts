import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { CurlCredential } from '../../support/curl-unit.js';
import { type DeviceWorld, startDeviceWorld, type WorldUnit } from '../../support/device-world.js';
import { estUnit } from '../../support/est-unit.js';

let world: DeviceWorld;
let unit: ReturnType<typeof estUnit>;

beforeAll(async () => {
  world = await startDeviceWorld();
  unit = estUnit(world.dir, world.port);
});
afterAll(() => world.close());

async function activeUnit(): Promise<WorldUnit & { op: CurlCredential }> {
  const who = await world.addUnit();
  const { op } = await unit.enroll('simpleenroll', { as: who, code: await world.grant(who) });
  return { ...who, op: must(op) };
}

function must<T>(value: T | null): T {
  if (value === null) throw new Error('nothing was issued');
  return value;
}

const stateOf = async (who: WorldUnit): Promise<string> =>
  (await world.db.pool.query('SELECT state FROM unit WHERE id = $1', [who.id])).rows[0].state;
const generationsOf = async (who: WorldUnit): Promise<string[]> => {
  const { rows } = await world.db.pool.query<{ text: string }>(
    `SELECT generation || ' ' || state AS text FROM lineage_slot WHERE unit_id = $1 ORDER BY id`,
    [who.id],
  );
  return rows.map(({ text }) => text);
};
const refusals = async (who: WorldUnit) => (await world.ledger(who, 'request.refused')).map(({ code }) => code);
const subject = (pemFile: string) =>
  unit.openssl('x509', '-in', pemFile, '-noout', '-serial', '-ext', 'subjectAltName');

describe('EST cacerts, RFC 7030 section 4.1', () => {
  test('gives Access Root, Device CAs, Services Root and Services CA to anybody, as openssl reads them', async () => {
    const answer = await unit.call('cacerts');
    expect(answer.status).toBe(200);
    const names = await unit.openssl('storeutl', '-noout', '-text', '-certs', must(await unit.certificates(answer)));
    for (const name of ['Access Root', 'Device CA 1', 'Services Root', 'Services CA']) expect(names).toContain(name);
    expect(names).not.toContain('Bootstrap');
  });

  test('is written in one line of base64, its length told, in one piece', async () => {
    const { headers, text } = await unit.call('cacerts');
    expect(text).toMatch(/^[A-Za-z0-9+/]+={0,2}$/);
    expect(headers).toMatch(/^content-type: application\/pkcs7-mime; smime-type=certs-only\r$/im);
    expect(headers).toMatch(new RegExp(`^content-length: ${text.length}\\r$`, 'im'));
    expect(headers).not.toMatch(/transfer-encoding: chunked/i);
  });
});

describe('EST csrattrs, RFC 7030 section 4.5', () => {
  test('asks for P-256 and SHA-256, and nothing else', async () => {
    const answer = await unit.call('csrattrs');
    expect(answer.headers).toMatch(/^content-type: application\/csrattrs\r$/im);
    const der = unit.file('attrs');
    await unit.openssl('base64', '-d', '-A', '-in', unit.store('attrs.b64', answer.text), '-out', der);
    const objects = (await unit.openssl('asn1parse', '-inform', 'DER', '-in', der)).match(/OBJECT +:(\S+)/g);
    expect(objects?.map((line) => line.replace(/.*:/, ''))).toEqual([
      'id-ecPublicKey',
      'prime256v1',
      'ecdsa-with-SHA256',
    ]);
  });
});

describe('EST simpleenroll, RFC 7030 section 4.2.1', () => {
  test('bootstrap certificate and code activate the unit; cacerts holds all that openssl needs to verify', async () => {
    const who = await world.addUnit();
    const { op, text, headers } = await unit.enroll('simpleenroll', { as: who, code: await world.grant(who) });
    const pem = readFileSync(must(op).pemFile, 'utf8');
    // RFC 7030 section 4.2.3: the certificate alone.
    expect(pem.match(/BEGIN CERTIFICATE/g)).toHaveLength(1);
    expect(text).not.toContain('\n');
    expect(headers).toMatch(/^content-type: application\/pkcs7-mime; smime-type=certs-only\r$/im);
    const cas = must(await unit.certificates(await unit.call('cacerts')));
    const anchor = join(world.dir, 'access-root.pem');
    const verdict = ['verify', '-x509_strict', '-CAfile', anchor, '-untrusted', cas, must(op).pemFile];
    expect(await unit.openssl(...verdict)).toContain(': OK');
    expect(await subject(must(op).pemFile)).toContain(`DNS:${who.fqdn}`);
    expect(await stateOf(who)).toBe('ACTIVE');
    expect(await world.ledgerKinds(who)).toEqual(expect.arrayContaining(['grant.spent', 'certificate.issued']));
  });

  test('an installer’s order stands for the code', async () => {
    const who = await world.addUnit();
    await world.rooms.enrolment.createGrant({
      unitId: who.id,
      kind: 'order',
      lineId: who.lineId,
      createdBy: 'person:kim',
      approvedBy: null,
      lifeSeconds: 86_400,
    });
    expect((await unit.enroll('simpleenroll', { as: who })).status).toBe(200);
  });

  test('the same request again gets the same certificate, with the code or without', async () => {
    const who = await world.addUnit();
    const code = await world.grant(who);
    const first = await unit.enroll('simpleenroll', { as: who, code });
    for (const again of [{ code }, {}]) {
      expect((await unit.enroll('simpleenroll', { as: who, keyFile: first.keyFile, ...again })).text).toBe(first.text);
    }
    expect(await generationsOf(who)).toEqual(['1 pending']);
  });

  test('under an operational certificate, without a code, it renews; with the code of an approved grant it reactivates', async () => {
    const who = await activeUnit();
    const renewed = await unit.enroll('simpleenroll', { as: who.op });
    expect(await generationsOf(who)).toEqual(['1 confirmed', '2 pending']);
    const code = await world.grant(who, { approvedBy: 'person:lee' });
    expect((await unit.enroll('simpleenroll', { as: must(renewed.op), code })).status).toBe(200);
    expect(await generationsOf(who)).toEqual(['1 confirmed', '2 pending', '1 pending']);
    expect(await stateOf(who)).toBe('ACTIVE');
  });
});

describe('EST simplereenroll, RFC 7030 section 4.2.2', () => {
  test('under the bootstrap certificate it is activation, because strongSwan sends nothing else', async () => {
    const who = await world.addUnit();
    const { op } = await unit.enroll('simplereenroll', { as: who, code: await world.grant(who) });
    expect(await subject(must(op).pemFile)).toContain(`DNS:${who.fqdn}`);
    expect(await stateOf(who)).toBe('ACTIVE');
  });

  test('under the current certificate it renews with a new key, and the old certificate counts as arrived', async () => {
    const who = await activeUnit();
    const second = must((await unit.enroll('simplereenroll', { as: who.op })).op);
    const third = must((await unit.enroll('simplereenroll', { as: second })).op);
    expect(await generationsOf(who)).toEqual(['1 confirmed', '2 confirmed', '3 pending']);
    expect(await subject(third.pemFile)).toContain(`DNS:${who.fqdn}`);
  });

  test('with the same new key again, the same certificate comes', async () => {
    const who = await activeUnit();
    const first = await unit.enroll('simplereenroll', { as: who.op });
    expect((await unit.enroll('simplereenroll', { as: who.op, keyFile: first.keyFile })).text).toBe(first.text);
    expect(await generationsOf(who)).toEqual(['1 confirmed', '2 pending']);
  });

  test('a code beside an operational certificate is not looked at, so none is tried', async () => {
    const who = await activeUnit();
    expect((await unit.enroll('simplereenroll', { as: who.op, code: '0000-0000-0000-0000' })).status).toBe(200);
    const { rows } = await world.db.pool.query('SELECT tries FROM activation_grant WHERE unit_id = $1', [who.id]);
    expect(rows).toEqual([{ tries: 0 }]);
  });

  test('the key of the certificate itself may not follow it', async () => {
    const who = await activeUnit();
    expect((await unit.enroll('simplereenroll', { as: who.op, keyFile: who.op.keyFile })).status).toBe(403);
    expect(await refusals(who)).toEqual(['KEY_IN_USE']);
  });
});

describe('what clients send (RFC 8951 section 3)', () => {
  test.each<[string, RegExp, string | null]>([
    ['base64 with line breaks', /.{64}/g, 'application/pkcs10'],
    ['a content type with parameters', /$^/, 'application/pkcs10; charset=us-ascii'],
    ['no content type', /$^/, null],
  ])('%s is taken', async (_name, breakAfter, contentType) => {
    const who = await activeUnit();
    const line = readFileSync(await unit.request(await unit.newKey()), 'utf8');
    const body = unit.store('body', line.replaceAll(new RegExp(breakAfter, 'g'), '$&\r\n'));
    expect((await unit.call('simplereenroll', { as: who.op, body, contentType })).status).toBe(200);
  });

  test('PEM armour and DER are taken, too, and one slash behind the path', async () => {
    const who = await activeUnit();
    const der = await unit.csr(await unit.newKey(), null);
    const pem = unit.file('csr.pem');
    await unit.openssl('req', '-inform', 'DER', '-in', der, '-out', pem);
    const first = await unit.call('simplereenroll', { as: who.op, body: der });
    const again = await unit.call('simplereenroll/', { as: who.op, body: pem });
    expect([first.status, again.text]).toEqual([200, first.text]);
  });
});

describe('labels (RFC 7030 section 3.2.2)', () => {
  beforeAll(async () => {
    await world.db.pool.query(
      `INSERT INTO unit_model (maker_id, model, label, changed_by, changed_at)
       VALUES (1, 'FC-1', 'fc1', 'person:kim', now()), (1, 'FC-2', 'fc2', 'person:kim', now())`,
    );
  });

  test('the unit’s own label leads where the path without one leads', async () => {
    const who = await world.addUnit();
    const { op } = await unit.enroll('fc1/simpleenroll', { as: who, code: await world.grant(who) });
    expect((await unit.enroll('fc1/simplereenroll', { as: must(op) })).status).toBe(200);
    expect((await unit.call('fc1/cacerts')).text).toBe((await unit.call('cacerts')).text);
  });

  test('another model’s label is refused, on record, and its code is not tried', async () => {
    const who = await world.addUnit();
    const code = await world.grant(who);
    const answer = await unit.enroll('fc2/simpleenroll', { as: who, code });
    expect([answer.status, answer.text.slice(0, 7)]).toEqual([403, 'DENIED:']);
    expect(await refusals(who)).toEqual(['ID_MISMATCH']);
    expect((await unit.enroll('simpleenroll', { as: who, code })).status).toBe(200);
  });

  test.each(['fc9/cacerts', 'fc9/simpleenroll', 'FC1/cacerts', 'fc1/fc1/cacerts', 'fc1', 'cacerts/fc1', ''])(
    'nothing is at "%s"',
    async (path) => {
      expect((await unit.call(path)).status).toBe(404);
    },
  );
});
