import { describe, expect, test } from '@jest/globals';
import { checkName, HOST_LABEL, holdsSubscriberNumber, IDENTIFIER } from '../../../../src/lifecycle/registry/index.js';

describe('names', () => {
  test.each(['450081234567890', 'x 450081234567890', '45-008-1234567890', '35 209900 176148 1', '45008/1234567890'])(
    '%j holds a subscriber number',
    (text) => {
      expect(holdsSubscriberNumber(text)).toBe(true);
    },
  );

  test.each([
    '45008123456789',
    '4500812345678901',
    'a450081234567890',
    '4500812345678901f',
    'SHB-24-00817',
    '2026-11-24 10:15:42',
  ])('%j holds none', (text) => {
    expect(holdsSubscriberNumber(text)).toBe(false);
  });

  test('a refusal names the field and never repeats the text', () => {
    const refusal = expect.objectContaining({ code: 'BAD_REQUEST', facts: { field: 'site' } });
    expect(() => checkName('450081234567890', 'site')).toThrow(refusal);
    expect(() => checkName('<script>', 'site')).toThrow(refusal);
    expect(() => checkName('<script>', 'site')).not.toThrow('script');
  });

  test.each([
    ['구미 2공장', undefined, true],
    ['Garam Celltech', undefined, true],
    ['=SUM(A1)', undefined, false],
    ['a\u202eb', undefined, false],
    ['x'.repeat(65), undefined, false],
    ['line-1', IDENTIFIER, true],
    ['line 1', IDENTIFIER, false],
    ['segw-1', HOST_LABEL, true],
    ['Segw-1', HOST_LABEL, false],
    ['-segw', HOST_LABEL, false],
  ] as const)('%j under its pattern', (text, pattern, good) => {
    const check = () => (pattern === undefined ? checkName(text, 'name') : checkName(text, 'name', pattern));
    if (good) expect(check()).toBe(text);
    else expect(check).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }));
  });
});
