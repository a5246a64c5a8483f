import { readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { certificatePem, readCertificate } from '../../src/x509/certificate.js';
import { type CmpWorld, startCmpWorld } from '../support/cmp-world.js';
import { runClient } from '../support/command.js';
import type { CurlCredential } from '../support/curl-unit.js';
import type { WorldUnit } from '../support/device-world.js';
import { kindsOf } from './openssl-said.js';
import { derOf, type OpensslUnits, opensslUnits } from './openssl-units.js';

let cmp: CmpWorld;
let units: OpensslUnits;

beforeAll(async () => {
  cmp = await startCmpWorld();
  units = opensslUnits(cmp);
  await cmp.setModel({ macAllowed: true, label: 'garam-fc1' });
});
afterAll(() => cmp.close());

describe.each([
  { transport: 'plain HTTP', tls: false },
  { transport: 'TLS', tls: true },
])('over $transport each command ends 0', ({ tls }) => {
  const ask = (command: string, as: CurlCredential, path: string, flags: readonly string[]) =>
    cmp.openssl(command, { as, tls, path, flags });
  const csrOf = async ({ serialNumber }: WorldUnit, keyFile: string): Promise<string> => {
    const csr = cmp.file('csr');
    await runClient('openssl', ['req', '-new', '-key', keyFile, '-subj', `/CN=${serialNumber}`, '-out', csr]);
    return csr;
  };

  test.each([
    ['ir', '/initialization', 'ip'],
    ['cr', '/certification', 'cp'],
  ] as const)('%s by the bootstrap certificate activates', async (command, path, kind) => {
    const { unit, as } = await ordered();
    const run = await ask(command, as, path, ['-newkey', await cmp.newKey(), '-out_trusted', accessRoot()]);
    expect([run.code, run.text]).toEqual([0, expect.any(String)]);
    expect(kindsOf(run.received)).toEqual([kind, 'pkiConf']);
    expect(await units.slots(unit)).toEqual(['1 confirmed']);
  });

  test('p10cr by the bootstrap certificate activates', async () => {
    const { unit, as } = await ordered();
    const run = await ask('p10cr', as, '/pkcs10', ['-csr', await csrOf(unit, await cmp.newKey())]);
    expect([run.code, run.text]).toEqual([0, expect.any(String)]);
    expect(await units.slots(unit)).toEqual(['1 confirmed']);
  });

  test('cr, p10cr and kur by the operational certificate renew, at the address of the model', async () => {
    let { unit, op } = await cmp.activeUnit();
    for (const [command, path] of [
      ['cr', '/p/garam-fc1/certification'],
      ['p10cr', '/p/garam-fc1/pkcs10/'],
      ['kur', '/p/garam-fc1/keyupdate'],
    ] as const) {
      const keyFile = await cmp.newKey();
      const wish = command === 'p10cr' ? ['-csr', await csrOf(unit, keyFile)] : ['-newkey', keyFile];
      const run = await ask(command, op, path, wish);
      expect([run.code, run.text]).toEqual([0, expect.any(String)]);
      op = { pemFile: run.certFile, keyFile };
    }
    expect(await units.slots(unit)).toEqual(['1 confirmed', '2 confirmed', '3 confirmed', '4 confirmed']);
  });

  test('-implicit_confirm is granted, -disable_confirm is lived with: pending until the next renewal', async () => {
    let { unit, op } = await cmp.activeUnit();
    for (const flag of ['-implicit_confirm', '-disable_confirm']) {
      const keyFile = await cmp.newKey();
      const run = await ask('kur', op, '', ['-newkey', keyFile, flag]);
      expect([run.code, run.text]).toEqual([0, expect.any(String)]);
      expect(kindsOf(run.received)).toEqual(['kup']);
      expect((await units.slots(unit)).at(-1)).toMatch(/ pending$/);
      op = { pemFile: run.certFile, keyFile };
    }
    const run = await ask('kur', op, '', ['-newkey', await cmp.newKey()]);
    expect([run.code, run.text]).toEqual([0, expect.any(String)]);
    expect(await units.slots(unit)).toEqual(['1 confirmed', '2 confirmed', '3 confirmed', '4 confirmed']);
  });

  test.each([
    ['caCerts', '/getcacerts'],
    ['certReqTemplate', '/getcertreqtemplate'],
    ['currentCRL', '/getcrls'],
    ['signKeyPairTypes', ''],
  ])('genm %s, by the bootstrap certificate', async (infoType, path) => {
    const unit = await cmp.world.addUnit();
    const run = await ask('genm', cmp.bootstrapOf(unit), path, ['-infotype', infoType]);
    expect([run.code, run.text]).toEqual([0, expect.any(String)]);
    expect(run.text).toContain(`genp contains ITAV of type: id-it-${infoType}`);
  });

  test('rr suspends', async () => {
    const { unit, op } = await cmp.activeUnit();
    const run = await ask('rr', op, '/revocation', ['-oldcert', op.pemFile]);
    expect([run.code, run.text]).toEqual([0, expect.any(String)]);
    expect(await units.stateOf(unit)).toBe('SUSPENDED');
  });

  test.each([
    ['ir', '-mac hmacWithSHA256'],
    ['cr', ''],
    ['p10cr', '-mac hmacWithSHA256'],
  ] as const)('%s by a shared secret %s: a bootstrap certificate, which activates', async (command, mac) => {
    const { unit, reference, secret } = await units.secretUnit();
    const keyFile = await cmp.newKey();
    const wish =
      command === 'p10cr' ? ['-csr', await csrOf(unit, keyFile)] : ['-newkey', keyFile, '-subject', `/CN=${unit.fqdn}`];
    const flags = ['-ref', reference, '-secret', `pass:${secret}`, ...wish, ...(mac === '' ? [] : mac.split(' '))];
    const run = await cmp.openssl(command, { tls, flags });
    expect([run.code, run.text]).toEqual([0, expect.any(String)]);
    expect(await units.stateOf(unit)).toBe('BOOTSTRAPPED');
    expect(await units.slots(unit)).toEqual([]);
    await cmp.order(unit);
    const as = { pemFile: run.certFile, keyFile };
    const next = await ask('ir', as, '', ['-newkey', await cmp.newKey()]);
    expect([next.code, next.text]).toEqual([0, expect.any(String)]);
    expect(await units.slots(unit)).toEqual(['1 confirmed']);
  });
});

describe('options of OpenSSL’s own client tests that are passed over, or served', () => {
  test.each<[string, (unit: WorldUnit) => readonly string[]]>([
    ['-issuer, which is ours to choose', () => ['-issuer', '/O=Elsewhere/CN=CA']],
    ['-days 1', () => ['-days', '1']],
    ['-days 0', () => ['-days', '0']],
    ['-days 36500', () => ['-days', '36500']],
    ['-sans with the unit’s own name', ({ fqdn }) => ['-sans', fqdn]],
    ['-sans critical', ({ fqdn }) => ['-sans', `${fqdn} critical`]],
    ['-san_nodefault', () => ['-san_nodefault']],
    ['-popo 1', () => ['-popo', '1']],
    ['-digest sha384', () => ['-digest', 'sha384']],
    ['-digest sha512', () => ['-digest', 'sha512']],
    ['-keep_alive 0', () => ['-keep_alive', '0']],
    ['-keep_alive 2', () => ['-keep_alive', '2']],
    ['-expect_sender', () => ['-expect_sender', '/O=Hanbit Mobile/OU=cmp-ra/CN=enrol-server-cmp']],
    ['-infotype beside kur', () => ['-infotype', 'signKeyPairTypes']],
    ['-geninfo of nobody', () => ['-geninfo', '1.2.3:int:987']],
    ['-recipient of another name', () => ['-recipient', '/CN=whoever/O=Elsewhere']],
  ])('kur %s', async (_name, flags) => {
    const { unit, op } = await cmp.activeUnit();
    const run = await cmp.openssl('kur', { as: op, flags: ['-newkey', await cmp.newKey(), ...flags(unit)] });
    expect([run.code, run.text]).toEqual([0, expect.any(String)]);
    const { notBefore, notAfter } = readCertificate(derOf(run.certFile));
    expect(notAfter.getTime() - notBefore.getTime()).toBeLessThan(8 * 86_400_000);
    expect(await units.slots(unit)).toEqual(['1 confirmed', '2 confirmed']);
  });

  test('a PKCS#10 that is turned into an ir', async () => {
    const { unit, as } = await ordered();
    const [keyFile, csr] = [await cmp.newKey(), cmp.file('csr')];
    await runClient('openssl', ['req', '-new', '-key', keyFile, '-subj', `/CN=${unit.fqdn}`, '-out', csr]);
    const run = await cmp.openssl('ir', { as, flags: ['-csr', csr, '-newkey', keyFile] });
    expect([run.code, run.text]).toEqual([0, expect.any(String)]);
    expect(await units.slots(unit)).toEqual(['1 confirmed']);
  });

  test('answers checked by the server’s certificate itself (-srvcert), and a certificate used with its -chainout', async () => {
    const { unit, op } = await cmp.activeUnit();
    const [srvcert, chain] = [cmp.file('srvcert'), cmp.file('chain')];
    writeFileSync(srvcert, certificatePem(cmp.ra?.certificateDer ?? Buffer.alloc(0)));
    const [firstKey, nextKey] = [await cmp.newKey(), await cmp.newKey()];
    const flags = ['-newkey', firstKey, '-chainout', chain, '-out_trusted', accessRoot()];
    const first = await cmp.openssl('kur', { as: op, flags });
    expect([first.code, first.text]).toEqual([0, expect.any(String)]);
    expect(readFileSync(chain, 'utf8')).toContain('BEGIN CERTIFICATE');
    const as = { pemFile: first.certFile, keyFile: firstKey };
    const next = await cmp.openssl('kur', {
      as,
      flags: ['-newkey', nextKey, '-srvcert', srvcert, '-untrusted', chain],
    });
    expect([next.code, next.text]).toEqual([0, expect.any(String)]);
    expect(await units.slots(unit)).toHaveLength(3);
  });

  test.each(['192.0.2.1', 'https://www.hanbit.example'])(
    'kur -sans %s: granted with modifications, the certificate has the unit’s name alone',
    async (name) => {
      const { unit, op } = await cmp.activeUnit();
      const flags = ['-newkey', await cmp.newKey(), '-sans', name];
      const run = await cmp.openssl('kur', { as: op, flags });
      expect([run.code, run.text]).toEqual([0, expect.stringContaining('granted with modifications')]);
      const shown = await runClient('openssl', ['x509', '-in', run.certFile, '-noout', '-ext', 'subjectAltName']);
      expect(shown.text.trim().split('\n').slice(1).join().trim()).toBe(`DNS:${unit.fqdn}`);
    },
  );

  test('genm that asks nothing', async () => {
    const { op } = await cmp.activeUnit();
    const run = await cmp.openssl('genm', { as: op });
    expect([run.code, run.text]).toEqual([0, expect.any(String)]);
  });

  test.each([0, 1, 4, 5])('rr -revreason %i', async (reason) => {
    const { unit, op } = await cmp.activeUnit();
    const flags = ['-oldcert', op.pemFile, '-revreason', String(reason)];
    const run = await cmp.openssl('rr', { as: op, flags });
    expect([run.code, run.text]).toEqual([0, expect.any(String)]);
    expect(await units.stateOf(unit)).toBe('SUSPENDED');
  });
});

function accessRoot(): string {
  return `${cmp.world.dir}/access-root.pem`;
}

async function ordered(): Promise<{ unit: WorldUnit; as: CurlCredential }> {
  const unit = await cmp.world.addUnit();
  await cmp.order(unit);
  return { unit, as: cmp.bootstrapOf(unit) };
}
