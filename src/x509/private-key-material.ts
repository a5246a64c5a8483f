import { createECDH } from 'node:crypto';
import { FemtoError } from '../platform/errors.js';
import { bitString, nullValue, oid, sequence, TAG } from './der.js';
import { DerReader } from './der-reader.js';
import type { NamedCurve } from './ec-point.js';
import { OID } from './oids.js';
import { readSpki, type Spki, spkiOfPoint } from './spki.js';

/**
 * What every common private key container begins with, inside its outer SEQUENCE. An upload that holds one has exposed
 * the key: it is refused, its bytes are not logged, and the caller blocks the key for ever.
 */
const DER_MARKS: readonly Buffer[] = [
  '0201003013' + '06072a8648ce3d0201', // PKCS#8, EC P-256
  '0201003010' + '06072a8648ce3d0201', // PKCS#8, EC P-384 and P-521
  '020100300d' + '06092a864886f70d010101', // PKCS#8, RSA
  '0201003005' + '06032b65', // PKCS#8, Ed25519, Ed448, X25519
  '0201010420', // SEC1 ECPrivateKey, 256 bits
  '0201010430', // SEC1 ECPrivateKey, 384 bits
  '0201000282', // RSAPrivateKey: version 0, then a modulus of 2048 bits and more
  '020100028181', // RSAPrivateKey, 1024 bits
  '06092a864886f70d01050d', // PBES2: an encrypted PKCS#8 or PKCS#12
  '060b2a864886f70d010c0a01', // PKCS#12 bag types keyBag, pkcs8ShroudedKeyBag
].map((hex) => Buffer.from(hex, 'hex'));

const TEXT_MARK = 'PRIVATE KEY-----';

export function holdsPrivateKey(bytes: Buffer): boolean {
  return bytes.includes(TEXT_MARK, 0, 'latin1') || DER_MARKS.some((mark) => bytes.includes(mark));
}

/**
 * Refuses an upload that holds a private key. Facts carry `spkiHashes`, hex: the keys it exposed, for the block list.
 * Encrypted keys cannot be named.
 *
 * @throws FemtoError KEY_BLOCKED; neither message nor facts say anything of the private half
 */
export function refusePrivateKey(bytes: Buffer): void {
  if (!holdsPrivateKey(bytes)) return;
  throw new FemtoError(
    'KEY_BLOCKED',
    'The upload holds a private key, which is now exposed; destroy it, make a new key in the unit, and send only the request.',
    { facts: { spkiHashes: exposedKeys(bytes).map((spki) => spki.spkiHash.toString('hex')) } },
  );
}

/**
 * Public halves of the private keys in an upload. The scalar and the modulus are read by hand: OpenSSL's key parsers are
 * what a hostile key would be aimed at.
 */
export function exposedKeys(upload: Buffer): Spki[] {
  const found = new Map<string, Spki>();
  for (const bytes of [upload, ...armouredBodies(upload)]) {
    for (const spkiDer of [...ecKeysIn(bytes, 'P-256'), ...ecKeysIn(bytes, 'P-384'), ...rsaKeysIn(bytes)]) {
      try {
        const spki = readSpki(spkiDer, { allowRsa: true });
        found.set(spki.spkiHash.toString('hex'), spki);
      } catch {}
    }
  }
  return [...found.values()];
}

const KEYS_PER_UPLOAD_MAX = 8;
const CURVES = {
  'P-256': { mark: Buffer.from('0201010420', 'hex'), octets: 32, name: 'prime256v1' },
  'P-384': { mark: Buffer.from('0201010430', 'hex'), octets: 48, name: 'secp384r1' },
} as const;
const RSA_VERSION = Buffer.from('0201000282', 'hex');

function ecKeysIn(bytes: Buffer, curve: NamedCurve): Buffer[] {
  const { mark, octets, name } = CURVES[curve];
  return positionsOf(mark, bytes).flatMap((at) => {
    const scalar = bytes.subarray(at + mark.length, at + mark.length + octets);
    const ecdh = createECDH(name);
    try {
      ecdh.setPrivateKey(scalar);
    } catch {
      return []; // zero, beyond the order, or cut off: no key
    }
    return [spkiOfPoint(curve, ecdh.getPublicKey())];
  });
}

function rsaKeysIn(bytes: Buffer): Buffer[] {
  return positionsOf(RSA_VERSION, bytes).flatMap((at) => {
    try {
      const fields = new DerReader(bytes.subarray(at), 'RSA private key');
      fields.expect(TAG.INTEGER);
      const modulus = fields.expect(TAG.INTEGER).der;
      const exponent = fields.expect(TAG.INTEGER).der;
      return [sequence(sequence(oid(OID.rsaEncryption), nullValue()), bitString(sequence(modulus, exponent)))];
    } catch {
      return []; // the mark was there by chance
    }
  });
}

function positionsOf(mark: Buffer, bytes: Buffer): number[] {
  const positions: number[] = [];
  for (
    let at = bytes.indexOf(mark);
    at >= 0 && positions.length < KEYS_PER_UPLOAD_MAX;
    at = bytes.indexOf(mark, at + 1)
  ) {
    positions.push(at);
  }
  return positions;
}

/** Bodies of PRIVATE KEY blocks, decoded loosely: what matters is what is in them. */
function armouredBodies(upload: Buffer): Buffer[] {
  const text = upload.toString('latin1');
  const blocks = [...text.matchAll(/-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----([^-]*)-----END/g)];
  return blocks.slice(0, KEYS_PER_UPLOAD_MAX).map(([, body = '']) => Buffer.from(body, 'base64'));
}
