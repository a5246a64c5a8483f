import { createECDH } from 'node:crypto';
import { bitString, nullValue, oid, sequence, TAG } from './der.js';
import { DerReader } from './der-reader.js';
import { OID } from './oids.js';
import { readSpki, spkiOfPoint } from './spki.js';

/**
 * SHA-256 of the SubjectPublicKeyInfo of every private key found in an upload: what is blocked for ever (KEY-6). Finds EC
 * P-256 and P-384 keys in PKCS#8 and SEC 1, and RSA keys from 1,024 bits in PKCS#8 and PKCS#1, as DER, PEM or base64.
 * Encrypted containers keep their key to themselves. Scalar and modulus are read by hand: OpenSSL's private key decoders
 * are what a hostile key would be aimed at.
 *
 * @param upload  at most what the rim accepts; never logged, never kept
 */
export function exposedKeys(upload: Buffer): Buffer[] {
  const hashes = new Map<string, Buffer>();
  for (const bytes of [upload, ...decodedRuns(upload)]) {
    for (const hash of [...ecKeys(bytes), ...rsaKeys(bytes)]) hashes.set(hash.toString('hex'), hash);
  }
  return [...hashes.values()];
}

/** Keys looked at in one upload; a request holds one, and each costs a point multiplication. */
const KEYS_MAX = 16;
/** ECPrivateKey version 1 and the head of its OCTET STRING (RFC 5915 section 3). */
const SCALAR_MARKS = [
  { mark: Buffer.from('0201010420', 'hex'), curve: 'P-256', ecdh: 'prime256v1', bytes: 32 },
  { mark: Buffer.from('0201010430', 'hex'), curve: 'P-384', ecdh: 'secp384r1', bytes: 48 },
] as const;
/** RSAPrivateKey version 0 and a modulus of 1,024 bits and more (RFC 8017 appendix A.1.2). */
const RSA_MARKS = ['0201000282', '0201000281'].map((hex) => Buffer.from(hex, 'hex'));
const BASE64_RUN = /[A-Za-z0-9+/]{40,}(?:[\r\n]+[A-Za-z0-9+/]+)*={0,2}/g;

function decodedRuns(upload: Buffer): Buffer[] {
  const runs: Buffer[] = [];
  for (const [run] of upload.toString('latin1').matchAll(BASE64_RUN)) {
    const compact = run.replaceAll(/\s/g, '').replace(/=+$/, '');
    const whole = compact.slice(0, compact.length - (compact.length % 4 === 1 ? 1 : 0));
    runs.push(Buffer.from(whole, 'base64'));
    if (runs.length === KEYS_MAX) break;
  }
  return runs;
}

function ecKeys(bytes: Buffer): Buffer[] {
  return SCALAR_MARKS.flatMap(({ mark, curve, ecdh, bytes: scalarBytes }) =>
    positionsOf(mark, bytes).flatMap((at) => {
      const scalar = bytes.subarray(at + mark.length, at + mark.length + scalarBytes);
      return (scalar.length === scalarBytes ? hashOfScalar(curve, ecdh, scalar) : null) ?? [];
    }),
  );
}

function positionsOf(mark: Buffer, bytes: Buffer): number[] {
  const positions: number[] = [];
  let at = bytes.indexOf(mark);
  while (at >= 0 && positions.length < KEYS_MAX) {
    positions.push(at);
    at = bytes.indexOf(mark, at + 1);
  }
  return positions;
}

function hashOfScalar(curve: 'P-256' | 'P-384', ecdh: string, scalar: Buffer): Buffer | null {
  try {
    const key = createECDH(ecdh);
    key.setPrivateKey(scalar);
    return readSpki(spkiOfPoint(curve, key.getPublicKey())).spkiHash;
  } catch {
    // Zero, or not below the order: the mark stood there by accident.
    return null;
  }
}

function rsaKeys(bytes: Buffer): Buffer[] {
  return RSA_MARKS.flatMap((mark) => positionsOf(mark, bytes)).flatMap((at) => {
    try {
      const fields = new DerReader(bytes.subarray(at), 'RSA private key');
      fields.expect(TAG.INTEGER);
      const modulus = fields.expect(TAG.INTEGER).der;
      const exponent = fields.expect(TAG.INTEGER).der;
      const spkiDer = sequence(sequence(oid(OID.rsaEncryption), nullValue()), bitString(sequence(modulus, exponent)));
      return [readSpki(spkiDer, { allowRsa: true }).spkiHash];
    } catch {
      // The mark stood there by accident, or the key is none we could ever certify.
      return [];
    }
  });
}
