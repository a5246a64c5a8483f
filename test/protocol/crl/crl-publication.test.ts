import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { CrlPublisher } from '../../../src/lifecycle/status/index.js';
import { certificatePem } from '../../../src/x509/certificate.js';
import { readCrl } from '../../../src/x509/crl.js';
import { run } from '../../support/command.js';
import { openStatusRooms, type StatusRooms } from '../../support/status-rooms.js';
import { type StatusWorld, startStatusWorld, type WorldCertificate } from '../../support/status-world.js';

let world: StatusWorld;
let rooms: StatusRooms;
let publisher: CrlPublisher;
let now = (): Date => new Date();
beforeAll(async () => {
  world = await startStatusWorld();
  rooms = openStatusRooms(world);
  publisher = rooms.publisher({ clock: { now: () => now() } });
});
afterAll(async () => {
  rooms.remove();
  await world.close();
});

const file = (name: string) => join(rooms.crlDir, name);
const kim = { actor: 'person:kim', personId: null, reason: 'keyCompromise', note: 'stolen' } as const;

/** `openssl verify -crl_check_all`: chain, and the CRL of every CA in it. */
function verdict(certificate: WorldCertificate): string {
  const { access } = world.roots;
  writeFileSync(
    file('chain.pem'),
    certificatePem(access.certificateDer) + certificatePem(world.deviceCa.certificateDer),
  );
  writeFileSync(file('leaf.pem'), certificatePem(certificate.der));
  writeFileSync(file('access-root.crl'), world.rootCrl(access));
  let crls = '';
  for (const label of ['access-root', 'device-ca-1']) {
    crls += run('openssl', ['crl', '-inform', 'DER', '-in', file(`${label}.crl`)]).text;
  }
  writeFileSync(file('crls.pem'), crls);
  return run('openssl', [
    'verify',
    '-x509_strict',
    '-crl_check_all',
    '-CAfile',
    file('chain.pem'),
    '-CRLfile',
    file('crls.pem'),
    file('leaf.pem'),
  ]).text;
}

describe('CRLs, RFC 5280 section 5 (REV-3)', () => {
  test('the first run publishes the CRLs of the Device, Bootstrap and Services CAs; the next has nothing to do', async () => {
    expect(await publisher.publishDue()).toMatchObject([
      { issuer: 'device-ca-1', outcome: 'published', number: 1, entryCount: 0 },
      { issuer: 'bootstrap-ca', outcome: 'published', number: 1 },
      { issuer: 'services-ca', outcome: 'published', number: 1 },
    ]);
    expect(await publisher.publishDue()).toEqual([]);
  });

  test.each(['device-ca-1', 'bootstrap-ca', 'services-ca'])('openssl and certtool verify the CRL of %s', (label) => {
    const ca = [world.deviceCa, world.bootstrapCa, world.servicesCa].find((each) => each.label === label);
    writeFileSync(file('ca.pem'), certificatePem(ca?.certificateDer ?? Buffer.alloc(0)));
    const seen = run('openssl', [
      'crl',
      '-inform',
      'DER',
      '-in',
      file(`${label}.crl`),
      '-noout',
      '-text',
      '-CAfile',
      file('ca.pem'),
    ]);
    expect(seen.text).toContain('verify OK');
    expect(seen.text).toMatch(/X509v3 CRL Number:\s+1/);
    expect(seen.text).toContain('No Revoked Certificates');
    writeFileSync(file('crl.pem'), run('openssl', ['crl', '-inform', 'DER', '-in', file(`${label}.crl`)]).text);
    const other = run('certtool', [
      '--verify-crl',
      '--load-ca-certificate',
      file('ca.pem'),
      '--infile',
      file('crl.pem'),
    ]);
    expect(other.text).toContain('Verification output: Verified');
  });

  test('openssl verify -crl_check_all: good, revoked, held, released', async () => {
    const unit = await world.addUnit();
    const certificate = await world.issue({ unitId: unit.id, generation: 1 });
    const byUnit = { by: 'unit', unitId: unit.id } as const;
    expect(verdict(certificate)).toContain(': OK');

    await rooms.revocation.hold({ ...kim, selection: byUnit });
    expect(await publisher.publishDue()).toMatchObject([{ issuer: 'device-ca-1', number: 2, entryCount: 1 }]);
    expect(verdict(certificate)).toContain('error 23 at 0 depth lookup: certificate revoked');
    const listed = run('openssl', ['crl', '-inform', 'DER', '-in', file('device-ca-1.crl'), '-noout', '-text']).text;
    expect(listed).toContain(`Serial Number: ${certificate.serial.toString('hex').toUpperCase()}`);
    expect(listed).toMatch(/X509v3 CRL Reason Code:\s+Certificate Hold/);

    await rooms.revocation.release({ ...kim, unitId: unit.id });
    expect(await publisher.publishDue()).toMatchObject([{ issuer: 'device-ca-1', number: 3, entryCount: 0 }]);
    expect(verdict(certificate)).toContain(': OK');

    await rooms.revocation.revoke({ ...kim, selection: byUnit });
    await publisher.publishDue();
    expect(verdict(certificate)).toContain('certificate revoked');
  });

  test('entries stand in order of serial, once each, and the ledger names every CRL with its hash', async () => {
    for (let count = 0; count < 20; count += 1) {
      const unit = await world.addUnit();
      await world.issue({ unitId: unit.id });
      await rooms.revocation.hold({ ...kim, selection: { by: 'unit', unitId: unit.id } });
    }
    const [published] = await publisher.publishDue();
    const text = run('openssl', ['crl', '-inform', 'DER', '-in', file('device-ca-1.crl'), '-noout', '-text']).text;
    const serials = [...text.matchAll(/Serial Number: ([0-9A-F]+)/g)].map(([, serial]) => serial);
    expect(serials).toHaveLength(21);
    expect(serials).toEqual([...new Set(serials)].sort());
    const { rows } = await world.db.pool.query(
      `SELECT body::json->>'sha256' AS sha256, encode(c.sha256, 'hex') AS row FROM ledger_inbox
       JOIN crl c ON c.number = (body::json->>'number')::bigint AND c.issuer_id = (body::json->>'issuerId')::int
       WHERE kind = 'crl.published' AND c.number = $1 AND c.issuer_id = $2`,
      [published?.number, world.deviceCa.id],
    );
    expect(rows).toHaveLength(1);
    expect(rows[0].sha256).toBe(rows[0].row);
  });

  test('a CA with a short list does not rest, however long its CRL took', async () => {
    let offsetMs = 0;
    const start = Date.now();
    const resting = rooms.publisher({
      clock: { now: () => new Date(start + offsetMs) },
      holder: 'worker-1',
      restFactor: 9,
      signer: {
        ...world.signer,
        sign: (requests) => {
          offsetMs += 1_000;
          return world.signer.sign(requests);
        },
      },
    });
    const afterOneMore = async (): Promise<string[]> => {
      const unit = await world.addUnit();
      await world.issue({ unitId: unit.id });
      await rooms.revocation.hold({ ...kim, selection: { by: 'unit', unitId: unit.id } });
      return (await resting.publishDue()).map(({ issuer, outcome }) => `${issuer} ${outcome}`);
    };
    const published = ['device-ca-1 published'];
    expect(await afterOneMore()).toEqual(published);
    expect(await afterOneMore()).toEqual(published);
  });

  test('a revoked certificate stays until one CRL period after its expiry, then it goes', async () => {
    const unit = await world.addUnit();
    const certificate = await world.issue({ unitId: unit.id, ca: world.bootstrapCa, lifeSeconds: 2 * 3_600 });
    await rooms.revocation.revoke({ ...kim, selection: { by: 'unit', unitId: unit.id } });
    await publisher.publishDue();
    const entries = () => readCrl(readFileSync(file('bootstrap-ca.crl'))).entryCount;
    expect(entries()).toBe(1);
    now = () => new Date(certificate.notAfter.getTime() + 21_600_000 - 1_000);
    await publisher.publishDue();
    expect(entries()).toBe(1);
    now = () => new Date(certificate.notAfter.getTime() + 21_600_000 + 3_600_001);
    await publisher.publishDue();
    expect(entries()).toBe(0);
  });
});
