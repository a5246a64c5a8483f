import { execFileSync } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { FactoryCaller, NewFactoryCredential } from '../../../src/lifecycle/factory/index.js';
import { certificatePem, readCertificate } from '../../../src/x509/certificate.js';
import {
  type FactoryWorld,
  factoryToken,
  fqdnOf,
  MAKER,
  manifestRow,
  requestFor,
  startFactoryWorld,
} from '../../support/factory-world.js';
import { openStatusRooms } from '../../support/status-rooms.js';

const actor = 'person:kim';
const HERE = '192.0.2.10';
const ELSEWHERE = '203.0.113.77';

describe('factory enrolment', () => {
  let world: FactoryWorld;
  let station: FactoryCaller;
  let counter = 0;
  let batchName = '';
  let batchId = 0;

  beforeAll(async () => {
    world = await startFactoryWorld();
    const { certificateDer } = await world.addStation('station-1');
    station = await world.factory.stationCaller({ certificateDer });
  });
  beforeEach(async () => {
    world.setClock(null);
    counter += 1;
    batchName = `enrol-${counter}`;
    const units = [0, 1, 2].map((n) => manifestRow(counter * 10 + n, `E${counter}`));
    ({ batchId } = (await submitAndAccept(batchName, units)) ?? { batchId: 0 });
  });
  afterAll(async () => {
    await world.close();
  });

  const submitAndAccept = async (batch: string, units: unknown[]) => {
    const report = await world.factory.submitManifest({
      jws: await world.signManifest({ batch, units }),
      dryRun: false,
    });
    await world.factory.acceptManifest({ batchId: report.batchId ?? 0, actor });
    return { batchId: report.batchId ?? 0 };
  };
  const row = (n: number) => manifestRow(counter * 10 + n, `E${counter}`);
  const credential = (fields: Partial<NewFactoryCredential> = {}) =>
    world.factory.createCredential({
      name: `cred-${counter}`,
      makerName: MAKER,
      batchName,
      site: 'Gumi 2',
      stationName: 'station-1',
      cidrs: ['192.0.2.0/24', '2001:db8::/32'],
      actor,
      ...fields,
    });
  const enrol = (
    n: number,
    csr = requestFor(row(n).serialNumber).csrPem,
    more: { address?: string; caller?: FactoryCaller } = {},
  ) => world.factory.enrol({ caller: station, address: HERE, serialNumber: row(n).serialNumber, csr, ...more });
  const stateOf = async (n: number) =>
    (await world.registry.unitBySerialNumber(world.transactor.read, row(n).serialNumber))?.state;
  const signaturesFor = (fqdn: string) => world.signed.filter(({ tbs }) => tbs.includes(fqdn)).length;

  test('a unit of the batch gets its bootstrap certificate, which openssl verifies to the Bootstrap Root', async () => {
    await credential();
    const { certificate, chain, repeated } = await enrol(0);
    expect(repeated).toBe(false);
    const dir = mkdtempSync(join(tmpdir(), 'fp-boot-'));
    const [ca, root] = chain.map(certificatePem);
    writeFileSync(join(dir, 'leaf.pem'), certificatePem(certificate.der));
    writeFileSync(join(dir, 'ca.pem'), ca ?? '');
    writeFileSync(join(dir, 'root.pem'), root ?? '');
    const verify = ['verify', '-x509_strict', '-CAfile', 'root.pem', '-untrusted', 'ca.pem', 'leaf.pem'];
    expect(execFileSync('openssl', verify, { cwd: dir, encoding: 'utf8' })).toBe('leaf.pem: OK\n');
    expect(readCertificate(certificate.der)).toMatchObject({ commonName: fqdnOf(row(0)), sanDns: [fqdnOf(row(0))] });
    expect(await stateOf(0)).toBe('BOOTSTRAPPED');
    expect(await world.factory.credentials({ batchId })).toMatchObject([{ used: 1 }]);
  });

  test('the same key again gives the identical certificate and takes no quota, even when the quota is used up', async () => {
    await credential({ quota: 1 });
    const { csrPem } = requestFor(row(0).serialNumber);
    const first = await enrol(0, csrPem);
    const again = await enrol(0, csrPem);
    expect(again).toMatchObject({ repeated: true });
    expect(again.certificate.der.equals(first.certificate.der)).toBe(true);
    expect(await world.factory.credentials({ batchId })).toMatchObject([{ used: 1 }]);
    await expect(enrol(1)).rejects.toMatchObject({ code: 'QUOTA_EXCEEDED' });
    expect(await stateOf(1)).toBe('MANIFESTED');
  });

  test('twelve tries at once with one key give one certificate and take one of the quota', async () => {
    await credential();
    const { csrPem } = requestFor(row(0).serialNumber);
    const outcomes = await Promise.allSettled(Array.from({ length: 12 }, () => enrol(0, csrPem)));
    const serials = new Set<string>();
    for (const outcome of outcomes) {
      if (outcome.status === 'fulfilled') serials.add(outcome.value.certificate.serial.toString('hex'));
      else expect(outcome.reason).toMatchObject({ code: 'RETRY_LATER' });
    }
    expect(serials.size).toBe(1);
    expect((await enrol(0, csrPem)).certificate.serial.toString('hex')).toBe([...serials][0]);
    const { rows } = await world.db.pool.query(
      `SELECT count(*)::int AS n FROM certificate c JOIN unit u ON u.id = c.unit_id WHERE u.serial_number = $1`,
      [row(0).serialNumber],
    );
    expect(rows).toEqual([{ n: 1 }]);
  });

  test('eight different keys for one unit at once: exactly one is certified', async () => {
    await credential();
    const outcomes = await Promise.allSettled(Array.from({ length: 8 }, () => enrol(0)));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  });

  test('parallel enrolments never take more than the quota', async () => {
    await credential({ quota: 2 });
    const outcomes = await Promise.allSettled([enrol(0), enrol(1), enrol(2)]);
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(2);
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'QUOTA_EXCEEDED' });
    }
  });

  test('another key is refused until rework is recorded; then once, and the old certificate is revoked', async () => {
    await credential();
    const first = await enrol(0);
    const other = requestFor(row(0).serialNumber).csrPem;
    await expect(enrol(0, other)).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
    await world.factory.allowRework({ serialNumber: row(0).serialNumber, actor, reason: 'board replaced' });
    const epoch = `SELECT revocation_epoch AS epoch FROM unit WHERE serial_number = $1`;
    const before = (await world.db.pool.query(epoch, [row(0).serialNumber])).rows[0].epoch;
    const second = await enrol(0, other);
    expect(second.repeated).toBe(false);
    // Whatever the old board has at the token at this moment is void (T2 compares the epoch).
    expect((await world.db.pool.query(epoch, [row(0).serialNumber])).rows[0].epoch).toBeGreaterThan(before);
    const { rows } = await world.db.pool.query('SELECT state, reason FROM revoked_certificate WHERE serial = $1', [
      first.certificate.serial,
    ]);
    expect(rows).toEqual([{ state: 'revoked', reason: 4 }]);
    await expect(enrol(0)).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
    expect((await enrol(0, other)).certificate.der.equals(second.certificate.der)).toBe(true);
  });

  test('a key that another unit holds is refused', async () => {
    await credential();
    const { key } = requestFor('x');
    await enrol(0, requestFor(row(0).serialNumber, key).csrPem);
    await expect(enrol(1, requestFor(row(1).serialNumber, key).csrPem)).rejects.toMatchObject({ code: 'KEY_IN_USE' });
    expect(await stateOf(1)).toBe('MANIFESTED');
  });

  test('a serial on no accepted manifest, another maker’s serial and a serial in another spelling look the same', async () => {
    await credential();
    const { serialNumber: theirs } = await world.addUnit({ state: 'MANIFESTED' });
    const spelled = row(0).serialNumber.toLowerCase();
    const refusals = await Promise.all(
      ['NOBODY-1', theirs, spelled, ` ${row(0).serialNumber}`].map((serialNumber) =>
        world.factory
          .enrol({ caller: station, address: HERE, serialNumber, csr: requestFor('x').csrPem })
          .catch((error: Error & { code: string }) => ({ code: error.code, message: error.message })),
      ),
    );
    const ours = refusals[0];
    expect(ours).toMatchObject({ code: 'NOT_ON_MANIFEST' });
    expect(refusals.every((refusal) => JSON.stringify(refusal) === JSON.stringify(ours))).toBe(true);
  });

  describe('each limit of the credential alone', () => {
    test('expiry', async () => {
      await credential({ lifeHours: 1 });
      world.setClock(new Date(Date.now() + 3_600_000));
      await expect(enrol(0)).rejects.toMatchObject({ code: 'CREDENTIAL_EXPIRED' });
    });

    test('hours, also over midnight', async () => {
      const day = new Date(Date.now() + 86_400_000).toISOString().slice(0, 10);
      await credential({ hourFrom: 22, hourTo: 6, lifeHours: 168 });
      const at = (hour: string) => world.setClock(new Date(`${day}T${hour}:30:00Z`));
      for (const hour of ['06', '12', '21']) {
        at(hour);
        await expect(enrol(0)).rejects.toMatchObject({ code: 'CREDENTIAL_SCOPE', facts: { limit: 'hours' } });
      }
      at('05');
      await expect(enrol(0, 'nonsense')).rejects.toMatchObject({ code: 'BAD_REQUEST' });
    });

    test('network, before the request is read; IPv4-mapped counts as IPv4', async () => {
      await credential();
      await expect(enrol(0, 'nonsense', { address: ELSEWHERE })).rejects.toMatchObject({
        code: 'CREDENTIAL_SCOPE',
        facts: { limit: 'network' },
      });
      await expect(enrol(0, 'nonsense', { address: '' })).rejects.toMatchObject({ code: 'CREDENTIAL_SCOPE' });
      await expect(enrol(0, 'nonsense', { address: '::ffff:192.0.2.200' })).rejects.toMatchObject({
        code: 'BAD_REQUEST',
      });
    });

    test('batch', async () => {
      await credential();
      await submitAndAccept(`side-${counter}`, [manifestRow(counter * 10 + 5, `E${counter}`)]);
      await expect(enrol(5)).rejects.toMatchObject({ code: 'CREDENTIAL_SCOPE', facts: { limit: 'batch' } });
    });

    test('maker: a station of another maker has no way to this batch', async () => {
      await credential();
      const foreign = await world.addStation(`acme-${counter}`, 'acme');
      const caller = await world.factory.stationCaller({ certificateDer: foreign.certificateDer });
      await expect(enrol(0, undefined, { caller })).rejects.toMatchObject({ code: 'CREDENTIAL_SCOPE' });
      await expect(
        world.factory.createCredential({
          name: `foreign-${counter}`,
          makerName: MAKER,
          batchName,
          site: 'x',
          stationName: `acme-${counter}`,
          cidrs: ['192.0.2.0/24'],
          actor,
        }),
      ).rejects.toMatchObject({ code: 'NOT_FOUND' });
    });

    test('ended by the operator', async () => {
      const { name } = await credential();
      await world.factory.revokeCredential({ name, actor, reason: 'shift over' });
      await expect(enrol(0)).rejects.toMatchObject({ code: 'CREDENTIAL_EXPIRED', facts: { limit: 'state' } });
    });

    test('frozen maker: neither enrolment nor manifest, until it is active again', async () => {
      await credential();
      const set = (state: 'frozen' | 'active') =>
        world.office.setMakerState({ name: MAKER, state, actor, reason: 'audit' });
      await set('frozen');
      await expect(enrol(0)).rejects.toMatchObject({ code: 'CREDENTIAL_FROZEN' });
      const jws = await world.signManifest({ units: [manifestRow(counter * 10 + 7, `E${counter}`)] });
      await expect(world.factory.submitManifest({ jws, dryRun: true })).rejects.toMatchObject({
        code: 'CREDENTIAL_FROZEN',
      });
      await set('active');
      expect((await enrol(0)).repeated).toBe(false);
    });

    test('closed batch', async () => {
      await credential();
      await enrol(0);
      const report = await world.factory.closeBatch({ batchId, actor });
      expect(report).toMatchObject({ manifested: 3, enrolled: 1, missing: 2, scrapped: 0 });
      await expect(enrol(1)).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
    });
  });

  test('five proved uses from elsewhere freeze the credential, for its own site too, and the record says so', async () => {
    const { name } = await credential();
    const codes: string[] = [];
    for (let n = 0; n < 6; n++) {
      await enrol(0, 'nonsense', { address: ELSEWHERE }).catch((error: { code: string }) => codes.push(error.code));
    }
    expect(codes).toEqual([...Array(4).fill('CREDENTIAL_SCOPE'), 'CREDENTIAL_FROZEN', 'CREDENTIAL_FROZEN']);
    await expect(enrol(0)).rejects.toMatchObject({ code: 'CREDENTIAL_FROZEN' });
    const entries = (await world.entries('credential.frozen')).filter(
      ({ subject }) => subject === `credential:${name}`,
    );
    expect(entries).toMatchObject([{ body: { violations: 5, lastSource: '203.0.113.0/24' } }]);
    expect(signaturesFor(fqdnOf(row(0)))).toBe(0);
  });

  test.each([
    ['no source prefix', { cidrs: [] }],
    ['a prefix that is anywhere', { cidrs: ['0.0.0.0/0'] }],
    ['a malformed prefix', { cidrs: ['192.0.2.1/24'] }],
    ['more than seven days', { lifeHours: 169 }],
    ['more than the batch', { quota: 4 }],
    ['an hour that is none', { hourTo: 25 }],
    ['a site that is a formula', { site: '=1+1' }],
  ])('a credential with %s is not made', async (_, fields) => {
    await expect(credential(fields)).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  });

  test('a private key inside the request is refused and blocked, in each of its wrappings', async () => {
    await credential();
    const forms = [
      (key: ReturnType<typeof requestFor>['key']) => key.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
      (key: ReturnType<typeof requestFor>['key']) => key.privateKey.export({ type: 'sec1', format: 'pem' }).toString(),
      (key: ReturnType<typeof requestFor>['key']) =>
        key.privateKey.export({ type: 'pkcs8', format: 'der' }).toString('base64'),
    ];
    for (const form of forms) {
      const { key, csrPem } = requestFor(row(0).serialNumber);
      await expect(enrol(0, form(key))).rejects.toMatchObject({ code: 'KEY_BLOCKED' });
      await expect(enrol(0, csrPem)).rejects.toMatchObject({ code: 'KEY_BLOCKED' });
    }
    const { key, csrPem } = requestFor(row(0).serialNumber);
    await expect(enrol(0, `${csrPem}${forms[1]?.(key)}`)).rejects.toMatchObject({ code: 'KEY_BLOCKED' });
    await expect(enrol(0, csrPem)).rejects.toMatchObject({ code: 'KEY_BLOCKED' });
    expect(await stateOf(0)).toBe('MANIFESTED');
  });

  test('a request signed by another key, or for another unit’s name, is refused', async () => {
    await credential();
    const forged = Buffer.from(requestFor(row(0).serialNumber).csrDer);
    forged.writeUInt8(forged.readUInt8(forged.length - 1) ^ 1, forged.length - 1);
    await expect(enrol(0, forged.toString('base64'))).rejects.toMatchObject({ code: 'POP_FAIL' });
    await expect(enrol(0, requestFor(fqdnOf(row(1))).csrPem)).rejects.toMatchObject({ code: 'ID_MISMATCH' });
  });

  test('while the token is away nothing is enrolled, and afterwards the same request goes through', async () => {
    await credential();
    const { csrPem } = requestFor(row(0).serialNumber);
    world.breakSigner(true);
    await expect(enrol(0, csrPem)).rejects.toMatchObject({ code: 'HSM_UNAVAILABLE' });
    expect(await stateOf(0)).toBe('MANIFESTED');
    world.breakSigner(false);
    for (let tries = 0; (await stateOf(0)) !== 'BOOTSTRAPPED' && tries < 40; tries++) {
      await enrol(0, csrPem).catch((error: { code: string }) =>
        expect(error.code).toMatch(/HSM_UNAVAILABLE|RETRY_LATER/),
      );
      await sleep(250);
    }
    expect((await enrol(0, csrPem)).repeated).toBe(true);
  });

  describe('who is calling', () => {
    test('a station is known by its exact issuing key and approved row, and by neither alone', async () => {
      const gateway = requestFor('gw-x');
      await world.machines.request({ kind: 'gateway', name: `gw-${counter}`, csrDer: gateway.csrDer, actor });
      await world.machines.approve({ name: `gw-${counter}`, personId: 1, actor });
      const gatewayDer = (await world.issue({ purpose: 'services', key: gateway.key })).der;
      await expect(world.factory.stationCaller({ certificateDer: gatewayDer })).rejects.toMatchObject({
        code: 'UNREGISTERED',
      });

      const { key } = await world.addStation(`st-${counter}`);
      const underBootstrap = (await world.issue({ purpose: 'services', key, ca: world.bootstrapCa })).der;
      await expect(world.factory.stationCaller({ certificateDer: underBootstrap })).rejects.toMatchObject({
        code: 'UNKNOWN_ISSUER',
      });
      const forgedCa = { ...world.servicesCa, key: world.newKey() };
      const forged = (await world.issue({ purpose: 'services', key, ca: forgedCa })).der;
      await expect(world.factory.stationCaller({ certificateDer: forged })).rejects.toMatchObject({
        code: 'UNKNOWN_ISSUER',
      });
      const old = await world.issue({ purpose: 'services', key, notBefore: new Date(Date.now() - 40 * 86_400_000) });
      await expect(world.factory.stationCaller({ certificateDer: old.der })).rejects.toMatchObject({
        code: 'CERT_EXPIRED',
      });
      await world.machines.disable({ name: `st-${counter}`, actor, reason: 'stolen' });
      const good = (await world.issue({ purpose: 'services', key })).der;
      await expect(world.factory.stationCaller({ certificateDer: good })).rejects.toMatchObject({
        code: 'UNREGISTERED',
      });
    });

    test('a station’s certificate that was revoked by its serial is refused, though row and key stand', async () => {
      const { certificateDer } = await world.addStation(`st-revoked-${counter}`);
      await world.factory.stationCaller({ certificateDer });
      const issuer = await world.issuers.bySpkiOrSignature({ der: certificateDer });
      const rooms = openStatusRooms(world);
      await rooms.revocation.revoke({
        selection: { by: 'certificate', issuerId: issuer?.id ?? 0, serial: readCertificate(certificateDer).serial },
        reason: 'keyCompromise',
        note: 'the station was stolen',
        actor,
        personId: null,
      });
      rooms.remove();
      await expect(world.factory.stationCaller({ certificateDer })).rejects.toMatchObject({ code: 'CERT_REVOKED' });
    });

    test('a token is good once, for its credential and batch, for five minutes at most', async () => {
      const tokenKey = world.newKey();
      const name = `token-${counter}`;
      await world.factory.createCredential({
        name,
        makerName: MAKER,
        batchName,
        site: 'Gumi 2',
        tokenKeySpki: tokenKey.spki.spkiDer,
        cidrs: ['192.0.2.0/24'],
        actor,
      });
      const claims = { cred: name, batch: batchName };
      const token = await factoryToken(tokenKey, claims);
      const caller = await world.factory.tokenCaller(token);
      expect(caller).toMatchObject({ actor: `credential:${name}`, credentialName: name });
      expect((await enrol(0, undefined, { caller })).repeated).toBe(false);
      const now = Math.floor(Date.now() / 1_000);
      const bad = [
        token,
        await factoryToken(world.newKey(), claims),
        await factoryToken(tokenKey, { ...claims, cred: 'other' }),
        await factoryToken(tokenKey, { ...claims, batch: 'other' }),
        await factoryToken(tokenKey, { ...claims, exp: now + 301 }),
        await factoryToken(tokenKey, { ...claims, iat: now - 900, exp: now - 600 }),
        await factoryToken(tokenKey, { ...claims, iat: now + 600, exp: now + 700 }),
        await factoryToken(tokenKey, { ...claims, jti: 'short' }),
        `${token.split('.').slice(0, 2).join('.')}.`,
        'a.b.c',
        'x'.repeat(5_000),
      ];
      for (const attempt of bad) {
        await expect(world.factory.tokenCaller(attempt)).rejects.toMatchObject({ code: 'DENIED' });
      }
    });
  });
});
