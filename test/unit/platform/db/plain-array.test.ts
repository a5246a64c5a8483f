import { describe, expect, test } from '@jest/globals';
import { plainArray } from '../../../../src/platform/db/plain-array.js';

describe('an array parameter in the text form of PostgreSQL (8.15.2)', () => {
  test('writes what needs no quotes as it is', () => {
    expect(plainArray([1, -2, null])).toBe('{1,-2,NULL}');
    expect(plainArray([true, false])).toBe('{true,false}');
    expect(plainArray(['198.51.100.7', '2001:db8::/32', null])).toBe('{198.51.100.7,2001:db8::/32,NULL}');
    expect(plainArray([new Date('2026-11-25T14:02:03.004Z')])).toBe('{2026-11-25T14:02:03.004Z}');
    expect(plainArray([])).toBe('{}');
  });

  test.each([
    ['', '{""}'],
    ['null', '{"null"}'],
    ['NULL', '{"NULL"}'],
    ['a,b', '{"a,b"}'],
    ['a}b', '{"a}b"}'],
    ['a b', '{"a b"}'],
    ['line\nend', '{"line\nend"}'],
    ['a"b\\c', '{"a\\"b\\\\c"}'],
  ])('quotes the text %j, which would be read as something else', (text, written) => {
    expect(plainArray([text])).toBe(written);
  });
});
