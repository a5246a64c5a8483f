import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, sign } from 'node:crypto';
import { assembleCsr, certificationRequestInfo } from '../x509/build-csr.js';

/** A fresh P-256 key, PKCS#8 PEM. */
export function newKeyPem(): string {
  const { privateKey } = generateKeyPairSync('ec', {
    namedCurve: 'P-256',
    publicKeyEncoding: { type: 'spki', format: 'der' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  return privateKey;
}

/** PKCS#10, DER, with the server's nonce inside, so that the proof of possession is fresh. The subject stays empty. */
export function makeCsr(keyPem: string, nonce: string): Buffer {
  const spkiDer = createPublicKey(keyPem).export({ type: 'spki', format: 'der' });
  const info = certificationRequestInfo({ commonName: null, spkiDer, challengePassword: nonce });
  return assembleCsr(info, 'ecdsa-with-SHA256', sign('sha256', info, createPrivateKey(keyPem)));
}

/** The old key's word for the new request, DER ECDSA, base64. */
export function predecessorSignature(oldKeyPem: string, nonce: string, csrDer: Buffer): string {
  const csrSha256 = createHash('sha256').update(csrDer).digest('hex');
  const text = `femtopki-renew-v1\n${nonce}\n${csrSha256}\n`;
  return sign('sha256', Buffer.from(text, 'latin1'), createPrivateKey(oldKeyPem)).toString('base64');
}
