/**
 * What an unmodified `openssl cmp` 3.0 is refused for, in the words that it prints. `-trusted` is always there,
 * `-unprotected_errors` never: refusals are protected, too.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readCertificate } from '../../src/x509/certificate.js';
import { type CmpWorld, type OpensslRun, startCmpWorld } from '../support/cmp-world.js';
import { runClient } from '../support/command.js';
import type { CurlCredential } from '../support/curl-unit.js';
import type { WorldUnit } from '../support/device-world.js';
import { VendorPki } from '../support/vendor-ca.js';
import { kindsOf, refusalOf } from './openssl-said.js';
import { derOf, type OpensslUnits, opensslUnits } from './openssl-units.js';

const pki = new VendorPki();
let cmp: CmpWorld;
let units: OpensslUnits;

beforeAll(async () => {
  cmp = await startCmpWorld();
  units = opensslUnits(cmp);
  await cmp.setModel({ macAllowed: true, label: 'garam-fc1' });
});
afterAll(async () => {
  pki.remove();
  await cmp.close();
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
    expect(await units.slots(unit)).toEqual(['1 confirmed']);
  });

  test('an RSA key to be certified: badCertTemplate', async () => {
    const keyFile = cmp.file('rsa');
    await runClient('openssl', ['genrsa', '-out', keyFile, '2048']);
    expect(refusalOf(await kur(['-newkey', keyFile]))).toBe('badCertTemplate');
  });

  test('kur under a good secret: wrongIntegrity; under a wrong one as well', async () => {
    const { reference, secret } = await units.secretUnit();
    for (const word of [secret, 'wrong']) {
      const flags = ['-newkey', await cmp.newKey(), '-oldcert', op.pemFile];
      const run = await cmp.openssl('kur', { flags: ['-ref', reference, '-secret', `pass:${word}`, ...flags] });
      expect(refusalOf(run)).toBe('wrongIntegrity');
    }
  });

  test('a secret whose reference is another’s, or nobody’s: badMessageCheck', async () => {
    const [one, other] = [await units.secretUnit(), await units.secretUnit()];
    for (const reference of [other.reference, 'nobody', randomBytes(16).toString('base64url')]) {
      const flags = ['-ref', reference, '-secret', `pass:${one.secret}`, '-newkey', await cmp.newKey()];
      expect(refusalOf(await cmp.openssl('ir', { flags: [...flags, '-subject', '/CN=x'] }))).toBe('badMessageCheck');
    }
  });

  test('a secret that was spent: notAuthorized; the same key gets its certificate again', async () => {
    const { unit: who, reference, secret } = await units.secretUnit();
    const keyFile = await cmp.newKey();
    const by = (key: string) => {
      const wish = ['-newkey', key, '-subject', `/CN=${who.fqdn}`];
      return cmp.openssl('ir', { flags: ['-ref', reference, '-secret', `pass:${secret}`, ...wish] });
    };
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
    expect(await units.stateOf(again.unit)).toBe('ACTIVE');
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
    expect([await units.stateOf(unit), await units.stateOf(other.unit)]).toEqual(['ACTIVE', 'ACTIVE']);
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
    expect(await units.slots(unit)).toEqual(['1 confirmed']);
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
    expect(await units.slots(other.unit)).toEqual(['1 confirmed', '2 pending']);
  });

  test('a client that does not believe its new certificate rejects it, and may ask again', async () => {
    const other = await cmp.activeUnit();
    const root = pki.root({ subject: '/CN=stranger' });
    const keyFile = await cmp.newKey();
    const flags = ['-newkey', keyFile, '-out_trusted', root.certFile];
    const run = await cmp.openssl('kur', { as: other.op, flags });
    expect(run.code).not.toBe(0);
    expect(kindsOf(run.received)).toEqual(['kup', 'pkiConf']);
    expect(await units.slots(other.unit)).toEqual(['1 confirmed', '2 displaced']);
    const again = await cmp.openssl('kur', { as: other.op, flags: ['-newkey', keyFile] });
    expect([again.code, again.text]).toEqual([0, expect.any(String)]);
    expect((await units.slots(other.unit)).at(-1)).toBe('2 confirmed');
  });
});

describe('a message that was sent before (-reqin)', () => {
  test('while its certificate waits for the certConf: the same answer, which is then confirmed', async () => {
    const { unit, op } = await cmp.activeUnit();
    const { keyFile, requestFile, run: first } = await recorded(op);
    const again = await cmp.openssl('kur', { as: op, flags: ['-newkey', keyFile, '-reqin', requestFile] });
    expect([again.code, again.text]).toEqual([0, expect.any(String)]);
    expect(again.received[0]).toEqual(first.received[0]);
    expect(await units.slots(unit)).toEqual(['1 confirmed', '2 confirmed']);
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
    expect([await units.stateOf(unit), await units.slots(unit)]).toEqual(['ACTIVE', ['1 confirmed', '2 confirmed']]);
  });

  test('under a new transactionID and its own key it is a new request for the same key: the same certificate', async () => {
    const { unit, op } = await cmp.activeUnit();
    const { keyFile, requestFile, run: first } = await recorded(op);
    const flags = ['-newkey', keyFile, '-reqin', requestFile, '-reqin_new_tid'];
    const again = await cmp.openssl('kur', { as: op, flags });
    expect([again.code, again.text]).toEqual([0, expect.any(String)]);
    expect(derOf(again.certFile).equals(derOf(first.certFile))).toBe(true);
    expect(await units.slots(unit)).toEqual(['1 confirmed', '2 confirmed']);
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
