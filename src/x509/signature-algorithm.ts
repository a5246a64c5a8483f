import { verify } from 'node:crypto';
import { FemtoError } from '../platform/errors.js';
import { nullValue, oid, sequence } from './der.js';
import { badDer } from './der-reader.js';
import { OID } from './oids.js';
import { importPublicKey, type Spki } from './spki.js';

/** Our own list; whatever is not in it (SHA-1, MD5, PSS, EdDSA) is refused whether or not OpenSSL could verify it. */
export const SIGNATURE_ALGORITHMS = [
  'ecdsa-with-SHA256',
  'ecdsa-with-SHA384',
  'ecdsa-with-SHA512',
  'sha256WithRSAEncryption',
  'sha384WithRSAEncryption',
  'sha512WithRSAEncryption',
] as const;
export type SignatureAlgorithm = (typeof SIGNATURE_ALGORITHMS)[number];

/** What our own keys sign with. */
export type IssuerSignature = 'ecdsa-with-SHA256' | 'ecdsa-with-SHA384';

interface Meaning {
  /** As we write it. */
  readonly der: Buffer;
  /** A second form that must be accepted. */
  readonly alsoDer?: Buffer;
  readonly hash: 'sha256' | 'sha384' | 'sha512';
  readonly key: 'EC' | 'RSA';
}

// Parameters: absent for ECDSA (RFC 5758 section 3.2); for RSA PKCS#1 v1.5 NULL, and absent is to be accepted (RFC 4055
// section 5).
const ecdsa = (id: string, hash: Meaning['hash']): Meaning => ({ der: sequence(oid(id)), hash, key: 'EC' });
const rsa = (id: string, hash: Meaning['hash']): Meaning => ({
  der: sequence(oid(id), nullValue()),
  alsoDer: sequence(oid(id)),
  hash,
  key: 'RSA',
});

const MEANING: Readonly<Record<SignatureAlgorithm, Meaning>> = {
  'ecdsa-with-SHA256': ecdsa(OID.ecdsaWithSha256, 'sha256'),
  'ecdsa-with-SHA384': ecdsa(OID.ecdsaWithSha384, 'sha384'),
  'ecdsa-with-SHA512': ecdsa(OID.ecdsaWithSha512, 'sha512'),
  sha256WithRSAEncryption: rsa(OID.sha256WithRsa, 'sha256'),
  sha384WithRSAEncryption: rsa(OID.sha384WithRsa, 'sha384'),
  sha512WithRSAEncryption: rsa(OID.sha512WithRsa, 'sha512'),
};

/** Whole AlgorithmIdentifier of one of our signature algorithms. */
export function algorithmIdentifier(algorithm: SignatureAlgorithm): Buffer {
  return MEANING[algorithm].der;
}

/** The algorithm of a whole AlgorithmIdentifier; undefined for one that is not in our list, byte for byte. */
export function signatureAlgorithmOf(der: Buffer): SignatureAlgorithm | undefined {
  return SIGNATURE_ALGORITHMS.find(
    (name) => MEANING[name].der.equals(der) || MEANING[name].alsoDer?.equals(der) === true,
  );
}

/** @throws FemtoError KEY_WEAK where the algorithm is not in our list */
export function requireSignatureAlgorithm(der: Buffer, what: string): SignatureAlgorithm {
  const algorithm = signatureAlgorithmOf(der);
  if (algorithm !== undefined) return algorithm;
  if (der[0] !== 0x30) throw badDer(what, 'has no signature algorithm');
  throw new FemtoError('KEY_WEAK', `The ${what} is signed with an algorithm we refuse; sign with ecdsa-with-SHA256.`, {
    facts: { algorithmDer: der.subarray(0, 64).toString('hex') },
  });
}

/** Does `signature` verify over `data`? False where key type and algorithm do not belong together, or it is malformed. */
export function verifySignature(algorithm: SignatureAlgorithm, data: Buffer, spki: Spki, signature: Buffer): boolean {
  const { hash, key } = MEANING[algorithm];
  if ((spki.algorithm === 'RSA') !== (key === 'RSA')) return false;
  try {
    return verify(hash, data, importPublicKey(spki), signature);
  } catch {
    // OpenSSL refuses some keys only when it uses them (RSA n = 0, e = 0): nothing verifies under such a key.
    return false;
  }
}
