import { randomBytes, sign } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import type { OcspSigner } from '../../../../src/lifecycle/status/index.js';
import type { SignRequest, SignResult } from '../../../../src/platform/signer.js';
import { type AnswerToSign, makeAnswerSigner } from '../../../../src/protocol/ocsp/sign-answer.js';
import { certIdOf } from '../../../../src/x509/ocsp.js';
import { importPublicKey } from '../../../../src/x509/spki.js';
import { keyPair } from '../../x509/hierarchy.js';

const key = keyPair();
const other = keyPair();
const responder = {
  keyLabel: 'ocsp-device-ca-1',
  keyHash: randomBytes(20),
  algorithm: 'ecdsa-with-SHA256',
  publicKey: importPublicKey(key.spki),
} as unknown as OcspSigner;
const issuer = { nameHash: randomBytes(20), keyHash: randomBytes(20) };
const signedBy = ({ tbs }: SignRequest, { privateKey } = key): SignResult => ({
  ok: true,
  signature: sign('sha256', tbs, privateKey),
});

function answer(serial = randomBytes(16)): AnswerToSign {
  const now = new Date();
  const { certIdDer } = certIdOf('sha1', issuer, serial);
  return {
    responder,
    answers: [{ certIdDer, status: { kind: 'good' }, thisUpdate: now, nextUpdate: now }],
    serialHex: serial.toString('hex'),
    producedAt: now,
    extendedRevoke: false,
  };
}

function signerOf(signOne: (request: SignRequest, index: number) => SignResult) {
  const calls: number[] = [];
  const signAnswer = makeAnswerSigner({
    sign: async (requests) => {
      calls.push(requests.length);
      return requests.map(signOne);
    },
    close: async () => undefined,
  });
  return { signAnswer, calls };
}

describe('what the signer gave is looked at before it leaves', () => {
  test('a lone answer under another key is tryLater', async () => {
    const { signAnswer } = signerOf((request) => signedBy(request, other));
    await expect(signAnswer(answer())).rejects.toMatchObject({
      code: 'HSM_UNAVAILABLE',
      message: expect.stringContaining('does not verify'),
    });
  });

  test('a token that signs wrongly: of forty at once, in one call, none leaves', async () => {
    const { signAnswer, calls } = signerOf((request) => signedBy(request, other));
    const outcomes = await Promise.allSettled(Array.from({ length: 40 }, () => signAnswer(answer())));
    expect(outcomes.map(({ status }) => status)).toEqual(outcomes.map(() => 'rejected'));
    expect(Math.max(...calls)).toBeGreaterThan(10);
  });

  test('where the one that is looked at is bad, the good ones beside it leave, and no bad one', async () => {
    // Every second one: sooner or later a bad one is looked at.
    const { signAnswer } = signerOf((request, index) => signedBy(request, index % 2 === 0 ? key : other));
    for (let round = 0; ; round += 1) {
      expect(round).toBeLessThan(200);
      const outcomes = await Promise.allSettled(Array.from({ length: 10 }, () => signAnswer(answer())));
      const left = outcomes.filter(({ status }) => status === 'fulfilled').length;
      if (left < 10) {
        expect(left).toBe(5);
        return;
      }
    }
  });

  test('a refused row is refused with its own code, its neighbours are signed', async () => {
    const { signAnswer } = signerOf((request, index) =>
      index === 1 ? { ok: false, code: 'DENIED', message: 'The newest CRL lists it.' } : signedBy(request),
    );
    const outcomes = await Promise.allSettled([signAnswer(answer()), signAnswer(answer()), signAnswer(answer())]);
    expect(outcomes.map((one) => (one.status === 'fulfilled' ? 'signed' : one.reason.code))).toEqual([
      'signed',
      'DENIED',
      'signed',
    ]);
  });
});
