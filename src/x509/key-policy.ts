import { FemtoError } from '../platform/errors.js';
import { closePrimes, hasSmallFactor, isProbablePrime } from './factoring.js';
import { isPublishedKey } from './published-keys.js';
import { hasRocaFingerprint } from './roca.js';
import { rsaNumbers, type Spki } from './spki.js';

const RSA_BITS_MIN = 2_048;
const RSA_BITS_MAX = 4_096;
const RSA_EXPONENT_MIN = 65_537n;
/** SP 800-56B section 6.2 allows up to 2^256; above 2^32 nobody sane, and small-d keys all lie there. */
const RSA_EXPONENT_MAX = 1n << 32n;

/**
 * Refuses keys that somebody else can compute or already holds. Encoding and curve were settled by readSpki; this is
 * about the numbers.
 *
 * Not covered, said openly: shared primes need the fleet's other moduli, Debian's list needs its 100 MB; units bring EC
 * keys, so both concern vendor chains only.
 *
 * @throws FemtoError KEY_WEAK
 */
export function checkKeyPolicy(spki: Spki): void {
  if (isPublishedKey(spki)) throw weak('private half of this key is published');
  if (spki.algorithm === 'RSA') checkRsaKey(spki);
}

function checkRsaKey(spki: Spki): void {
  const { modulus, exponent } = rsaNumbers(spki);
  const bits = modulus.toString(2).length;
  if (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX)
    throw weak(`RSA key has ${bits} bits, not ${RSA_BITS_MIN} to ${RSA_BITS_MAX}`);
  if (modulus % 2n === 0n) throw weak('RSA modulus is even');
  if (exponent % 2n === 0n || exponent < RSA_EXPONENT_MIN || exponent > RSA_EXPONENT_MAX) {
    throw weak('RSA exponent is even, below 65537 or above 2^32');
  }
  if (hasSmallFactor(modulus)) throw weak('RSA modulus has a small prime factor');
  if (hasRocaFingerprint(modulus)) throw weak('RSA key was made by the ROCA-affected library (CVE-2017-15361)');
  if (closePrimes(modulus)) throw weak('RSA primes lie close together (Fermat)');
  if (hasPattern(modulus, bits)) throw weak('RSA modulus is not random: it holds a repeated pattern');
  if (isProbablePrime(modulus)) throw weak('RSA modulus is a prime');
}

/**
 * A random modulus of 2048 bits holds the same 8 aligned octets twice with a chance under 2^-50; primes built from a
 * pattern leave theirs in the product.
 */
function hasPattern(modulus: bigint, bits: number): boolean {
  const hex = modulus.toString(16).padStart(Math.ceil(bits / 8) * 2, '0');
  const seen = new Set<string>();
  for (let at = 0; at + 16 <= hex.length; at += 2) {
    const window = hex.slice(at, at + 16);
    if (seen.has(window)) return true;
    seen.add(window);
  }
  return false;
}

function weak(fault: string): FemtoError {
  return new FemtoError('KEY_WEAK', `The ${fault}; generate an EC P-256 key in the unit and ask again.`, {
    facts: { fault },
  });
}
