import type { IncomingMessage } from 'node:http';
import { describe, expect, test } from '@jest/globals';
import { readBasicCode } from '../../../../src/protocol/est/basic-code.js';

const read = (authorization?: string) => readBasicCode({ headers: { authorization } } as IncomingMessage);
const basic = (userpass: string) => `Basic ${Buffer.from(userpass).toString('base64')}`;

describe('the code in HTTP Basic, RFC 7617', () => {
  test('is the password, whoever the user', () => {
    for (const user of ['', 'unit', 'SHB-24-00817']) {
      expect(read(basic(`${user}:ABCD-EFGH-JKMN-PQRS`))).toEqual({ kind: 'basic', code: 'ABCD-EFGH-JKMN-PQRS' });
    }
    expect(read(basic('unit:with:colon').replace('Basic', 'bAsIc'))).toEqual({ kind: 'basic', code: 'with:colon' });
  });

  test('is null where the password is empty, and absent where the header is', () => {
    expect(read(basic('unit:'))).toEqual({ kind: 'basic', code: null });
    expect(read()).toEqual({ kind: 'absent' });
  });

  test.each([
    ['another scheme', 'Digest username="unit"'],
    ['no value', 'Basic'],
    ['no base64', 'Basic *****'],
    ['two values', `${basic('a:b')} ${basic('a:b')}`],
    ['no colon', basic('code')],
    ['a control character', basic('unit:a\nb')],
    ['another alphabet', basic('unit:ＡＢＣＤ')],
    ['no UTF-8', `Basic ${Buffer.from([0x3a, 0xff, 0xfe]).toString('base64')}`],
    ['a password longer than any code', basic(`unit:${'a'.repeat(65)}`)],
    ['a user name that fills a header', basic(`${'u'.repeat(4_000)}:code`)],
  ])('%s is BAD_REQUEST', (_name, header) => {
    expect(() => read(header)).toThrow(
      expect.objectContaining({
        code: 'BAD_REQUEST',
        message: 'The Authorization header must be Basic with the activation code as password.',
      }),
    );
  });
});
