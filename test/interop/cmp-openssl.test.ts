/**
 * What an unmodified `openssl cmp` 3.0 can say to this server and what it is told: the commands one by one, in the clear and
 * behind TLS, and the options of OpenSSL's own client tests (test/recipes/80-test_cmp_http_data/*.csv) that mean something
 * to a server. `-trusted` is always there, `-unprotected_errors` never. A unit's life in one piece: openssl-life.test.ts.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { certificatePem, readCertificate } from '../../src/x509/certificate.js';
import { type CmpWorld, type OpensslRun, startCmpWorld } from '../support/cmp-world.js';
import { runClient } from '../support/command.js';
import type { CurlCredential } from '../support/curl-unit.js';
import type { WorldUnit } from '../support/device-world.js';
import { VendorPki } from '../support/vendor-ca.js';
import { kindsOf, refusalOf } from './openssl-said.js';

const pki = new VendorPki();
let cmp: CmpWorld;

beforeAll(async () => {
  cmp = await startCmpWorld();
  await cmp.setModel({ macAllowed: true, label: 'garam-fc1' });
});
afterAll(async () => {
  pki.remove();
  await cmp.close();
});

describe.each([
  { transport: 'plain HTTP', tls: false },
  { transport: 'TLS', tls: true },
])('over $transport each command ends 0', ({ tls }) => {
  const ask = (command: string, as: CurlCredential, path: string, flags: readonly string[]) =>
    cmp.openssl(command, { as, tls, path, flags });
  const csrOf = async (keyFile: string): Promise<string> => {
    const csr = cmp.file('csr');
    await runClient('openssl', ['req', '-new', '-key', keyFile, '-subj', '/CN=femtocell', '-out', csr]);
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
    expect(await slots(unit)).toEqual(['1 confirmed']);
  });

  test('p10cr by the bootstrap certificate activates', async () => {
    const { unit, as } = await ordered();
    const run = await ask('p10cr', as, '/pkcs10', ['-csr', await csrOf(await cmp.newKey())]);
    expect([run.code, run.text]).toEqual([0, expect.any(String)]);
    expect(await slots(unit)).toEqual(['1 confirmed']);
  });

  test('cr, p10cr and kur by the operational certificate renew, at the address of the model', async () => {
    let { unit, op } = await cmp.activeUnit();
    for (const [command, path] of [
      ['cr', '/p/garam-fc1/certification'],
      ['p10cr', '/p/garam-fc1/pkcs10/'],
      ['kur', '/p/garam-fc1/keyupdate'],
    ] as const) {
      const keyFile = await cmp.newKey();
      const wish = command === 'p10cr' ? ['-csr', await csrOf(keyFile)] : ['-newkey', keyFile];
      const run = await ask(command, op, path, wish);
      expect([run.code, run.text]).toEqual([0, expect.any(String)]);
      op = { pemFile: run.certFile, keyFile };
    }
    expect(await slots(unit)).toEqual(['1 confirmed', '2 confirmed', '3 confirmed', '4 confirmed']);
  });

  test('-implicit_confirm is granted, -disable_confirm is lived with: pending until the next renewal', async () => {
    let { unit, op } = await cmp.activeUnit();
    for (const flag of ['-implicit_confirm', '-disable_confirm']) {
      const keyFile = await cmp.newKey();
      const run = await ask('kur', op, '', ['-newkey', keyFile, flag]);
      expect([run.code, run.text]).toEqual([0, expect.any(String)]);
      expect(kindsOf(run.received)).toEqual(['kup']);
      expect((await slots(unit)).at(-1)).toMatch(/ pending$/);
      op = { pemFile: run.certFile, keyFile };
    }
    const run = await ask('kur', op, '', ['-newkey', await cmp.newKey()]);
    expect([run.code, run.text]).toEqual([0, expect.any(String)]);
    expect(await slots(unit)).toEqual(['1 confirmed', '2 confirmed', '3 confirmed', '4 confirmed']);
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
    expect(await stateOf(unit)).toBe('SUSPENDED');
  });

  test.each([
    ['ir', '-mac hmacWithSHA256'],
    ['cr', ''],
    ['p10cr', '-mac hmacWithSHA256'],
  ] as const)('%s by a shared secret %s: a bootstrap certificate, which activates', async (command, mac) => {
    const { unit, reference, secret } = await secretUnit();
    const keyFile = await cmp.newKey();
    const wish = command === 'p10cr' ? ['-csr', await csrOf(keyFile)] : ['-newkey', keyFile, '-subject', '/CN=x'];
    const flags = ['-ref', reference, '-secret', `pass:${secret}`, ...wish, ...(mac === '' ? [] : mac.split(' '))];
    const run = await cmp.openssl(command, { tls, flags });
    expect([run.code, run.text]).toEqual([0, expect.any(String)]);
    expect(await stateOf(unit)).toBe('BOOTSTRAPPED');
    expect(await slots(unit)).toEqual([]);
    await cmp.order(unit);
    const as = { pemFile: run.certFile, keyFile };
    const next = await ask('ir', as, '', ['-newkey', await cmp.newKey()]);
    expect([next.code, next.text]).toEqual([0, expect.any(String)]);
    expect(await slots(unit)).toEqual(['1 confirmed']);
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
    expect(await slots(unit)).toEqual(['1 confirmed', '2 confirmed']);
  });

  test('a PKCS#10 that is turned into an ir', async () => {
    const { unit, as } = await ordered();
    const [keyFile, csr] = [await cmp.newKey(), cmp.file('csr')];
    await runClient('openssl', ['req', '-new', '-key', keyFile, '-subj', '/CN=femtocell', '-out', csr]);
    const run = await cmp.openssl('ir', { as, flags: ['-csr', csr, '-newkey', keyFile] });
    expect([run.code, run.text]).toEqual([0, expect.any(String)]);
    expect(await slots(unit)).toEqual(['1 confirmed']);
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
    expect(await slots(unit)).toHaveLength(3);
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
    expect(await stateOf(unit)).toBe('SUSPENDED');
  });
});

describe('what openssl is refused for', () => {
  let unit: WorldUnit;
  let op: CurlCredential;
  beforeAll(async () => {
    ({ unit, op } = await cmp.activeUnit());
  });

  /** A kur that would be served but for the flags; it leaves the unit as it was. */
  const kur = async (flags: readonly string[], call: Partial<Parameters<CmpWorld['openssl']>[1]> = {}) => {
    const newKey = flags.includes('-newkey') ? [] : ['-newkey', await cmp.newKey()];
    return cmp.openssl('kur', { as: op, ...call, flags: [...newKey, ...flags] });
  };

  test.each<[string, readonly string[], string]>([
    ['-popo 0', ['-popo', '0'], 'notAuthorized'],
    ['-popo -1', ['-popo', '-1'], 'badPOP'],
    ['-unprotected_requests', ['-unprotected_requests'], 'badMessageCheck'],
    ['-digest sha1', ['-digest', 'sha1'], 'badAlg'],
    ['-sans with two names', ['-sans', 'one.hanbit.example two.hanbit.example'], 'badCertTemplate'],
    ['-subject of another', ['-subject', '/CN=020000000fff.femto.hanbit.example'], 'badCertTemplate'],
  ])('%s', async (_name, flags, failInfo) => {
    expect(refusalOf(await kur(flags))).toBe(failInfo);
    expect(await slots(unit)).toEqual(['1 confirmed']);
  });

  test('an RSA key to be certified: badCertTemplate', async () => {
    const keyFile = cmp.file('rsa');
    await runClient('openssl', ['genrsa', '-out', keyFile, '2048']);
    expect(refusalOf(await kur(['-newkey', keyFile]))).toBe('badCertTemplate');
  });

  test('kur under a good secret: wrongIntegrity; under a wrong one as well', async () => {
    const { reference, secret } = await secretUnit();
    for (const word of [secret, 'wrong']) {
      const flags = ['-newkey', await cmp.newKey(), '-oldcert', op.pemFile];
      const run = await cmp.openssl('kur', { flags: ['-ref', reference, '-secret', `pass:${word}`, ...flags] });
      expect(refusalOf(run)).toBe('wrongIntegrity');
    }
  });

  test('a secret whose reference is another’s, or nobody’s: badMessageCheck', async () => {
    const [one, other] = [await secretUnit(), await secretUnit()];
    for (const reference of [other.reference, 'nobody', randomBytes(16).toString('base64url')]) {
      const flags = ['-ref', reference, '-secret', `pass:${one.secret}`, '-newkey', await cmp.newKey()];
      expect(refusalOf(await cmp.openssl('ir', { flags: [...flags, '-subject', '/CN=x'] }))).toBe('badMessageCheck');
    }
  });

  test('a secret that was spent: notAuthorized; the same key gets its certificate again', async () => {
    const { reference, secret } = await secretUnit();
    const keyFile = await cmp.newKey();
    const by = (key: string) =>
      cmp.openssl('ir', {
        flags: ['-ref', reference, '-secret', `pass:${secret}`, '-newkey', key, '-subject', '/CN=x'],
      });
    const first = await by(keyFile);
    const again = await by(keyFile);
    expect([first.code, again.code]).toEqual([0, 0]);
    expect(derOf(again.certFile).equals(derOf(first.certFile))).toBe(true);
    expect(refusalOf(await by(await cmp.newKey()))).toBe('badRequest');
  });

  test('a foreign -cert, over its own CA or under the names of ours: signerNotTrusted', async () => {
    const { subjectDer } = readCertificate(derOf(op.pemFile));
    expect(subjectDer.length).toBeGreaterThan(0);
    const root = pki.root({ subject: '/O=Hanbit Mobile/CN=Hanbit Mobile Device CA 1' });
    const leaf = pki.leaf(root, { subject: `/O=Hanbit Mobile/CN=${unit.fqdn}` });
    const as = { pemFile: leaf.certFile, keyFile: leaf.keyFile };
    expect(refusalOf(await kur(['-extracerts', root.certFile], { as }))).toBe('signerNotTrusted');
  });

  test('its own certificate with a key that is not its own: openssl does not even send it', async () => {
    const run = await kur([], { as: { pemFile: op.pemFile, keyFile: await cmp.newKey() } });
    expect([run.code, run.sent]).toEqual([1, []]);
  });

  test('a certificate that was revoked: certRevoked; of a unit that is suspended by that: notAuthorized', async () => {
    const gone = await cmp.activeUnit();
    expect((await cmp.openssl('rr', { as: gone.op, flags: ['-oldcert', gone.op.pemFile] })).code).toBe(0);
    expect(refusalOf(await kur([], { as: gone.op }))).toBe('notAuthorized');
    expect(refusalOf(await cmp.openssl('ir', { as: gone.op, flags: ['-newkey', await cmp.newKey()] }))).toBe(
      'certRevoked',
    );
    // Two people let it begin anew; what it had before ends with that.
    const again = await cmp.activeUnit();
    await cmp.world.rooms.enrolment.createGrant({
      ...{ unitId: again.unit.id, kind: 'order', lineId: again.unit.lineId, lifeSeconds: 86_400 },
      ...{ createdBy: 'person:kim', approvedBy: 'person:lee' },
    });
    const flags = ['-newkey', await cmp.newKey()];
    const run = await cmp.openssl('ir', { as: cmp.bootstrapOf(again.unit), flags });
    expect([run.code, run.text]).toEqual([0, expect.any(String)]);
    expect(refusalOf(await kur([], { as: again.op }))).toBe('certRevoked');
    expect(await stateOf(again.unit)).toBe('ACTIVE');
  });

  test('its own certificate, expired: renewed while it may come back, from its line; rr: signerNotTrusted', async () => {
    // Certificates begin an hour ago: this one has three seconds left.
    await cmp.world.db.pool.query(
      `INSERT INTO profile (name, life_seconds, renewal_mode) VALUES ('test-short', 3603, 'rekey')`,
    );
    const late = await cmp.world.addUnit({ profile: 'test-short' });
    await cmp.order(late);
    const keyFile = await cmp.newKey();
    const run = await cmp.openssl('ir', { as: cmp.bootstrapOf(late), flags: ['-newkey', keyFile] });
    expect([run.code, run.text]).toEqual([0, expect.any(String)]);
    await sleep(3_500);
    const as = { pemFile: run.certFile, keyFile };
    expect(refusalOf(await cmp.openssl('rr', { as, flags: ['-oldcert', as.pemFile] }))).toBe('signerNotTrusted');
    const elsewhere = await cmp.world.addLine('elsewhere', '127.0.0.0/8');
    const far = await kur([], { as });
    await cmp.world.db.pool.query('DELETE FROM line_prefix WHERE line_id = $1', [elsewhere]);
    expect([refusalOf(far), far.text]).toEqual(['notAuthorized', expect.stringContaining('REACTIVATE')]);
    const back = await kur([], { as });
    expect([back.code, back.text]).toEqual([0, expect.any(String)]);
  });

  test('rr of another certificate, or for a reason that is not a unit’s: badCertId, notAuthorized', async () => {
    const other = await cmp.activeUnit();
    const rr = (oldcert: string, reason: number) =>
      cmp.openssl('rr', { as: op, flags: ['-oldcert', oldcert, '-revreason', String(reason)] });
    expect(refusalOf(await rr(other.op.pemFile, 4))).toBe('badCertId');
    for (const reason of [2, 3, 6, 8, 9, 10]) {
      expect([reason, refusalOf(await rr(op.pemFile, reason))]).toEqual([reason, 'notAuthorized']);
    }
    expect([await stateOf(unit), await stateOf(other.unit)]).toEqual(['ACTIVE', 'ACTIVE']);
  });

  test('rr by a request instead of a certificate: badDataFormat', async () => {
    const csr = cmp.file('csr');
    await runClient('openssl', ['req', '-new', '-key', op.keyFile, '-subj', '/CN=x', '-out', csr]);
    expect(refusalOf(await cmp.openssl('rr', { as: op, flags: ['-csr', csr] }))).toBe('badDataFormat');
  });

  test('more certificates than anybody needs: badDataFormat; far too many: not heard to their end', async () => {
    const pem = readFileSync(`${cmp.world.dir}/access-root.pem`, 'utf8');
    const ca = pki.root({ subject: '/CN=filler' });
    const [many, tooMany] = [cmp.file('many'), cmp.file('too-many')];
    const fillers = Array.from({ length: 24 }, (_, n) => pki.leaf(ca, { subject: `/CN=filler ${n}` }));
    const fill = fillers.map(({ certFile }) => readFileSync(certFile, 'utf8')).join('');
    writeFileSync(many, pem + fill);
    expect(refusalOf(await kur(['-extracerts', many]))).toBe('badDataFormat');
    const big = fillers
      .slice(0, 12)
      .map((_, n) =>
        pki.leaf(ca, { subject: `/CN=big ${n}`, extensions: [`1.2.3.4.${n}=ASN1:UTF8String:${'x'.repeat(12_000)}`] }),
      );
    writeFileSync(tooMany, big.map(({ certFile }) => readFileSync(certFile, 'utf8')).join(''));
    expect((await kur(['-extracerts', tooMany])).text).toMatch(/transfer error/);
    expect(await slots(unit)).toEqual(['1 confirmed']);
  });

  test('paths of another operation, of another model and of nobody, over TLS too', async () => {
    for (const tls of [false, true]) {
      for (const path of ['/revocation', '/p/nobody', '/p/garam-fc1/initialization', '/nothing', '/a/b/c']) {
        expect([path, refusalOf(await kur([], { path, tls }))]).toEqual([path, 'badRequest']);
      }
    }
    const run = await kur(['-path', '/elsewhere']);
    expect(run.text).toContain('404');
  });

  test('a client that trusts another root takes no answer of ours, and its certificate stays pending', async () => {
    const other = await cmp.activeUnit();
    const root = pki.root({ subject: '/CN=stranger' });
    const run = await cmp.openssl('kur', {
      as: other.op,
      flags: ['-newkey', await cmp.newKey(), '-trusted', root.certFile],
    });
    expect(run.code).not.toBe(0);
    expect(await slots(other.unit)).toEqual(['1 confirmed', '2 pending']);
  });

  test('a client that does not believe its new certificate rejects it, and may ask again', async () => {
    const other = await cmp.activeUnit();
    const root = pki.root({ subject: '/CN=stranger' });
    const keyFile = await cmp.newKey();
    const flags = ['-newkey', keyFile, '-out_trusted', root.certFile];
    const run = await cmp.openssl('kur', { as: other.op, flags });
    expect(run.code).not.toBe(0);
    expect(kindsOf(run.received)).toEqual(['kup', 'pkiConf']);
    expect(await slots(other.unit)).toEqual(['1 confirmed', '2 abandoned']);
    const again = await cmp.openssl('kur', { as: other.op, flags: ['-newkey', keyFile] });
    expect([again.code, again.text]).toEqual([0, expect.any(String)]);
    expect((await slots(other.unit)).at(-1)).toBe('2 confirmed');
  });
});

describe('a message that was sent before (-reqin)', () => {
  test('while its certificate waits for the certConf: the same answer, which is then confirmed', async () => {
    const { unit, op } = await cmp.activeUnit();
    const { keyFile, requestFile, run: first } = await recorded(op);
    const again = await cmp.openssl('kur', { as: op, flags: ['-newkey', keyFile, '-reqin', requestFile] });
    expect([again.code, again.text]).toEqual([0, expect.any(String)]);
    expect(again.received[0]).toEqual(first.received[0]);
    expect(await slots(unit)).toEqual(['1 confirmed', '2 confirmed']);
  });

  test('after its exchange has ended: transactionIdInUse, whoever sends it', async () => {
    const { unit, op } = await cmp.activeUnit();
    const keyFile = await cmp.newKey();
    const first = await cmp.openssl('kur', { as: op, flags: ['-newkey', keyFile] });
    expect([first.code, first.text]).toEqual([0, expect.any(String)]);
    const requestFile = stored(first.sent[0]);
    for (const as of [op, (await cmp.activeUnit()).op]) {
      const run = await cmp.openssl('kur', { as, flags: ['-newkey', keyFile, '-reqin', requestFile] });
      expect(refusalOf(run)).toBe('transactionIdInUse');
    }
    expect([await stateOf(unit), await slots(unit)]).toEqual(['ACTIVE', ['1 confirmed', '2 confirmed']]);
  });

  test('under a new transactionID and its own key it is a new request for the same key: the same certificate', async () => {
    const { unit, op } = await cmp.activeUnit();
    const { keyFile, requestFile, run: first } = await recorded(op);
    const flags = ['-newkey', keyFile, '-reqin', requestFile, '-reqin_new_tid'];
    const again = await cmp.openssl('kur', { as: op, flags });
    expect([again.code, again.text]).toEqual([0, expect.any(String)]);
    expect(derOf(again.certFile).equals(derOf(first.certFile))).toBe(true);
    expect(await slots(unit)).toEqual(['1 confirmed', '2 confirmed']);
  });

  /** A kur whose certConf never came. */
  async function recorded(op: CurlCredential): Promise<{ keyFile: string; requestFile: string; run: OpensslRun }> {
    const keyFile = await cmp.newKey();
    const run = await cmp.openssl('kur', { as: op, flags: ['-newkey', keyFile, '-disable_confirm'] });
    expect([run.code, run.text]).toEqual([0, expect.any(String)]);
    return { keyFile, requestFile: stored(run.sent[0]), run };
  }
});

function stored(der: Buffer | undefined): string {
  const file = cmp.file('recorded.der');
  writeFileSync(file, der ?? '');
  return file;
}

function accessRoot(): string {
  return `${cmp.world.dir}/access-root.pem`;
}

function derOf(pemFile: string): Buffer {
  return Buffer.from(readFileSync(pemFile, 'utf8').replaceAll(/-----[^-]+-----|\s/g, ''), 'base64');
}

async function ordered(): Promise<{ unit: WorldUnit; as: CurlCredential }> {
  const unit = await cmp.world.addUnit();
  await cmp.order(unit);
  return { unit, as: cmp.bootstrapOf(unit) };
}

/** A unit that has a secret where others have a bootstrap certificate. */
async function secretUnit(): Promise<{ unit: WorldUnit; reference: string; secret: string }> {
  const unit = await cmp.world.addUnit({ state: 'MANIFESTED' });
  for (const table of ['key_seen', 'certificate']) {
    await cmp.world.db.pool.query(`DELETE FROM ${table} WHERE unit_id = $1`, [unit.id]);
  }
  const { reference, secret } = await cmp.first.factory.createMacSecret({ unitId: unit.id, actor: 'person:kim' });
  return { unit, reference, secret };
}

async function slots({ id }: WorldUnit): Promise<string[]> {
  const { rows } = await cmp.world.db.pool.query<{ text: string }>(
    `SELECT generation || ' ' || state AS text FROM lineage_slot WHERE unit_id = $1 ORDER BY generation, id`,
    [id],
  );
  return rows.map(({ text }) => text);
}

async function stateOf({ id }: WorldUnit): Promise<string | undefined> {
  const { rows } = await cmp.world.db.pool.query<{ state: string }>('SELECT state FROM unit WHERE id = $1', [id]);
  return rows[0]?.state;
}
