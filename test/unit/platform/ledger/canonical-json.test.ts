import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { BODY_BYTES_MAX, canonicalBody } from '../../../../src/platform/ledger/canonical-json.js';

describe('the canonical text of a body', () => {
  test('does not depend on the order in which keys were set, at any depth', () => {
    expect(canonicalBody({ b: 1, a: { d: null, c: [true, 'x'] } })).toBe('{"a":{"c":[true,"x"],"d":null},"b":1}');
    expect(canonicalBody({ a: { c: [true, 'x'], d: null }, b: 1 })).toBe('{"a":{"c":[true,"x"],"d":null},"b":1}');
  });

  test('reads back as the value that was given, and is a fixed point', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 4 })), (body) => {
        let text: string;
        try {
          text = canonicalBody(body);
        } catch {
          return; // random text may look like a subscriber's number; those cases are below
        }
        expect(canonicalBody(JSON.parse(text))).toBe(text);
        expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(body)));
      }),
      { numRuns: 500 },
    );
  });

  test('writes bytes as hex and times as ISO 8601', () => {
    expect(canonicalBody({ at: new Date(0), hash: Buffer.from('01ff', 'hex'), gone: undefined })).toBe(
      '{"at":"1970-01-01T00:00:00.000Z","hash":"01ff"}',
    );
  });

  test.each([
    ['a body over 16 KiB', { text: 'x'.repeat(BODY_BYTES_MAX) }],
    ['an infinite number', { n: Number.POSITIVE_INFINITY }],
    ['a function', { f: () => 1 }],
    ['a bigint', { n: 1n }],
    ['depth without end', { a: Array.from({ length: 20 }).reduce<unknown>((inner) => [inner], 1) }],
  ])('refuses %s', (_what, body) => {
    expect(() => canonicalBody(body as Record<string, unknown>)).toThrow(/ledger entry/);
  });
});

describe('what must never be in the record', () => {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const pkcs8 = privateKey.export({ type: 'pkcs8', format: 'der' });
  const sec1 = privateKey.export({ type: 'sec1', format: 'der' });

  test.each<[string, Record<string, unknown>]>([
    ['a PEM key', { note: privateKey.export({ type: 'pkcs8', format: 'pem' }) }],
    ['a PKCS#8 key in hex', { note: `x ${pkcs8.toString('hex')}` }],
    ['a PKCS#8 key in base64', { note: pkcs8.toString('base64') }],
    ['a PKCS#8 key in base64url', { note: pkcs8.toString('base64url') }],
    ['a SEC 1 key in hex', { note: sec1.toString('hex') }],
    ['a SEC 1 key as bytes', { note: sec1 }],
    ['a PIN', { nested: { pin: '4711' } }],
    ['a user PIN', { userPin: '4711' }],
    ['a password', { dbPassword: 'x' }],
    ['an IMSI in text', { note: 'seen 001010123456789 at the cell' }],
    ['an IMSI as a number', { note: 101012345678901 }],
    ['an IMSI in a list', { list: ['001010123456789'] }],
  ])('%s is refused, and the error does not repeat it', (_what, body) => {
    let message = '';
    try {
      canonicalBody(body);
    } catch (error) {
      message = (error as Error).message;
    }
    expect(message).toMatch(/never recorded/);
    for (const value of Object.values(body)) if (typeof value === 'string') expect(message).not.toContain(value);
  });

  test('public keys, hashes, serials, counts and ordinary names are kept', () => {
    const body = {
      spki: publicKey.export({ type: 'spki', format: 'der' }).toString('hex'),
      tbsHash: '123456789012345678901234567890123456789012345678901234567890abcd',
      serial: '01000774d1000000000000000000000a',
      tokenHash: 'ab'.repeat(32),
      unit: 'SHB-24-00817',
      shorter: '12345678901234',
      longer: '1234567890123456',
      size: 1_764_000_000_000,
    };
    expect(JSON.parse(canonicalBody(body))).toEqual(body);
  });
});
