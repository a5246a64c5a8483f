import { randomBytes } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { integer } from '../../../src/x509/der.js';
import { isOurSerialShape, newSerial, serialHex, serialIssuedAfter } from '../../../src/x509/serial.js';

const NOW = new Date('2026-11-24T23:59:59.999Z');

describe('serial numbers: 01 ‖ u32 hours ‖ 11 random bytes', () => {
  test('the hour is readable, the shape is known, the INTEGER needs no sign octet', () => {
    const serial = newSerial(NOW, () => Buffer.alloc(11, 0xab));
    expect(serialHex(serial)).toBe('0100079c4fababababababababababab');
    expect(serialIssuedAfter(serial)).toEqual(new Date('2026-11-24T23:00:00Z'));
    expect(isOurSerialShape(serial)).toBe(true);
    expect(integer(serial)).toHaveLength(18);
  });

  test('a hundred thousand serials: none twice, and every random bit after encoding is set about half the time', () => {
    const count = 100_000;
    const seen = new Set<string>();
    const ones = new Array<number>(88).fill(0);
    for (let drawn = 0; drawn < count; drawn += 1) {
      const encoded = integer(newSerial(NOW, randomBytes)).subarray(2);
      seen.add(encoded.toString('latin1'));
      for (let bit = 0; bit < 88; bit += 1) {
        if (((encoded[5 + (bit >> 3)] ?? 0) & (0x80 >> (bit & 7))) !== 0) ones[bit] = (ones[bit] ?? 0) + 1;
      }
    }
    expect(seen.size).toBe(count);
    // Ten standard deviations: a fixed or biased bit is far outside, chance never is.
    for (const set of ones) expect(Math.abs(set - count / 2)).toBeLessThan(10 * Math.sqrt(count / 4));
  });

  test('a random source that gives too few bytes stops issuing', () => {
    expect(() => newSerial(NOW, () => Buffer.alloc(10))).toThrow(expect.objectContaining({ code: 'INTERNAL' }));
  });

  test('serials of another shape are told apart', () => {
    expect(isOurSerialShape(Buffer.alloc(16))).toBe(false);
    expect(isOurSerialShape(Buffer.alloc(15, 1))).toBe(false);
    expect(() => serialIssuedAfter(Buffer.alloc(3))).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }));
  });
});
