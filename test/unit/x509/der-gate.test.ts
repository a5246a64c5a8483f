import { performance } from 'node:perf_hooks';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { FemtoError } from '../../../src/platform/errors.js';
import { lengthBytes, sequence, TAG, writeLength } from '../../../src/x509/der.js';
import { checkDer } from '../../../src/x509/der-gate.js';
import { hierarchy } from './hierarchy.js';

const LIMITS = { bytesMax: 4_194_304, depthMax: 32, elementsMax: 2_000 };
const gate = (hex: string): void => checkDer(Buffer.from(hex.replaceAll(' ', ''), 'hex'), LIMITS);

describe('strict DER over the whole tree, X.690', () => {
  test.each([
    ['an empty SEQUENCE', '3000'],
    ['nested sequences that end together', '3006 3004 3002 0500'],
    ['a minimal negative INTEGER', '3003 0201 ff'],
    ['a BOOLEAN true', '3003 0101 ff'],
    ['an empty BIT STRING', '3003 0301 00'],
    ['a BIT STRING with clear padding', '3004 0302 07 80'],
    ['a primitive context tag with any content', '3004 8002 ffff'],
  ])('%s passes', (_name, hex) => {
    expect(() => gate(hex)).not.toThrow();
  });

  test.each([
    ['nothing', '', /empty/],
    ['indefinite length', '3080 0500 0000', /indefinite/],
    ['indefinite length below the top', '3006 3080 0500 0000', /indefinite/],
    ['a padded length', '3081 02 0500', /padded length/],
    ['a padded length below the top', '3005 3081 02 0500', /padded length/],
    ['a length of four 0xff', '3084 ffffffff', /longer than what holds it/],
    ['a length that runs out of its parent', '3005 3004 0500 00', /longer than what holds it/],
    ['a length cut off', '3082', /middle of a length/],
    ['a child cut off', '3003 0500 05', /middle of an element/],
    ['a padded INTEGER', '3004 0202 0001', /padded INTEGER/],
    ['a padded negative INTEGER', '3004 0202 ff80', /padded INTEGER/],
    ['an empty INTEGER', '3002 0200', /empty INTEGER/],
    ['a padded ENUMERATED', '3004 0a02 0001', /padded INTEGER/],
    ['a BOOLEAN of 01', '3003 0101 01', /BOOLEAN/],
    ['a BOOLEAN of two octets', '3004 0102 ffff', /BOOLEAN/],
    ['a NULL with content', '3003 0501 00', /NULL/],
    ['an OID arc that begins with padding', '3005 0603 2a8001', /OBJECT IDENTIFIER/],
    ['an OID that does not end', '3004 0602 2a86', /OBJECT IDENTIFIER/],
    ['an empty OID', '3002 0600', /OBJECT IDENTIFIER/],
    ['set padding bits', '3004 0302 07 81', /padding bits/],
    ['nine unused bits', '3004 0302 09 00', /BIT STRING/],
    ['a BIT STRING without its first octet', '3002 0300', /BIT STRING/],
    ['a constructed OCTET STRING', '3006 2404 0402 6162', /constructed form/],
    ['a constructed UTF8String', '3006 2c04 0c02 6162', /constructed form/],
    ['a primitive SEQUENCE', '1000', /primitive form/],
    ['a multi-byte tag', '3004 1f81 0100', /tag/],
    ['end-of-contents octets', '3002 0000', /tag/],
    ['trailing bytes', '3000 00', /after its end/],
    ['a second element', '3000 3000', /after its end/],
  ])('%s is refused', (_name, hex, message) => {
    expect(() => gate(hex)).toThrow(message);
  });

  test('a certificate of ours passes, and every cut of it is refused', () => {
    const { der } = hierarchy().deviceCa.certificate;
    expect(() => checkDer(der, LIMITS)).not.toThrow();
    for (let length = 0; length < der.length; length += 1) {
      expect(() => checkDer(der.subarray(0, length), LIMITS)).toThrow(FemtoError);
    }
  });
});

describe('bounded work', () => {
  test('a million empty elements stop at the element limit, at once', () => {
    const bomb = sequence(Buffer.alloc(2_000_000, Buffer.from([TAG.NULL, 0])));
    expectWithin(50, () => expect(() => checkDer(bomb, LIMITS)).toThrow(/more than 2000 elements/));
  });

  test('a hundred thousand levels stop at the depth limit, at once', () => {
    const nested = nestedSequences(100_000);
    expectWithin(50, () => expect(() => checkDer(nested, LIMITS)).toThrow(/nests deeper than 32/));
  });

  test('lengths that lie two hundred thousand times stop at the first lie', () => {
    const lies = Buffer.alloc(200_000, Buffer.from('3083030d40', 'hex'));
    expectWithin(50, () => expect(() => checkDer(lies, LIMITS)).toThrow(FemtoError));
  });

  test('size is checked before the first byte is read', () => {
    const bytes = Buffer.alloc(101);
    expect(() => checkDer(bytes, { ...LIMITS, bytesMax: 100 })).toThrow(/larger than 100 bytes/);
  });

  test('any bytes end in acceptance or BAD_REQUEST', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          checkDer(Buffer.from(bytes), LIMITS);
        } catch (thrown) {
          expect(thrown).toMatchObject({ code: 'BAD_REQUEST' });
        }
      }),
      { numRuns: 2_000 },
    );
  });
});

/** Headers from the inside out, joined once: nesting by copying would take quadratic time. */
function nestedSequences(levels: number): Buffer {
  const headers: Buffer[] = [];
  let contentBytes = 0;
  for (let level = 0; level < levels; level += 1) {
    const header = Buffer.alloc(1 + lengthBytes(contentBytes), TAG.SEQUENCE);
    writeLength(header, 1, contentBytes);
    headers.push(header);
    contentBytes += header.length;
  }
  return Buffer.concat(headers.reverse());
}

/** The quickest of a few runs: the machine is shared and the first run compiles, but work that grows never gets quick. */
function expectWithin(ms: number, act: () => void): void {
  const runs = Array.from({ length: 5 }, () => {
    const started = performance.now();
    act();
    return performance.now() - started;
  });
  expect(Math.min(...runs)).toBeLessThan(ms);
}
