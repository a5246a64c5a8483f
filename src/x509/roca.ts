import { primesUpTo } from './factoring.js';

/**
 * ROCA (CVE-2017-15361): the affected library makes primes k·M + (65537^a mod M) with M a product of small primes, so
 * the modulus is a power of 65537 modulo each of them, and all those exponents agree.
 *
 * The agreement is what tells a fingerprint from chance: it is the same as a discrete logarithm of the modulus modulo M.
 *
 * @see Nemec et al., The Return of Coppersmith's Attack, CCS 2017, section 3.2
 */
export function hasRocaFingerprint(modulus: bigint): boolean {
  const residue = modulus % MODULUS_PRODUCT;
  const exponents: { exponent: number; order: number }[] = [];
  for (const { prime, logarithms, order } of GROUPS) {
    const exponent = logarithms.get(Number(residue % BigInt(prime)));
    if (exponent === undefined) return false;
    exponents.push({ exponent, order });
  }
  return exponents.every((one, index) =>
    exponents.slice(index + 1).every((other) => (one.exponent - other.exponent) % gcd(one.order, other.order) === 0),
  );
}

const GENERATOR = 65_537;
const PRIME_MAX = 167; // M of the smallest affected keys (512 bits) is the product of the primes up to 167

const GROUPS = primesUpTo(PRIME_MAX)
  .filter((prime) => prime > 2)
  .map((prime) => {
    const logarithms = new Map<number, number>();
    let value = 1 % prime;
    for (let exponent = 0; !logarithms.has(value); exponent += 1) {
      logarithms.set(value, exponent);
      value = (value * GENERATOR) % prime;
    }
    return { prime, logarithms, order: logarithms.size };
  });

const MODULUS_PRODUCT = GROUPS.reduce((product, { prime }) => product * BigInt(prime), 1n);

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}
