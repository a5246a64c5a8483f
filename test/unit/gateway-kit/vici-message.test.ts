import { describe, expect, test } from '@jest/globals';
import { kitModule } from './kit.js';

const { decodeMessage, encodeMessage, textOf, textsOf, sectionsOf } = await kitModule('vici-message');

/** The example of strongSwan's own description: a key, and a section with a section and a list. */
const EXAMPLE = Buffer.concat([
  Buffer.from([3, 4]),
  Buffer.from('key1'),
  Buffer.from([0, 6]),
  Buffer.from('value1'),
  Buffer.from([1, 8]),
  Buffer.from('section1'),
  Buffer.from([1, 11]),
  Buffer.from('sub-section'),
  Buffer.from([3, 4]),
  Buffer.from('key2'),
  Buffer.from([0, 6]),
  Buffer.from('value2'),
  Buffer.from([2, 4, 5]),
  Buffer.from('list1'),
  Buffer.from([5, 0, 5]),
  Buffer.from('item1'),
  Buffer.from([5, 0, 5]),
  Buffer.from('item2'),
  Buffer.from([6, 2]),
]);

describe('vici messages', () => {
  test('the example of the description is read as it says', () => {
    const message = decodeMessage(EXAMPLE);
    expect(textOf(message, 'key1')).toBe('value1');
    const [[name, section]] = sectionsOf(message);
    expect(name).toBe('section1');
    expect(textOf(sectionsOf(section)[0][1], 'key2')).toBe('value2');
    expect(textsOf(section, 'list1')).toEqual(['item1', 'item2']);
  });

  test('what is written is read again, octets and lists', () => {
    const data = Buffer.from([0, 255, 6, 2]);
    const message = decodeMessage(encodeMessage({ type: 'X509_CRL', data, none: [], two: ['a', 'b'] }));
    expect(message.get('data')).toEqual(data);
    expect(textOf(message, 'type')).toBe('X509_CRL');
    expect([textsOf(message, 'none'), textsOf(message, 'two')]).toEqual([[], ['a', 'b']]);
  });

  test('a message that is cut anywhere but between its outermost elements is none', () => {
    const whole = new Set([0, 14, EXAMPLE.length]);
    for (let length = 0; length <= EXAMPLE.length; length++) {
      const read = () => decodeMessage(EXAMPLE.subarray(0, length));
      if (whole.has(length)) expect(read).not.toThrow();
      else expect(read).toThrow(/vici/);
    }
  });

  test.each([
    ['an end without a beginning', [2]],
    ['an item outside a list', [5, 0, 1, 65]],
    ['a key in a list', [4, 1, 65, 3, 1, 66, 0, 0, 6]],
    ['a key twice', [3, 1, 65, 0, 0, 3, 1, 65, 0, 0]],
    ['an unknown type', [9]],
    ['sections without end', Array.from({ length: 60 }, () => [1, 1, 65]).flat()],
  ])('%s is refused', (_, octets) => {
    expect(() => decodeMessage(Buffer.from(octets))).toThrow(/vici/);
  });

  test('a value beyond 16 bits of length cannot be said', () => {
    expect(() => encodeMessage({ data: Buffer.alloc(0x10000) })).toThrow(/at most 65535 octets/);
  });
});
