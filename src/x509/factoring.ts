import { checkPrimeSync } from 'node:crypto';

/** Attacks on RSA moduli that take an attacker seconds; each bounded to a few milliseconds here. */

const SMALL_PRIMES_MAX = 65_536;
const FERMAT_ROUNDS = 100;

/** Does a prime below 65,536 divide it? */
export function hasSmallFactor(n: bigint): boolean {
  return PRIME_GROUPS.some(({ product, primes }) => {
    const remainder = Number(n % BigInt(product));
    return primes.some((prime) => remainder % prime === 0);
  });
}

/** Does Fermat's method find the factors within 100 rounds? Then p and q share about half their bits. */
export function closePrimes(n: bigint): boolean {
  let a = squareRoot(n);
  if (a * a < n) a += 1n;
  for (let round = 0; round < FERMAT_ROUNDS; round += 1, a += 1n) {
    const bSquared = a * a - n;
    // A square is 0, 1, 4 or 9 modulo 16: three quarters of the roots need not be taken.
    if (!SQUARES_MOD_16.has(Number(bSquared & 15n))) continue;
    const b = squareRoot(bSquared);
    if (b * b === bSquared) return true;
  }
  return false;
}

/** A modulus that is a prime has no two factors worth the name; its private exponent is public. A composite ends after one round. */
export function isProbablePrime(n: bigint): boolean {
  return checkPrimeSync(n);
}

export function primesUpTo(max: number): number[] {
  const composite = new Uint8Array(max + 1);
  const primes: number[] = [];
  for (let candidate = 2; candidate <= max; candidate += 1) {
    if (composite[candidate] === 1) continue;
    primes.push(candidate);
    for (let multiple = candidate * candidate; multiple <= max; multiple += candidate) composite[multiple] = 1;
  }
  return primes;
}

const SQUARES_MOD_16: ReadonlySet<number> = new Set([0, 1, 4, 9]);
/** Small primes in groups whose product fits a double exactly: one big remainder serves four of them. */
const PRIME_GROUPS = groupPrimes(primesUpTo(SMALL_PRIMES_MAX));

function groupPrimes(primes: readonly number[]): { product: number; primes: number[] }[] {
  const groups: { product: number; primes: number[] }[] = [];
  for (const prime of primes) {
    const last = groups.at(-1);
    if (last === undefined || last.product * prime > Number.MAX_SAFE_INTEGER) {
      groups.push({ product: prime, primes: [prime] });
      continue;
    }
    last.product *= prime;
    last.primes.push(prime);
  }
  return groups;
}

/** Integer square root by Newton's method from above. */
export function squareRoot(n: bigint): bigint {
  if (n < 2n) return n;
  let x = 1n << BigInt(Math.ceil(n.toString(2).length / 2));
  for (;;) {
    const next = (x + n / x) >> 1n;
    if (next >= x) return x;
    x = next;
  }
}
