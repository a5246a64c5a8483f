import { generateKeyPairSync, sign, verify } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { derToRaw, rawToDer } from '../../../src/x509/ecdsa.js';

describe('raw r‖s and DER, RFC 3279 section 2.2.3', () => {
  test.each([
    ['P-256', 'sha256', 32],
    ['P-384', 'sha384', 48],
  ] as const)('a raw %s signature verifies after conversion, and comes back unchanged', (namedCurve, hash, size) => {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve });
    for (let round = 0; round < 50; round += 1) {
      const data = Buffer.from(`message ${round}`);
      const raw = sign(hash, data, { key: privateKey, dsaEncoding: 'ieee-p1363' });
      expect(verify(hash, data, publicKey, rawToDer(raw))).toBe(true);
      expect(derToRaw(rawToDer(raw), size)).toEqual(raw);
    }
  });

  test('every r and s but zero survives the way out and back', () => {
    const half = fc.uint8Array({ minLength: 32, maxLength: 32 }).filter((bytes) => bytes.some((octet) => octet !== 0));
    fc.assert(
      fc.property(half, half, (r, s) => {
        const raw = Buffer.concat([r, s]);
        expect(derToRaw(rawToDer(raw), 32)).toEqual(raw);
      }),
    );
  });

  test('a short token answer, and a zero half, are refused', () => {
    for (const length of [0, 1, 63, 65, 95, 97, 128])
      expect(() => rawToDer(Buffer.alloc(length, 1))).toThrow(/not 64 or 96/);
    expect(() => rawToDer(Buffer.concat([Buffer.alloc(32), Buffer.alloc(32, 1)]))).toThrow(/zero/);
    expect(() => rawToDer(Buffer.concat([Buffer.alloc(32, 1), Buffer.alloc(32)]))).toThrow(/zero/);
  });

  test.each([
    ['a padded integer', '3007 0202 0001 0201 01'],
    ['a negative integer', '3006 0201 80 0201 01'],
    ['three integers', '3009 0201 01 0201 01 0201 01'],
    ['one integer', '3003 0201 01'],
    ['trailing bytes', '3006 0201 01 0201 01 00'],
    ['an integer of 33 octets', `3026 0221 01${'00'.repeat(32)} 0201 01`],
  ])('%s is refused', (_name, hex) => {
    expect(() => derToRaw(Buffer.from(hex.replaceAll(' ', ''), 'hex'), 32)).toThrow(
      expect.objectContaining({ code: 'BAD_REQUEST' }),
    );
  });
});
