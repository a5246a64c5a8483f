import { createPublicKey, type KeyObject, sign } from 'node:crypto';
import { assembleCsr, certificationRequestInfo } from '../x509/build-csr.js';

/** DER PKCS#10 for a P-256 key of ours, without names: a machine's name comes from its row. */
export function requestOf(key: KeyObject): Buffer {
  const spkiDer = createPublicKey(key).export({ type: 'spki', format: 'der' });
  const info = certificationRequestInfo({ commonName: null, spkiDer });
  return assembleCsr(info, 'ecdsa-with-SHA256', sign('sha256', info, key));
}
