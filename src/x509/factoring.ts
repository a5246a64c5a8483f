/** Attacks on RSA moduli that take an attacker seconds; each bounded to about a millisecond here. */

const SMALL_PRIMES_MAX = 10_000;
const FERMAT_ROUNDS = 100;
const MILLER_RABIN_BASES = [2n, 3n, 5n, 7n, 11n, 13n];

/** Does a prime below 10,000 divide it? One remainder against their product, then a gcd. */
export function hasSmallFactor(n: bigint): boolean {
  return gcd(SMALL_PRIMES_PRODUCT, n) !== 1n;
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

/** Miller-Rabin with six bases: a modulus that passes has no two factors worth the name. */
export function isProbablePrime(n: bigint): boolean {
  let odd = n - 1n;
  let twos = 0;
  while ((odd & 1n) === 0n) {
    odd >>= 1n;
    twos += 1;
  }
  return MILLER_RABIN_BASES.every((base) => {
    let x = power(base, odd, n);
    if (x === 1n || x === n - 1n) return true;
    for (let round = 1; round < twos; round += 1) {
      x = (x * x) % n;
      if (x === n - 1n) return true;
    }
    return false;
  });
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
const SMALL_PRIMES_PRODUCT = primesUpTo(SMALL_PRIMES_MAX).reduce((product, prime) => product * BigInt(prime), 1n);

function gcd(a: bigint, b: bigint): bigint {
  let [x, y] = [a, b];
  while (y !== 0n) [x, y] = [y, x % y];
  return x;
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

function power(base: bigint, exponent: bigint, modulus: bigint): bigint {
  let result = 1n;
  let square = base % modulus;
  for (let left = exponent; left > 0n; left >>= 1n) {
    if ((left & 1n) === 1n) result = (result * square) % modulus;
    square = (square * square) % modulus;
  }
  return result;
}
