import { createPublicKey, hash, type KeyObject } from 'node:crypto';
import { FemtoError } from '../platform/errors.js';
import { nullValue, oid, sequence, TAG } from './der.js';
import { checkMinimalInteger, DerReader, readDer, wholeOctets } from './der-reader.js';
import { isOnCurve, type NamedCurve } from './ec-point.js';
import { OID } from './oids.js';

export type KeyAlgorithm = 'P-256' | 'P-384' | 'RSA';

/** A SubjectPublicKeyInfo whose every byte was checked. Only {@link readSpki} makes one. */
export interface Spki {
  readonly algorithm: KeyAlgorithm;
  /** The one accepted encoding of this key: two SPKIs of one key are equal byte for byte. */
  readonly spkiDer: Buffer;
  /** SHA-256 of `spkiDer`, 32 bytes: what `key_seen` stores for ever. */
  readonly spkiHash: Buffer;
  /**
   * SHA-1 of the key bits (RFC 5280 section 4.2.1.2 method 1): SKI and AKI. A name for a key, not a proof. OCSP's responder
   * id is the same hash by definition, and strongSwan finds the responder's certificate only by its SKI.
   */
  readonly keyIdentifier: Buffer;
  /** Content of the subjectPublicKey BIT STRING without its unused-bits octet: point, or RSAPublicKey. */
  readonly keyBits: Buffer;
}

/** Twice what RSA 4,096 bits takes; more is refused unread. */
const SPKI_BYTES_MAX = 1_100;
/** 4,096 bits, and an exponent of 32, each with its sign octet. */
const RSA_OCTETS_MAX = { modulus: 513, exponent: 5 } as const;

/**
 * Reads a public key byte by byte, before any key object exists: one 27-byte point at infinity aborts the whole
 * process in Node 20, and `createPublicKey` also takes hybrid, compressed and explicit-curve forms, each of which would
 * give one key several hashes and so several owners.
 *
 * @param spkiDer  whole SubjectPublicKeyInfo
 * @param options  `allowRsa`: vendor chains and legacy import only (default false)
 * @throws FemtoError BAD_REQUEST when it is not DER; KEY_WEAK for every key we do not serve
 * @see RFC 5480 section 2; RFC 3279 section 2.3.1
 */
export function readSpki(spkiDer: Buffer, options: { allowRsa?: boolean } = {}): Spki {
  if (spkiDer.length > SPKI_BYTES_MAX) throw weak('is larger than any key we serve');
  const curve = namedCurveOf(spkiDer);
  if (curve !== undefined) {
    const keyBits = spkiDer.subarray(CURVE_PREFIX[curve].length);
    if (!isOnCurve(curve, keyBits)) throw weak('is not a point on its curve');
    return describeKey(curve, spkiDer, keyBits);
  }
  return readOtherSpki(spkiDer, options.allowRsa === true);
}

/**
 * A key object for verification. JWK is the cheapest way in: OpenSSL's SPKI decoder tries every key type in turn and
 * costs about twice as much.
 */
export function importPublicKey(spki: Spki): KeyObject {
  return spki instanceof CheckedSpki ? spki.keyObject() : keyObjectOf(spki);
}

/** Importing costs as much as verifying, and many keys verify more than once: what was read keeps its key object. */
class CheckedSpki implements Spki {
  #imported: KeyObject | undefined;

  constructor(
    readonly algorithm: KeyAlgorithm,
    readonly spkiDer: Buffer,
    readonly spkiHash: Buffer,
    readonly keyIdentifier: Buffer,
    readonly keyBits: Buffer,
  ) {}

  keyObject(): KeyObject {
    this.#imported ??= keyObjectOf(this);
    return this.#imported;
  }
}

function keyObjectOf(spki: Spki): KeyObject {
  if (spki.algorithm === 'RSA') return createPublicKey({ key: spki.spkiDer, format: 'der', type: 'spki' });
  const coordinateBytes = (spki.keyBits.length - 1) / 2;
  return createPublicKey({
    format: 'jwk',
    key: {
      kty: 'EC',
      crv: spki.algorithm,
      x: spki.keyBits.toString('base64url', 1, 1 + coordinateBytes),
      y: spki.keyBits.toString('base64url', 1 + coordinateBytes),
    },
  });
}

/** SubjectPublicKeyInfo of an uncompressed point, e.g. one read from a token. Not checked: pass it to readSpki. */
export function spkiOfPoint(curve: NamedCurve, point: Buffer): Buffer {
  return Buffer.concat([CURVE_PREFIX[curve], point]);
}

/** Parts of an RSAPublicKey whose encoding was checked; big-endian, without sign octet. */
export function rsaNumbers(spki: Spki): { modulus: bigint; exponent: bigint } {
  const reader = readDer(spki.keyBits, TAG.SEQUENCE, 'RSA key');
  const modulus = reader.expect(TAG.INTEGER).content;
  const exponent = reader.expect(TAG.INTEGER).content;
  return { modulus: BigInt(`0x${modulus.toString('hex')}`), exponent: BigInt(`0x${exponent.toString('hex')}`) };
}

function describeKey(algorithm: KeyAlgorithm, spkiDer: Buffer, keyBits: Buffer): Spki {
  return new CheckedSpki(
    algorithm,
    spkiDer,
    hash('sha256', spkiDer, 'buffer'),
    hash('sha1', keyBits, 'buffer'),
    keyBits,
  );
}

// Everything before the point of the only accepted encodings: outer lengths, algorithm, named curve, BIT STRING header.
const CURVE_PREFIX = {
  'P-256': Buffer.from('3059301306072a8648ce3d020106082a8648ce3d030107034200', 'hex'),
  'P-384': Buffer.from('3076301006072a8648ce3d020106052b81040022036200', 'hex'),
} as const;

const SPKI_BYTES = { 'P-256': 91, 'P-384': 120 } as const;
const UNCOMPRESSED = 0x04;

function namedCurveOf(spkiDer: Buffer): NamedCurve | undefined {
  for (const curve of ['P-256', 'P-384'] as const) {
    const prefix = CURVE_PREFIX[curve];
    if (spkiDer.length !== SPKI_BYTES[curve] || spkiDer.compare(prefix, 0, prefix.length, 0, prefix.length) !== 0)
      continue;
    if (spkiDer[prefix.length] !== UNCOMPRESSED) throw weak('is not an uncompressed point');
    return curve;
  }
  return undefined;
}

const RSA_ALGORITHM = sequence(oid(OID.rsaEncryption), nullValue());

/** The slow road: what is neither of our two curves gets its reason, and RSA its strict reading. */
function readOtherSpki(spkiDer: Buffer, allowRsa: boolean): Spki {
  const reader = readDer(spkiDer, TAG.SEQUENCE, 'public key');
  const algorithm = reader.expect(TAG.SEQUENCE, 'key algorithm');
  const bits = reader.expect(TAG.BIT_STRING, 'key bits').content;
  reader.end();
  if (!algorithm.der.equals(RSA_ALGORITHM)) {
    const algorithmReader = new DerReader(algorithm.content, 'key algorithm');
    algorithmReader.expect(TAG.OID);
    throw weak('is not EC on a named curve P-256 or P-384 with an uncompressed point');
  }
  if (!allowRsa) throw weak('is RSA, which units do not bring');
  const keyBits = wholeOctets(bits, 'RSA key');
  const rsa = readDer(keyBits, TAG.SEQUENCE, 'RSA key');
  for (const part of ['modulus', 'exponent'] as const) {
    const content = rsa.expect(TAG.INTEGER, part).content;
    checkMinimalInteger(content, part);
    if (((content[0] ?? 0) & 0x80) !== 0) throw weak(`has a negative ${part}`);
    // Anybody can send a certificate of their own making, and its size decides what one verification costs.
    if (content.length > RSA_OCTETS_MAX[part])
      throw weak(`has ${part === 'modulus' ? 'a modulus' : 'an exponent'} larger than any that is in use`);
  }
  rsa.end();
  return describeKey('RSA', spkiDer, keyBits);
}

function weak(fault: string): FemtoError {
  return new FemtoError('KEY_WEAK', `The public key ${fault}; generate an EC P-256 or P-384 key and ask again.`, {
    facts: { fault },
  });
}
