import { describe, expect, test } from '@jest/globals';
import { ERROR_CODES, FemtoError } from '../../../../src/platform/errors.js';
import { FAIL_ROWS, refusalOf, waitSecondsOf } from '../../../../src/protocol/cmp/fail-info-table.js';
import { DEVICE_CODES } from '../../../../src/protocol/rest/problem.js';
import { CmpFault, FAIL_INFO } from '../../../../src/x509/cmp/index.js';

describe('every refusal has its failInfo (RFC 9810 section 5.2.3)', () => {
  test.each(ERROR_CODES)('%s', (code) => {
    const { failInfo, text, error } = refusalOf(new FemtoError(code, 'why exactly is on record'));
    expect(Object.keys(FAIL_INFO)).toContain(failInfo);
    expect(failInfo).toBe(FAIL_ROWS[code].failInfo);
    expect(DEVICE_CODES).toContain(text);
    expect(error.code).toBe(code);
  });

  test('what nobody foresaw is systemFailure and says nothing', () => {
    const refusal = refusalOf(new Error('the password is abc'));
    expect(refusal).toMatchObject({ failInfo: 'systemFailure', text: 'RETRY_LATER', error: { code: 'INTERNAL' } });
  });

  test('a fault of form says what to mend; who may not, learns nothing', () => {
    expect(refusalOf(new CmpFault('badSenderNonce', 'the senderNonce is missing')).text).toBe(
      'BAD_REQUEST: the senderNonce is missing',
    );
    expect(refusalOf(new CmpFault('notAuthorized', 'the profile is not that of the unit')).text).toBe('DENIED');
    expect(refusalOf(new CmpFault('signerNotTrusted', 'signed with SHA-1')).text).toBe('DENIED');
  });

  test('the failInfo is on record beside our own code', () => {
    const { error } = refusalOf(new CmpFault('badRecipientNonce', 'is wrong', { facts: { octets: 8 } }));
    expect(error).toMatchObject({ code: 'NONCE_BAD', facts: { octets: 8, failInfo: 'badRecipientNonce' } });
  });
});

describe('what passes by itself keeps the client waiting', () => {
  test.each([
    ['HSM_UNAVAILABLE', undefined, 1],
    ['RETRY_LATER', undefined, 2],
    ['RETRY_LATER', 0.2, 1],
    ['RETRY_LATER', 90_000, 3_600],
    ['APPROVAL_REQUIRED', undefined, 60],
    ['GRANT_BAD', undefined, null],
    ['RATE_LIMITED', 30, 30],
    ['RATE_LIMITED', undefined, 60],
    ['INTERNAL', undefined, null],
  ] as const)('%s with Retry-After %s: %s s', (code, retryAfterSeconds, seconds) => {
    const options = retryAfterSeconds === undefined ? {} : { retryAfterSeconds };
    expect(waitSecondsOf(new FemtoError(code, 'later', options))).toBe(seconds);
  });

  test('a fault of the message never waits', () => {
    expect(waitSecondsOf(new CmpFault('systemUnavail', 'busy'))).toBeNull();
  });
});
