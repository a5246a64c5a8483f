import { createECDH, createPublicKey, generateKeyPairSync, generatePrimeSync } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { bitString, integer, nullValue, oid, sequence } from '../../../src/x509/der.js';
import { closePrimes, hasSmallFactor, squareRoot } from '../../../src/x509/factoring.js';
import { checkKeyPolicy } from '../../../src/x509/key-policy.js';
import { OID } from '../../../src/x509/oids.js';
import { hasRocaFingerprint } from '../../../src/x509/roca.js';
import { readSpki, spkiOfPoint } from '../../../src/x509/spki.js';
import { keyPair } from './hierarchy.js';

const rsa = (modulus: bigint, exponent = 65_537n): ReturnType<typeof readSpki> =>
  readSpki(
    sequence(sequence(oid(OID.rsaEncryption), nullValue()), bitString(sequence(integer(modulus), integer(exponent)))),
    { allowRsa: true },
  );
const prime = (bits: number): bigint => generatePrimeSync(bits, { bigint: true });

describe('EC keys', () => {
  test('fresh keys pass', () => {
    expect(() => checkKeyPolicy(keyPair('P-256').spki)).not.toThrow();
    expect(() => checkKeyPolicy(keyPair('P-384').spki)).not.toThrow();
  });

  test.each(['P-256', 'P-384'] as const)('private keys 1 to 16 on %s, and their negatives, are weak', (curve) => {
    const name = curve === 'P-256' ? 'prime256v1' : 'secp384r1';
    for (const small of [1, 2, 16]) {
      const ecdh = createECDH(name);
      ecdh.setPrivateKey(Buffer.from([small]));
      const spki = readSpki(spkiOfPoint(curve, ecdh.getPublicKey()));
      expect(() => checkKeyPolicy(spki)).toThrow(expect.objectContaining({ code: 'KEY_WEAK' }));
    }
  });

  test('the example key of RFC 6979 is weak', () => {
    const ecdh = createECDH('prime256v1');
    ecdh.setPrivateKey(Buffer.from('c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721', 'hex'));
    const spki = readSpki(spkiOfPoint('P-256', ecdh.getPublicKey()));
    expect(() => checkKeyPolicy(spki)).toThrow(expect.objectContaining({ code: 'KEY_WEAK' }));
  });
});

describe('RSA keys', () => {
  test('a fresh key of 2048 bits passes', () => {
    const der = generateKeyPairSync('rsa', { modulusLength: 2_048 }).publicKey.export({ format: 'der', type: 'spki' });
    expect(() => checkKeyPolicy(readSpki(der, { allowRsa: true }))).not.toThrow();
  });

  const generated = generateKeyPairSync('rsa', { modulusLength: 2_048 }).publicKey;
  const good = createPublicKey({ key: generated.export({ format: 'der', type: 'spki' }), format: 'der', type: 'spki' });
  const modulus = BigInt(`0x${Buffer.from(good.export({ format: 'jwk' }).n ?? '', 'base64url').toString('hex')}`);
  const close = ((): bigint => {
    const p = prime(1_024);
    let q = p + 2n;
    while (!isPrimeLike(q)) q += 2n;
    return p * q;
  })();
  test.each<[string, bigint, bigint, RegExp]>([
    ['1024 bits', prime(512) * prime(512), 65_537n, /bits/],
    ['4100 bits', (1n << 4_099n) + 1n, 65_537n, /bits/],
    ['n = 0', 0n, 65_537n, /bits/],
    ['an even modulus', modulus - 1n, 65_537n, /even/],
    ['e = 0', modulus, 0n, /exponent/],
    ['e = 1', modulus, 1n, /exponent/],
    ['e = 3', modulus, 3n, /exponent/],
    ['an even e', modulus, 65_538n, /exponent/],
    ['e of 3072 bits', modulus, (1n << 3_071n) + 1n, /exponent/],
    ['a small factor', prime(2_040) * 8_191n, 65_537n, /small prime factor/],
    ['close primes', close, 65_537n, /Fermat/],
    ['a repeated pattern', patterned(), 65_537n, /pattern/],
    ['a prime modulus', prime(2_048), 65_537n, /prime/],
  ])('%s is weak', (_name, n, e, message) => {
    const check = (): void => checkKeyPolicy(rsa(n, e));
    expect(check).toThrow(message);
    expect(check).toThrow(expect.objectContaining({ code: 'KEY_WEAK' }));
  });
});

test('the parts: square roots, small factors, Fermat, ROCA by construction', () => {
  for (const n of [0n, 1n, 2n, 3n, 4n, 15n, 16n, 17n, (1n << 200n) - 1n, 1n << 200n]) {
    const root = squareRoot(n);
    expect(root * root <= n && (root + 1n) * (root + 1n) > n).toBe(true);
  }
  expect(hasSmallFactor(65_521n * prime(100))).toBe(true);
  expect(hasSmallFactor(prime(64) * prime(64))).toBe(false);
  expect(closePrimes(prime(512) * prime(512))).toBe(false);
  // 65537^k modulo every small prime, with one k: the fingerprint. With two different k it is chance.
  const product = [3n, 5n, 7n, 11n, 13n, 17n, 19n, 23n, 29n, 31n, 37n, 41n, 43n, 47n, 53n, 59n, 61n, 67n, 71n, 73n]
    .concat([79n, 83n, 89n, 97n, 101n, 103n, 107n, 109n, 113n, 127n, 131n, 137n, 139n, 149n, 151n, 157n, 163n, 167n])
    .reduce((a, b) => a * b, 1n);
  let power = 1n;
  for (let k = 0; k < 12_345; k += 1) power = (power * 65_537n) % product;
  expect(hasRocaFingerprint(product * 987_654_321n + power)).toBe(true);
  expect(hasRocaFingerprint(product * 987_654_321n + power + 1n)).toBe(false);
});

/** Odd, without small factors, and the same sixteen octets in its middle twice. */
function patterned(): bigint {
  for (;;) {
    const n = BigInt(`0xc0${'0123456789abcdef'.repeat(8)}${prime(1_528).toString(16)}`);
    if (n % 2n === 1n && !hasSmallFactor(n)) return n;
  }
}

function isPrimeLike(n: bigint): boolean {
  let [result, base, exponent] = [1n, 2n, n - 1n];
  for (; exponent > 0n; exponent >>= 1n) {
    if (exponent & 1n) result = (result * base) % n;
    base = (base * base) % n;
  }
  return result === 1n;
}
