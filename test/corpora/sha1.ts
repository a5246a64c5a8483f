import { verify } from 'node:crypto';
import type { VerifySignature } from '../../src/x509/ocsp-status.js';
import { verifySignature } from '../../src/x509/signature-algorithm.js';
import { importPublicKey } from '../../src/x509/spki.js';

const SHA1_WITH_RSA = Buffer.from('06092a864886f70d010105', 'hex');
const SHA256_WITH_RSA = Buffer.from('06092a864886f70d01010b', 'hex');

/**
 * Many recorded files are signed with SHA-1, which we refuse before looking any further. To test the rules behind that
 * refusal the algorithm is renamed, in place and of the same length, to one we take; the structure stays as recorded.
 */
export function sha1Renamed(der: Buffer): Buffer {
  const renamed = Buffer.from(der);
  for (let at = renamed.indexOf(SHA1_WITH_RSA); at >= 0; at = renamed.indexOf(SHA1_WITH_RSA, at + 1)) {
    SHA256_WITH_RSA.copy(renamed, at);
  }
  return renamed;
}

/** Verifies what was recorded: first as named, then as SHA-1 over the bytes before renaming. */
export const verifyAsRecorded: VerifySignature = (algorithm, data, spki, signature) => {
  if (verifySignature(algorithm, data, spki, signature)) return true;
  if (spki.algorithm !== 'RSA') return false;
  const recorded = Buffer.from(data);
  for (let at = recorded.indexOf(SHA256_WITH_RSA); at >= 0; at = recorded.indexOf(SHA256_WITH_RSA, at + 1)) {
    SHA1_WITH_RSA.copy(recorded, at);
  }
  return verify('sha1', recorded, importPublicKey(spki), signature);
};
