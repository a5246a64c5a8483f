import { createHash, createPublicKey, generateKeyPairSync, randomBytes, sign, verify } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { auditHeadName, auditHeadText, consistencyEvidence } from '../../../src/platform/hsm/audit-head.js';
import { consistencyProof, leafHash, subtreeHashOf, treeRoot } from '../../../src/platform/ledger/merkle.js';
import type { Signer, SignRequest, SignResult } from '../../../src/platform/signer.js';
import { assembleCertificate } from '../../../src/x509/certificate.js';
import { newSerial } from '../../../src/x509/serial.js';
import { crlRequest, leafRequest, ocspRequest } from '../../support/tbs.js';
import { type FreshToken, freshToken } from '../../support/token.js';

const DAY = 86_400;
const HOUR_MS = 3_600_000;

let token: FreshToken;
let enrol: Signer;
let status: Signer;
let worker: Signer;

beforeAll(async () => {
  token = await freshToken();
  enrol = token.connect('enrol');
  status = token.connect('status');
  worker = token.connect('worker');
}, 60_000);
afterAll(() => token.dispose());

async function one(signer: Signer, request: SignRequest): Promise<SignResult> {
  const [result] = await signer.sign([request]);
  if (!result) throw new Error('no result');
  return result;
}

/** DER signature of an answer that must be one. */
async function signatureOf(signer: Signer, request: SignRequest): Promise<Buffer> {
  const result = await one(signer, request);
  if (!result.ok) throw new Error(`${result.code}: ${result.message}`);
  return result.signature;
}

describe('CRLs and OCSP answers', () => {
  test('a CRL number rises for ever, and a CRL lives at most a day', async () => {
    const issuer = token.entry('bootstrap-ca');
    expect(await one(worker, crlRequest({ issuer, number: 5n }))).toMatchObject({ ok: true });
    for (const number of [5n, 4n]) {
      expect(await one(worker, crlRequest({ issuer, number }))).toMatchObject({
        ok: false,
        code: 'DENIED',
        message: `CRL number ${number} is not above 5, signed before.`,
      });
    }
    expect(await one(worker, crlRequest({ issuer, number: 6n, lifeSeconds: DAY + 1 }))).toMatchObject({
      ok: false,
      code: 'LIFETIME_EXCEEDS_CEILING',
    });
    const earlier = new Date(Date.now() - 2 * HOUR_MS);
    expect(await one(worker, crlRequest({ issuer, number: 6n, thisUpdate: earlier }))).toMatchObject({
      ok: false,
      message: 'thisUpdate lies before that of the CRL signed before.',
    });
  });

  test('refuses good for a serial on the newest CRL, also within the same second', async () => {
    const issuer = token.entry('device-ca-1');
    const responder = token.entry('ocsp-device-ca-1');
    const [revoked, other] = [newSerial(new Date(), randomBytes), newSerial(new Date(), randomBytes)];
    const good = (serial: Buffer) => ocspRequest({ issuer, responder, serial, status: { kind: 'good' } });
    expect(await status.sign([good(revoked), good(other)])).toMatchObject([{ ok: true }, { ok: true }]);
    const serials = [other, revoked].map((serial, index) =>
      index === 0 ? newSerial(new Date(), randomBytes) : serial,
    );
    await signatureOf(worker, crlRequest({ issuer, number: 10n, serials }));
    expect(await status.sign([good(revoked), good(other)])).toMatchObject([
      {
        ok: false,
        code: 'DENIED',
        message: 'The newest CRL lists this serial, so the answer must not be good; read the status again.',
      },
      { ok: true },
    ]);
    expect(
      await one(
        status,
        ocspRequest({ issuer, responder, serial: revoked, status: { kind: 'revoked', at: new Date() } }),
      ),
    ).toMatchObject({ ok: true });
    await signatureOf(worker, crlRequest({ issuer, number: 11n, serials: [] }));
    expect(await one(status, good(revoked))).toMatchObject({ ok: true });
  });

  test('an answer is about the CA that its key serves, and short', async () => {
    const serial = newSerial(new Date(), randomBytes);
    const wrongCa = ocspRequest({
      issuer: token.entry('bootstrap-ca'),
      responder: token.entry('ocsp-device-ca-1'),
      serial,
      status: { kind: 'good' },
    });
    expect(await one(status, wrongCa)).toMatchObject({ ok: false, code: 'DENIED' });
    const long = ocspRequest({
      issuer: token.entry('device-ca-1'),
      responder: token.entry('ocsp-device-ca-1'),
      serial,
      status: { kind: 'good' },
      lifeSeconds: 5 * 3_600,
    });
    expect(await one(status, long)).toMatchObject({ ok: false, code: 'LIFETIME_EXCEEDS_CEILING' });
  });

  test('an OCSP key signs no certificate, not even one dressed up as an answer', async () => {
    const leaf = leafRequest({ issuer: token.entry('device-ca-1') });
    const dressed: SignRequest = { ...leaf, purpose: 'ocsp', keyLabel: 'ocsp-device-ca-1' };
    expect(await one(status, dressed)).toMatchObject({ ok: false });
    expect(await one(status, { ...dressed, keyLabel: 'device-ca-1' })).toMatchObject({ ok: false, code: 'DENIED' });
  });

  test('certifies the OCSP key of its own token and no other', async () => {
    const issuer = token.entry('device-ca-1');
    const wish = {
      issuer,
      profile: 'ocsp-signer',
      purpose: 'ocsp-signer',
      commonName: 'OCSP',
      lifeSeconds: 14 * DAY,
    } as const;
    const own = createPublicKey(token.entry('ocsp-device-ca-1').certificatePem);
    expect(await one(worker, leafRequest({ ...wish, publicKey: own }))).toMatchObject({ ok: true });
    const sister = createPublicKey(token.entry('ocsp-bootstrap-ca').certificatePem);
    for (const publicKey of [sister, generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey]) {
      expect(await one(worker, leafRequest({ ...wish, publicKey }))).toMatchObject({
        ok: false,
        code: 'DENIED',
        message: "The public key is not this token's OCSP key for the CA.",
      });
    }
  });
});

describe('pre-issue', () => {
  test('needs a predecessor that we signed, with the same key and name', async () => {
    const issuer = token.entry('device-ca-1');
    const publicKey = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey;
    const commonName = '020000000099.femto.hanbit.example';
    const first = leafRequest({ issuer, publicKey, commonName });
    const predecessor = assembleCertificate(first.tbs, 'ecdsa-with-SHA256', await signatureOf(enrol, first));
    const next = { ...leafRequest({ issuer, publicKey, commonName }), purpose: 'preissue' } as const;
    expect(await one(worker, { ...next, evidence: predecessor })).toMatchObject({ ok: true });
    expect(await one(worker, next)).toMatchObject({ ok: false, code: 'DENIED' });

    // All of it right, but signed by somebody else's key.
    const thief = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const forged = assembleCertificate(first.tbs, 'ecdsa-with-SHA256', sign('sha256', first.tbs, thief.privateKey));
    expect(await one(worker, { ...next, evidence: forged })).toMatchObject({
      code: 'DENIED',
      message: "The predecessor's signature is not ours.",
    });
    const otherKey = { ...leafRequest({ issuer, commonName }), purpose: 'preissue' } as const;
    const otherName = { ...leafRequest({ issuer, publicKey }), purpose: 'preissue' } as const;
    for (const [request, evidence] of [
      [otherKey, predecessor],
      [otherName, predecessor],
      [next, randomBytes(600)],
    ] as const) {
      expect(await one(worker, { ...request, evidence })).toMatchObject({ ok: false });
    }
  });
});

describe('audit heads', () => {
  const leaves = Array.from({ length: 20 }, (_, index) => leafHash(Buffer.from(`entry ${index}`)));
  const head = (options: {
    size: number;
    from: number;
    forged?: boolean;
    chain?: string;
    epoch?: number;
  }): SignRequest => {
    const list = options.forged ? leaves.map((leaf, index) => (index === 1 ? leafHash(leaf) : leaf)) : leaves;
    const read = subtreeHashOf(list);
    const { size, from, epoch = 1 } = options;
    const text = auditHeadText({
      installation: token.hierarchy.installation,
      epoch,
      size,
      rootHex: treeRoot(size, read).toString('hex'),
      chainHex: createHash('sha256')
        .update(`${options.chain ?? ''}${size}`)
        .digest('hex'),
      at: new Date(),
    });
    return {
      purpose: 'audit-head',
      keyLabel: 'audit',
      name: auditHeadName({ epoch, size }),
      tbs: Buffer.from(text),
      evidence: consistencyEvidence(from, consistencyProof(from, size, read)),
    };
  };

  test('each head must be proved to extend the last one, over a restart too', async () => {
    expect(await one(worker, head({ size: 6, from: 2 }))).toMatchObject({ ok: false, code: 'DENIED' });
    expect(await one(worker, head({ size: 6, from: 0 }))).toMatchObject({ ok: true });
    expect(await one(worker, head({ size: 11, from: 6, forged: true }))).toMatchObject({
      ok: false,
      code: 'DENIED',
      message: 'The head is not proved to extend the last signed head: the ledger was changed behind it.',
    });
    expect(await one(worker, head({ size: 4, from: 4 }))).toMatchObject({ ok: false });
    await token.stopSigner();
    await token.startSigner();
    expect(await one(worker, head({ size: 11, from: 0 }))).toMatchObject({
      ok: false,
      message: 'The proof starts at size 0, the last signed head has 6.',
    });
    const request = head({ size: 11, from: 6 });
    const signature = await signatureOf(worker, request);
    expect(verify('sha256', request.tbs, createPublicKey(token.entry('audit').certificatePem), signature)).toBe(true);
    // Asked again after a lost answer: the same tree, but not another chain behind it.
    expect(await one(worker, head({ size: 11, from: 11 }))).toMatchObject({ ok: true });
    expect(await one(worker, head({ size: 11, from: 11, chain: 'other' }))).toMatchObject({
      ok: false,
      message: 'A head of this size was signed with another chain hash.',
    });
    expect(await one(worker, head({ size: 3, from: 0, epoch: 2 }))).toMatchObject({ ok: false, code: 'DENIED' });
  }, 30_000);

  test('the audit key signs nothing but heads', async () => {
    const leaf = leafRequest({ issuer: token.entry('services-ca'), profile: 'services-server' });
    expect(await one(worker, { ...leaf, purpose: 'audit-head', keyLabel: 'audit' })).toMatchObject({
      ok: false,
      code: 'BAD_REQUEST',
    });
    const transcript = readFileSync(join(token.dataDir, 'ca', 'transcript.json'));
    expect(
      await one(worker, { purpose: 'audit-head', keyLabel: 'audit', name: 'head:1:1', tbs: transcript }),
    ).toMatchObject({ ok: false });
  });
});
