import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { parseStrictJson } from '../../../src/platform/strict-json.js';

const LIMITS = { bytesMax: 1_000_000 };
const parse = (text: string) => parseStrictJson(Buffer.from(text), LIMITS);

describe('strict JSON', () => {
  test('whatever JSON.stringify writes is read back as the same value', () => {
    const value = fc.jsonValue({ maxDepth: 5 }).filter((candidate) => {
      const text = JSON.stringify(candidate);
      return !/__proto__|constructor|prototype/.test(text) && !/[0-9]{16}|e\+/.test(text) && !/\\ud[89a-f]/.test(text);
    });
    fc.assert(
      fc.property(value, (original) => {
        expect(parse(JSON.stringify(original))).toEqual(JSON.parse(JSON.stringify(original)));
      }),
      { numRuns: 500 },
    );
  });

  test.each([
    ['a member twice', '{"a":1,"a":2}'],
    ['a member twice under another escape', '{"a":1,"\\u0061":2}'],
    ['a prototype name', '{"__proto__":{"admin":true}}'],
    ['an escaped prototype name', '{"\\u005f_proto__":1}'],
    ['a constructor name', '{"constructor":1}'],
    ['a byte order mark', '\ufeff{}'],
    ['something behind the value', '{} {}'],
    ['a NUL behind the value', '{}\u0000'],
    ['a trailing comma', '[1,]'],
    ['a missing comma', '[1 2]'],
    ['a comment', '/**/{}'],
    ['single quotes', "{'a':1}"],
    ['a number beyond a double', '1e999'],
    ['an integer a double cannot hold', '9007199254740993'],
    ['a leading zero', '01'],
    ['a plus', '+1'],
    ['hexadecimal', '0x10'],
    ['NaN', 'NaN'],
    ['a raw line break in a string', '"a\nb"'],
    ['an unknown escape', '"\\x41"'],
    ['a short unicode escape', '"\\u12"'],
    ['half of a surrogate pair', '"\\ud800"'],
    ['an unended string', '"abc'],
    ['an unended object', '{"a":1'],
    ['nothing', ''],
    ['a huge number of digits', '1'.repeat(100_000)],
  ])('refuses %s', (_, text) => {
    expect(() => parse(text)).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }));
  });

  test('refuses bytes that are not UTF-8', () => {
    expect(() => parseStrictJson(Buffer.from([0x22, 0xc0, 0xaf, 0x22]), LIMITS)).toThrow('not UTF-8');
  });

  test('100,000 brackets are refused by depth, not by the stack', () => {
    expect(() => parse('['.repeat(100_000))).toThrow('nests deeper than 16');
    expect(() => parse('{"a":'.repeat(100_000))).toThrow('nests deeper than 16');
  });

  test('a megabyte in one string is read, and one byte over the limit is not', () => {
    expect(parseStrictJson(Buffer.from(`"${'a'.repeat(999_998)}"`), LIMITS)).toHaveLength(999_998);
    expect(() => parse(`"${'a'.repeat(999_999)}"`)).toThrow('larger than 1000000 bytes');
  });

  test('a hostile member leaves the prototype alone', () => {
    const value = parse('{"toString":1,"hasOwnProperty":2}') as Record<string, unknown>;
    expect(value['toString']).toBe(1);
    expect(({} as Record<string, unknown>)['toString']).not.toBe(1);
  });
});
