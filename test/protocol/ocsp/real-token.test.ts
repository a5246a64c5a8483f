import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { crlStore } from '../../../src/lifecycle/status/crl-store.pg.js';
import { type CrlPublisher, makeCrlPublisher } from '../../../src/lifecycle/status/index.js';
import { statusChangeReader } from '../../../src/lifecycle/status/status-changes.pg.js';
import { makeLeases } from '../../../src/platform/db/lease.pg.js';
import { ledger } from '../../../src/platform/ledger/ledger.pg.js';
import { makeCrlDirectory } from '../../../src/protocol/crl/crl-directory.js';
import { readCertificate, verifyCertificateSignature } from '../../../src/x509/certificate.js';
import { readCrl, verifyCrlSignature } from '../../../src/x509/crl.js';
import { run, runClient } from '../../support/command.js';
import { type IssuanceWorld, startIssuanceWorld } from '../../support/issuance-world.js';
import { openStatusPort, opensslOcsp, type StatusPort } from '../../support/status-service.js';

/** The whole road with a real PKCS#11 token and the real signer: issue, publish, ask, revoke, publish, ask. */
let world: IssuanceWorld;
let port: StatusPort;
let openPort: (options?: { dir: string }) => Promise<StatusPort>;
let publisher: CrlPublisher;
let beats: NodeJS.Timeout;
let now = (): Date => new Date();

beforeAll(async () => {
  world = await startIssuanceWorld();
  const beat = () =>
    world.db.pool.query('INSERT INTO heartbeat VALUES (1, 1, now()) ON CONFLICT (id) DO UPDATE SET at = now()');
  await beat();
  beats = setInterval(() => void beat(), 1_000);
  const allCas = await world.issuers.all();
  openPort = (options) => openStatusPort({ ...world, signer: world.token.connect('status'), allCas }, options);
  port = await openPort();
  publisher = makeCrlPublisher({
    store: crlStore,
    changes: statusChangeReader,
    transactor: world.transactor,
    ledger,
    leases: makeLeases(world.transactor),
    signer: world.token.connect('worker'),
    files: makeCrlDirectory(port.dir),
    clock: { now: () => now() },
    holder: 'worker',
    everySeconds: 3_600,
    lifeSeconds: 21_600,
  });
});
afterAll(async () => {
  clearInterval(beats);
  await port.close();
  await world.close();
});

const ask = (serial: Buffer, nonce: boolean) =>
  opensslOcsp(port, { ca: world.issuer('device-ca-1'), root: world.issuer('access-root'), serial, nonce });

describe('status with the real signer', () => {
  test('every online CA gets its CRL, and openssl verifies each', async () => {
    const outcomes = await publisher.publishDue();
    expect(outcomes.map(({ outcome }) => outcome)).toEqual(outcomes.map(() => 'published'));
    expect(outcomes.map(({ issuer }) => issuer)).toEqual(
      expect.arrayContaining(['device-ca-1', 'device-ca-2', 'bootstrap-ca', 'services-ca']),
    );
    for (const { issuer } of outcomes) {
      const files = ['-in', join(port.dir, `${issuer}.crl`), '-CAfile', join(port.dir, `${issuer}.pem`)];
      expect((await runClient('openssl', ['crl', '-inform', 'DER', '-noout', ...files])).text).toContain('verify OK');
    }
  });

  test('good, then revoked in OCSP and on the CRL; what was never issued says so', async () => {
    const unit = await world.addUnit();
    const { serial } = await world.firstCertificate(unit);
    for (const nonce of [true, false]) {
      const text = await ask(serial, nonce);
      expect(text).toContain('Response verify OK');
      expect(text).toContain(': good');
    }
    await world.revocation.revoke({
      actor: 'person:kim',
      personId: null,
      reason: 'keyCompromise',
      note: 'stolen',
      selection: { by: 'unit', unitId: unit.id },
    });
    const [published] = await publisher.publishDue();
    expect(published).toMatchObject({ outcome: 'published', number: 2, entryCount: 1 });
    expect(readCrl(readFileSync(join(port.dir, `${published?.issuer}.crl`))).entryCount).toBe(1);
    const text = await ask(serial, true);
    expect(text).toContain('Response verify OK');
    expect(text).toContain('Reason: keyCompromise');
    expect(await ask(Buffer.from('1234', 'hex'), true)).toContain('1970 GMT');
  });

  test('S8: every pointer in a certificate answers, and what it gives verifies', async () => {
    const unit = await world.addUnit();
    const { der } = await world.firstCertificate(unit);
    const { crlUrls, ocspUrls, caUrls, serial } = readCertificate(der);
    const fetched = async (url: string) => {
      let response = await fetch(`${port.url}${new URL(url).pathname}`);
      // The shelf looks at its directory once in a while; a CRL that was published this moment is not on it yet.
      for (let tries = 0; response.status === 404 && tries < 50; tries++) {
        await sleep(100);
        response = await fetch(`${port.url}${new URL(url).pathname}`);
      }
      expect(response.status).toBe(200);
      return Buffer.from(await response.arrayBuffer());
    };
    expect([crlUrls.length, ocspUrls.length, caUrls.length]).toEqual([1, 1, 1]);
    const ca = readCertificate(await fetched(caUrls[0] ?? ''));
    expect(verifyCertificateSignature(readCertificate(der), ca.spki)).toBe(true);
    expect(verifyCrlSignature(readCrl(await fetched(crlUrls[0] ?? '')), ca.spki)).toBe(true);
    expect(new URL(ocspUrls[0] ?? '').pathname).toBe('/ocsp');
    expect(await ask(serial, false)).toContain(': good');
    const [rootCrl] = ca.crlUrls;
    expect(new URL(rootCrl ?? '').pathname).toBe('/crl/access-root.crl');
  });

  test('a database that lies about a serial on the newest CRL gets no signature for good', async () => {
    const unit = await world.addUnit();
    const { serial, issuerId } = await world.firstCertificate(unit);
    const { revocation, transactor } = world;
    await revocation.revoke({
      actor: 'person:kim',
      personId: null,
      reason: 'keyCompromise',
      note: 'stolen',
      selection: { by: 'unit', unitId: unit.id },
    });
    await publisher.publishDue();
    await transactor.run(async (tx) => {
      await tx.query('CREATE TABLE hidden (LIKE revoked_certificate)');
      await tx.query('INSERT INTO hidden SELECT * FROM revoked_certificate WHERE serial = $1', [serial]);
      await tx.query('DELETE FROM revoked_certificate WHERE issuer_id = $1 AND serial = $2', [issuerId, serial]);
    });
    // One that was there before remembers it; one that starts now believes the database, and only the signer knows better.
    expect(await ask(serial, true)).toContain(': revoked');
    const first = port;
    port = await openPort({ dir: first.dir });
    expect(await ask(serial, true)).toContain('trylater (3)');
    expect(await ask(serial, false)).toContain('trylater (3)');
    expect(String(port.troubles.at(-1))).toContain('newest CRL lists this serial');
    await port.close();
    port = first;
  });

  test('C1: after the clock was set back two hours the number rises and thisUpdate does not fall', async () => {
    const unit = await world.addUnit();
    await world.firstCertificate(unit);
    const crl = () => readCrl(readFileSync(join(port.dir, 'device-ca-1.crl')));
    const before = crl();
    await world.revocation.revoke({
      actor: 'person:kim',
      personId: null,
      reason: 'keyCompromise',
      note: 'stolen',
      selection: { by: 'unit', unitId: unit.id },
    });
    // The row that the test above deleted is missed by the guard, and rightly; it is put back first.
    await world.db.pool.query('INSERT INTO revoked_certificate SELECT * FROM hidden');
    const [library = ''] = run('dpkg', ['-L', 'libfaketime'])
      .text.split('\n')
      .filter((line) => line.endsWith('libfaketime.so.1'));
    await world.token.stopSigner();
    await world.token.startSigner({ env: { ...process.env, LD_PRELOAD: library, FAKETIME: '-2h' } });
    now = () => new Date(Date.now() - 7_200_000);
    const outcomes = await publisher.publishDue();
    expect(outcomes.filter(({ outcome }) => outcome === 'failed')).toEqual([]);
    expect(crl().number).toBeGreaterThan(before.number ?? 0n);
    expect(crl().thisUpdate.getTime()).toBeGreaterThanOrEqual(before.thisUpdate.getTime());
  });
});
