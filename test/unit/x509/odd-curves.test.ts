import 'reflect-metadata';
import type { webcrypto } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { Crypto } from '@peculiar/webcrypto';
import * as x509 from '@peculiar/x509';
import { readCsr } from '../../../src/x509/csr.js';

/** Node's own WebCrypto knows no curve that we must refuse; this one does. */
const crypto = new Crypto() as unknown as webcrypto.Crypto;

describe('keys on curves outside the profile are refused by their bytes (KEY-3)', () => {
  for (const namedCurve of ['K-256', 'P-521', 'brainpoolP256r1']) {
    test(`${namedCurve} is KEY_WEAK although the request is signed correctly`, async () => {
      const algorithm = { name: 'ECDSA', namedCurve, hash: 'SHA-256' };
      const keys = (await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair;
      const csr = await x509.Pkcs10CertificateRequestGenerator.create(
        { name: 'CN=00005e005317.femto.hanbit.example', keys, signingAlgorithm: algorithm },
        crypto,
      );
      expect(() => readCsr(Buffer.from(csr.rawData))).toThrow(expect.objectContaining({ code: 'KEY_WEAK' }));
    });
  }

  test('P-256 made the same way is read', async () => {
    const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
    const keys = (await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair;
    const csr = await x509.Pkcs10CertificateRequestGenerator.create(
      { name: 'CN=00005e005317.femto.hanbit.example', keys, signingAlgorithm: algorithm },
      crypto,
    );
    expect(readCsr(Buffer.from(csr.rawData)).spki.algorithm).toBe('P-256');
  });
});
