import { createHmac, timingSafeEqual } from 'node:crypto';
import type { RandomBytes } from '../../platform/clock.js';

/** 80 bits: out of reach of any guessing that five tries a grant allow, and still short enough to be read aloud. */
const CODE_BYTES = 10;
const SALT_BYTES = 16;

/** What is stored. The code has 80 random bits, so a plain keyed hash is as good as a slow one. */
export interface GrantCodeHash {
  readonly salt: Buffer;
  readonly hash: Buffer;
}

/** `XXXX-XXXX-XXXX-XXXX` in base32 without I, L, O and U (Crockford), which people confuse. */
export function newGrantCode(random: RandomBytes): string {
  let bits = BigInt(`0x${random(CODE_BYTES).toString('hex')}`);
  let text = '';
  for (let index = 0; index < CODE_BYTES * 8; index += 5) {
    text = ALPHABET[Number(bits & 31n)] + text;
    bits >>= 5n;
  }
  return text.match(/.{4}/g)?.join('-') ?? text;
}

export function hashGrantCode(code: string, random: RandomBytes): GrantCodeHash {
  const salt = random(SALT_BYTES);
  return { salt, hash: digest(salt, code) };
}

/** Compares in constant time; spaces, dashes and letter case do not matter, and what looks alike is taken as meant. */
export function isGrantCode(code: string, stored: GrantCodeHash): boolean {
  return timingSafeEqual(digest(stored.salt, code), stored.hash);
}

function digest(salt: Buffer, code: string): Buffer {
  return createHmac('sha256', salt).update(canonical(code)).digest();
}

function canonical(code: string): string {
  return code.toUpperCase().replaceAll(/[\s-]/g, '').replaceAll('O', '0').replaceAll(/[IL]/g, '1');
}

const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
