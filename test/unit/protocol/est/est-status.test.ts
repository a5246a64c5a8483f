import { describe, expect, test } from '@jest/globals';
import { ERROR_CODES, type ErrorCode, FemtoError } from '../../../../src/platform/errors.js';
import { EST_STATUS, estRefusalOf } from '../../../../src/protocol/est/est-status.js';
import { PROBLEMS } from '../../../../src/protocol/rest/problem.js';

const TRACE = 'ab'.repeat(16);
const refusal = (code: ErrorCode, options: ConstructorParameters<typeof FemtoError>[2] = {}) =>
  estRefusalOf(new FemtoError(code, 'What only the record may know.', options), TRACE);

describe('the EST status of each error code', () => {
  test('every code has one', () => {
    expect(Object.keys(EST_STATUS).sort()).toEqual([...ERROR_CODES].sort());
  });

  test.each(ERROR_CODES)('%s: one sentence that begins with its device word, and nothing of the message', (code) => {
    const { text, status, headers } = refusal(code);
    expect(text).toMatch(new RegExp(`^${PROBLEMS[code].device}: [^\\n]+\\. \\(traceId ${TRACE}\\)\\n$`));
    expect(text).not.toContain('record may know');
    expect(status).toBe(EST_STATUS[code]);
    expect(headers['retry-after'] !== undefined).toBe([202, 429, 503].includes(status));
  });

  test('a status tells no more than the word, but for faults of the request itself', () => {
    const statuses = (word: string) => [
      ...new Set(ERROR_CODES.filter((code) => PROBLEMS[code].device === word).map((code) => EST_STATUS[code])),
    ];
    expect(statuses('DENIED').sort()).toEqual([400, 403]);
    expect(ERROR_CODES.filter((code) => PROBLEMS[code].device === 'DENIED' && EST_STATUS[code] === 400)).toEqual([
      'POP_FAIL',
    ]);
    expect(statuses('REACTIVATE')).toEqual([403]);
    expect(statuses('RETRY_LATER').sort()).toEqual([202, 429, 500, 503]);
    expect(statuses('BAD_REQUEST').sort()).toEqual([400, 404, 409]);
  });
});

describe('an EST refusal', () => {
  test('asks for credentials only where none were shown', () => {
    const asked = refusal('UNREGISTERED', { facts: { missing: 'client certificate' } });
    expect([asked.status, asked.headers['www-authenticate']]).toEqual([401, 'Basic realm="femtopki"']);
    expect([refusal('UNREGISTERED').status, refusal('UNREGISTERED').headers['www-authenticate']]).toEqual([
      403,
      undefined,
    ]);
  });

  test('says when to come again in whole seconds, at least one', () => {
    for (const [retryAfterSeconds, said] of [
      [0, '1'],
      [0.2, '1'],
      [59.1, '60'],
    ] as const) {
      expect(refusal('RETRY_LATER', { retryAfterSeconds }).headers['retry-after']).toBe(said);
    }
    expect(refusal('APPROVAL_REQUIRED').headers['retry-after']).toBe('30');
  });

  test('ends the connection where the next handshake is the proof that is missing', () => {
    expect(refusal('RETRY_LATER').headers['connection']).toBe('close');
    expect(refusal('GRANT_BAD').headers['connection']).toBeUndefined();
  });

  test('tells in its own words what is wrong with path, method and body, and takes no other status from facts', () => {
    const wrong = refusal('BAD_REQUEST', { facts: { status: 405, allow: 'POST' } });
    expect([wrong.status, wrong.headers['allow']]).toEqual([405, 'POST']);
    expect(wrong.text).toContain('What only the record may know.');
    expect(refusal('BAD_REQUEST', { facts: { status: 200 } }).status).toBe(400);
    expect(refusal('GRANT_BAD', { facts: { status: 404 } }).status).toBe(403);
  });
});
