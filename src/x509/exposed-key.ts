import { createECDH, createPrivateKey, createPublicKey } from 'node:crypto';
import { readSpki, spkiOfPoint } from './spki.js';

/**
 * SHA-256 of the SubjectPublicKeyInfo of every private key found in an upload: what is blocked for ever (KEY-6). Finds EC
 * P-256 and P-384 keys in PKCS#8 and SEC 1, and RSA keys in whole PKCS#8 or PKCS#1 structures, as DER, PEM or base64.
 * Encrypted containers keep their key to themselves.
 *
 * @param upload  at most what the rim accepts; never logged, never kept
 */
export function exposedKeys(upload: Buffer): Buffer[] {
  const hashes = new Map<string, Buffer>();
  for (const bytes of [upload, ...decodedRuns(upload)]) {
    for (const hash of [...ecKeys(bytes), ...rsaKey(bytes)]) hashes.set(hash.toString('hex'), hash);
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
/** rsaEncryption in a PKCS#8 head; version 0 and a modulus of 1,024 bits and more in a PKCS#1 head. */
const RSA_HEADS = ['06092a864886f70d010101', '0201000282', '0201000281'].map((hex) => Buffer.from(hex, 'hex'));
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
  const hashes: Buffer[] = [];
  for (const { mark, curve, ecdh, bytes: scalarBytes } of SCALAR_MARKS) {
    let at = bytes.indexOf(mark);
    for (let looked = 0; at >= 0 && looked < KEYS_MAX; looked += 1) {
      const scalar = bytes.subarray(at + mark.length, at + mark.length + scalarBytes);
      const hash = scalar.length === scalarBytes ? hashOfScalar(curve, ecdh, scalar) : null;
      if (hash !== null) hashes.push(hash);
      at = bytes.indexOf(mark, at + 1);
    }
  }
  return hashes;
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

function rsaKey(bytes: Buffer): Buffer[] {
  // Only whole structures: an RSA key has no short mark that tells where it begins. Other key types never reach OpenSSL
  // here: its EC decoder is what the byte-wise reader protects Node from.
  const head = bytes.subarray(0, 48);
  if (bytes[0] !== 0x30 || !RSA_HEADS.some((mark) => head.includes(mark))) return [];
  for (const type of ['pkcs8', 'pkcs1'] as const) {
    try {
      const key = createPrivateKey({ key: bytes, format: 'der', type });
      if (key.asymmetricKeyType !== 'rsa') return [];
      const spkiDer = createPublicKey(key).export({ format: 'der', type: 'spki' });
      return [readSpki(spkiDer, { allowRsa: true }).spkiHash];
    } catch {
      // Not this structure; the next one, or none.
    }
  }
  return [];
}
