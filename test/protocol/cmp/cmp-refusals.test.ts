import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { directoryNameOf, INFO_TYPE, readPkiMessage } from '../../../src/x509/cmp/index.js';
import { octetString } from '../../../src/x509/der.js';
import { certProfile, NULL_DN, oldCertId, type RevokeParts, regToken, requestBody } from '../../support/cmp-request.js';
import { type Answered, freshKey, type Holder, holderOf, type Talk, talkTo, wish } from '../../support/cmp-talk.js';
import { type CmpWorld, startCmpWorld } from '../../support/cmp-world.js';
import type { WorldUnit } from '../../support/device-world.js';
import { LEAF_EXTENSIONS, VendorPki } from '../../support/vendor-ca.js';

const vendor = new VendorPki();
let cmp: CmpWorld;
let talk: Talk;
/** A unit that has what it needs; most of what is refused leaves it as it is. */
let unit: WorldUnit;
let holder: Holder;

beforeAll(async () => {
  cmp = await startCmpWorld();
  talk = talkTo(cmp);
  const active = await cmp.activeUnit();
  unit = active.unit;
  holder = holderOf(active.op);
});
afterAll(async () => {
  vendor.remove();
  await cmp.close();
});

describe('header and protection, in the order of RFC 9483 section 3.5', () => {
  const GENM = requestBody.genm();

  test.each<[string, () => Buffer, string]>([
    ['no transactionID', () => talk.message(holder, GENM, { transactionId: null }), 'badDataFormat'],
    ['pvno 1', () => talk.message(holder, GENM, { pvno: 1 }), 'unsupportedVersion'],
    ['pvno 4', () => talk.message(holder, GENM, { pvno: 4 }), 'unsupportedVersion'],
    ['krr', () => talk.message(holder, requestBody.other(9, Buffer.from('3000', 'hex'))), 'badRequest'],
    ['nested', () => talk.message(holder, requestBody.other(20, Buffer.from('3000', 'hex'))), 'badRequest'],
    ['no senderNonce', () => talk.message(holder, GENM, { senderNonce: null }), 'badSenderNonce'],
    ['a senderNonce of 8 octets', () => talk.message(holder, GENM, { senderNonce: randomBytes(8) }), 'badSenderNonce'],
    [
      'a recipNonce at the start',
      () => talk.message(holder, GENM, { recipNonce: randomBytes(16) }),
      'badRecipientNonce',
    ],
    ['no recipNonce in pollReq', () => talk.message(holder, requestBody.pollReq(0)), 'badRecipientNonce'],
    ['no protection', () => talk.message(holder, GENM, {}, { protect: { kind: 'none' } }), 'badMessageCheck'],
    ['no extraCerts', () => talk.message(holder, GENM, {}, { extraCerts: [] }), 'badMessageCheck'],
    ['no senderKID', () => talk.message(holder, GENM, { senderKid: null }), 'badMessageCheck'],
    ['another senderKID', () => talk.message(holder, GENM, { senderKid: randomBytes(20) }), 'badMessageCheck'],
    ['the empty sender', () => talk.message(holder, GENM, { sender: NULL_DN }), 'badMessageCheck'],
    [
      'another sender',
      () => talk.message(holder, GENM, { sender: directoryNameOf(holder.issuerDer) }),
      'badMessageCheck',
    ],
    ['bent protection', () => talk.message(holder, GENM, {}, { bendProtection: bend }), 'badMessageCheck'],
    [
      'extraCerts that are none',
      () => talk.message(holder, GENM, {}, { extraCerts: [octetsAsCert()] }),
      'badDataFormat',
    ],
  ])('%s', async (_name, message, failInfo) => {
    const before = await transactions();
    const answer = await talk.send(message());
    expect(answer.said).toBe(`error rejection ${failInfo}`);
    expect(answer.text).toMatch(/^(DENIED|RETRY_LATER|REACTIVATE|BAD_REQUEST)/);
    expect(await transactions()).toBe(before);
  });

  test('a certificate of nobody is signerNotTrusted, with one device word and no reason', async () => {
    const { certFile: pemFile, keyFile } = vendor.root({ subject: '/CN=nobody', extensions: LEAF_EXTENSIONS });
    const answer = await talk.send(talk.message(holderOf({ pemFile, keyFile }), GENM));
    expect(answer.said).toBe('error rejection signerNotTrusted');
    expect(answer.text).toBe('DENIED');
  });

  test('pvno is answered as asked, and an unknown one by the nearest', async () => {
    for (const [pvno, answered] of [
      [2, 2],
      [3, 3],
      [9, 3],
      [1, 2],
    ] as const) {
      expect((await talk.send(talk.message(holder, GENM, { pvno }))).message.pvno).toBe(answered);
    }
  });

  test('messageTime is never judged: a unit that woke up in 1970 is served', async () => {
    expect((await talk.send(talk.message(holder, GENM, { messageTime: new Date(0) }))).said).toBe('genp');
  });

  test('an answer echoes transaction, nonce and sender, and is signed by the RA', async () => {
    const der = talk.message(holder, GENM);
    const sent = readPkiMessage(der);
    const { message } = await talk.send(der);
    expect(message.transactionId?.equals(sent.transactionId ?? Buffer.alloc(0))).toBe(true);
    expect(message.recipNonce?.equals(sent.senderNonce ?? Buffer.alloc(0))).toBe(true);
    expect(message.recipientDer.equals(sent.senderDer)).toBe(true);
    expect(message.senderKid?.equals(cmp.ra?.keyIdentifier ?? Buffer.alloc(0))).toBe(true);
  });

  test('a refusal of a proved unit is in the ledger with its exact code', async () => {
    await talk.send(talk.message(holder, requestBody.kur(wish(), wish())));
    expect(await cmp.world.ledger(unit, 'request.refused')).toContainEqual(
      expect.objectContaining({ code: 'BAD_REQUEST', operation: 'cmp kur' }),
    );
  });
});

describe('what is wrong with bytes is said in CMP, under 200', () => {
  test('truncated, oversized and followed by more: badDataFormat, with the transactionID where it could be read', async () => {
    const whole = talk.message(holder, requestBody.kur(wish()));
    const { transactionId } = readPkiMessage(whole);
    const oversized = talk.message(
      holder,
      requestBody.genm({ oid: INFO_TYPE.caCerts, valueDer: octetString(Buffer.alloc(70_000)) }),
    );
    for (const der of [
      whole.subarray(0, whole.length - 40),
      oversized,
      Buffer.concat([whole, Buffer.alloc(3)]),
      Buffer.from('junk'),
    ]) {
      expect((await talk.send(der)).said).toBe('error rejection badDataFormat');
    }
    const { message } = await talk.send(whole.subarray(0, whole.length - 40));
    expect(message.transactionId).toEqual(transactionId);
  });

  test('openssl sees the failInfo for an unknown profile path, a foreign path and a path of another operation', async () => {
    const op = await cmp.activeUnit();
    const keyFile = await cmp.newKey();
    for (const path of ['/p/nobody', '/p/nobody/keyupdate', '/initialization', '/no-such-thing']) {
      const run = await cmp.openssl('kur', { as: op.op, path, flags: ['-newkey', keyFile] });
      expect(run.code).not.toBe(0);
      expect(run.text).toContain('badRequest');
    }
  });
});

describe('HTTP (RFC 9811 section 3)', () => {
  const genm = (): Buffer => talk.message(holder, requestBody.genm());

  test('parameters of the content type are tolerated and never sent; the length is always there', async () => {
    const answer = await cmp.post(genm(), { headers: { 'content-type': 'application/pkixcmp; charset=binary' } });
    expect(answer.status).toBe(200);
    expect(answer.headers).toMatchObject({
      'content-type': 'application/pkixcmp',
      'content-length': String(answer.body.length),
    });
    expect(answer.headers['transfer-encoding']).toBeUndefined();
  });

  test.each([
    ['http://pki.hanbit.example/.well-known/cmp/getcacerts', 200],
    ['HTTP://192.0.2.1:8081/.well-known/cmp?x=/y', 200],
    ['http://pki.hanbit.example', 404],
    ['http://pki.hanbit.example?/.well-known/cmp', 404],
    ['ftp://pki.hanbit.example/.well-known/cmp', 404],
  ])('the whole address in the request line, %s, is %s (RFC 9112 section 3.2.2)', async (target, status) => {
    const { status: got, body } = await cmp.post(genm(), { target });
    expect(got).toBe(status);
    if (status === 200) expect(readPkiMessage(body).body.kind).toBe('genp');
  });

  test.each<[string, Parameters<CmpWorld['post']>[1], number]>([
    ['GET', { method: 'GET' }, 405],
    ['another content type', { headers: { 'content-type': 'application/pkcs10' } }, 415],
    ['no content type', { headers: { 'content-type': '' } }, 415],
    ['compressed', { headers: { 'content-encoding': 'gzip' } }, 415],
  ])('%s is refused bare', async (_name, options, status) => {
    const answer = await cmp.post(genm(), options);
    expect(answer).toMatchObject({ status, body: Buffer.alloc(0) });
  });

  test('far too large is 413, bare', async () => {
    expect((await cmp.post(Buffer.alloc(200_000))).status).toBe(413);
  });

  test('without a certificate to protect answers with: 503 and Retry-After', async () => {
    const { ra } = cmp;
    cmp.ra = null;
    const answer = await cmp.post(genm());
    cmp.ra = ra;
    expect(answer).toMatchObject({ status: 503, headers: { 'retry-after': '30' }, body: Buffer.alloc(0) });
  });
});

describe('requests for certificates', () => {
  test.each<[string, () => Buffer, string]>([
    ['two CertReqMsg', () => requestBody.kur(wish(), wish()), 'badRequest'],
    ['certReqId 1', () => requestBody.kur(wish({ certReqId: 1 })), 'badDataFormat'],
    ['raVerified', () => requestBody.kur(wish({ popo: 'raVerified' })), 'notAuthorized'],
    ['no proof of possession', () => requestBody.kur(wish({ popo: 'none' })), 'badPOP'],
    ['a proof by another key', () => requestBody.kur(wish({ proveWith: freshKey() })), 'badPOP'],
    [
      'an oldCertID of another certificate',
      () => requestBody.kur(wish({ controls: [oldCertId(holder.issuerDer, randomBytes(16))] })),
      'badCertId',
    ],
    [
      'an RSA key',
      () => requestBody.kur(wish({ key: rsaKey(), algorithm: 'sha256WithRSAEncryption' })),
      'badCertTemplate',
    ],
    ['the key it has already', () => requestBody.kur(wish({ key: holder.key })), 'badCertTemplate'],
  ])('%s', async (_name, body, failInfo) => {
    expect((await talk.send(talk.message(holder, body()))).said).toBe(`kup rejection ${failInfo}`);
  });

  test('an oldCertID that names the protecting certificate is as good as none', async () => {
    const { op } = await cmp.activeUnit();
    const own = holderOf(op);
    const kur = talk.message(own, requestBody.kur(wish({ controls: [oldCertId(own.issuerDer, own.serial)] })));
    expect((await talk.send(kur)).said).toBe('kup accepted');
  });

  test('poposkInput is as good a proof as certReq (TS 33.310 clause 9.5.4)', async () => {
    const { op } = await cmp.activeUnit();
    expect((await talk.send(talk.message(holderOf(op), requestBody.kur(wish({ popo: 'poposkInput' }))))).said).toBe(
      'kup accepted',
    );
  });

  test('another unit’s name is refused, no name is not', async () => {
    const other = await cmp.world.addUnit();
    const subjectDer = holder.subjectDer;
    await cmp.order(other);
    const bootstrap = holderOf(cmp.bootstrapOf(other));
    expect((await talk.send(talk.message(bootstrap, requestBody.ir(wish({ subjectDer }))))).said).toBe(
      'ip rejection badCertTemplate',
    );
    expect((await talk.send(talk.message(bootstrap, requestBody.ir(wish())))).said).toBe('ip accepted');
  });

  test('kur under the bootstrap certificate is refused, cr is activation', async () => {
    const other = await cmp.world.addUnit();
    await cmp.order(other);
    const bootstrap = holderOf(cmp.bootstrapOf(other));
    expect((await talk.send(talk.message(bootstrap, requestBody.kur(wish())))).said).toBe(
      'kup rejection notAuthorized',
    );
    expect((await talk.send(talk.message(bootstrap, requestBody.cr(wish())))).said).toBe('cp accepted');
  });

  test('a code in regToken activates; a wrong one and none do not; a code under another unit’s key does not', async () => {
    const [other, thief] = [await cmp.world.addUnit(), await cmp.world.addUnit()];
    const code = await cmp.world.grant(other);
    const bootstrap = holderOf(cmp.bootstrapOf(other));
    const ask = (by: Holder, token?: string) =>
      talk.send(talk.message(by, requestBody.ir(wish(token === undefined ? {} : { controls: [regToken(token)] }))));
    const poll = (by: Holder, { message: { transactionId, senderNonce } }: Answered) => {
      const header = { transactionId: transactionId ?? null, recipNonce: senderNonce ?? null };
      return talk.send(talk.message(by, requestBody.pollReq(0), header));
    };
    expect((await ask(bootstrap)).said).toBe('ip rejection notAuthorized');
    // It may be a recording: only the unit's own word, over our nonce, makes a try of it.
    const wrong = await ask(bootstrap, 'AAAA-BBBB-CCCC-DDDD');
    expect([wrong.said, (await poll(bootstrap, wrong)).said]).toEqual(['ip waiting', 'ip rejection notAuthorized']);
    expect((await ask(holderOf(cmp.bootstrapOf(thief)), code)).said).toBe('ip rejection notAuthorized');
    expect((await ask(bootstrap, code)).said).toBe('ip accepted');
  });
});

describe('rr (RFC 9483 section 4.2)', () => {
  const own = () => ({ issuerDer: holder.issuerDer, serial: holder.serial });

  test.each<[string, () => RevokeParts[], string]>([
    ['another certificate', () => [{ ...own(), serial: randomBytes(16) }], 'badCertId'],
    ['no serial', () => [{ issuerDer: holder.issuerDer }], 'badDataFormat'],
    ['hold', () => [{ ...own(), reasonCode: 6 }], 'notAuthorized'],
    ['un-hold', () => [{ ...own(), reasonCode: 8 }], 'notAuthorized'],
    ['two at once', () => [own(), own()], 'badRequest'],
  ])('%s', async (_name, details, failInfo) => {
    expect((await talk.send(talk.message(holder, requestBody.rr(...details())))).said).toBe(`rp rejection ${failInfo}`);
  });

  test('under the bootstrap certificate it is refused', async () => {
    const bootstrap = holderOf(cmp.bootstrapOf(unit));
    const body = requestBody.rr({ issuerDer: bootstrap.issuerDer, serial: bootstrap.serial });
    expect((await talk.send(talk.message(bootstrap, body))).said).toBe('rp rejection notAuthorized');
  });

  test('one that was held back until the unit had renewed suspends nobody', async () => {
    const { unit: other, op } = await cmp.activeUnit();
    const old = holderOf(op);
    const heldBack = talk.message(old, requestBody.rr({ issuerDer: old.issuerDer, serial: old.serial, reasonCode: 1 }));
    expect((await talk.send(talk.message(old, requestBody.kur(wish())))).said).toBe('kup accepted');
    expect((await talk.send(heldBack)).said).toBe('rp rejection certRevoked');
    const { rows } = await cmp.world.db.pool.query('SELECT state FROM unit WHERE id = $1', [other.id]);
    expect(rows).toEqual([{ state: 'ACTIVE' }]);
  });
});

describe('profiles and tolerances of a model', () => {
  afterEach(() => cmp.setModel({}));

  test('the label of the unit’s model is served, in the path and in certProfile; two that differ are not', async () => {
    await cmp.setModel({ label: 'fc-1' });
    const genm = (...names: string[]): Buffer =>
      talk.message(holder, requestBody.genm(), { generalInfo: names.map(certProfile) });
    expect((await talk.send(genm(), { path: '/p/fc-1' })).said).toBe('genp');
    expect((await talk.send(genm('fc-1'))).said).toBe('genp');
    expect((await talk.send(genm('fc-2'))).said).toBe('error rejection badRequest');
    expect((await talk.send(genm('fc-2'), { path: '/p/fc-1' })).said).toBe('error rejection badRequest');
  });

  test('another model’s label is notAuthorized', async () => {
    await cmp.world.db.pool.query(
      `INSERT INTO unit_model (maker_id, model, label, changed_by, changed_at) VALUES (1, 'FC-9', 'fc-9', 'test', now())`,
    );
    expect((await talk.send(talk.message(holder, requestBody.genm()), { path: '/p/fc-9' })).said).toBe(
      'error rejection notAuthorized',
    );
  });

  test('sender-null-dn', async () => {
    const genm = (): Buffer => talk.message(holder, requestBody.genm(), { sender: NULL_DN });
    await cmp.setModel({ tolerances: ['sender-null-dn'] });
    expect((await talk.send(genm())).said).toBe('genp');
    await cmp.setModel({});
    expect((await talk.send(genm())).said).toBe('error rejection badMessageCheck');
  });

  test('extra-certs-any-order', async () => {
    const bootstrap = holderOf(cmp.bootstrapOf(unit));
    const genm = (): Buffer =>
      talk.message(holder, requestBody.genm(), {}, { extraCerts: [bootstrap.der, holder.der] });
    expect((await talk.send(genm())).said).toBe('error rejection badMessageCheck');
    await cmp.setModel({ tolerances: ['extra-certs-any-order'] });
    expect((await talk.send(genm())).said).toBe('genp');
  });

  test('certconf-without-status; that a later message has no extraCerts needs no switch', async () => {
    const { op } = await cmp.activeUnit();
    const own = holderOf(op);
    const kup = await talk.send(talk.message(own, requestBody.kur(wish())));
    const { certificateDer = Buffer.alloc(0), message } = kup;
    const header = { transactionId: message.transactionId ?? null, recipNonce: message.senderNonce ?? null };
    const certConf = (extraCerts: Buffer[]): Buffer => {
      return talk.message(own, requestBody.certConf({ certificateDer }), header, { extraCerts });
    };
    expect((await talk.send(certConf([own.der]))).said).toBe('error rejection badRequest');
    await cmp.setModel({ tolerances: ['certconf-without-status'] });
    expect((await talk.send(certConf([]))).said).toBe('pkiConf');
  });

  test('implicit-confirm-always', async () => {
    const { op } = await cmp.activeUnit();
    const own = holderOf(op);
    await cmp.setModel({ tolerances: ['implicit-confirm-always'] });
    const kup = await talk.send(talk.message(own, requestBody.kur(wish())));
    expect(kup.said).toBe('kup accepted');
    expect(kup.message.asksImplicitConfirm).toBe(true);
  });
});

function bend(protection: Buffer): Buffer {
  const bent = Buffer.from(protection);
  const last = bent.length - 1;
  bent[last] = (bent[last] ?? 0) ^ 1;
  return bent;
}

function octetsAsCert(): Buffer {
  return Buffer.from('3003020105', 'hex');
}

function rsaKey() {
  return generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
}

async function transactions(): Promise<number> {
  const { rows } = await cmp.world.db.pool.query<{ n: number }>('SELECT count(*)::int AS n FROM cmp_transaction');
  return rows[0]?.n ?? 0;
}
