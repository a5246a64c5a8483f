import { describe, expect, test } from '@jest/globals';
import { ERROR_CODES, FemtoError } from '../../../../src/platform/errors.js';
import { DEVICE_CODES, problemOf } from '../../../../src/protocol/rest/problem.js';

const TRACE = 'a'.repeat(32);
const secretive = (code: (typeof ERROR_CODES)[number]) =>
  new FemtoError(code, 'The registry says serial SHB-1 on cell 45008-777.', { facts: { cell: '45008-777' } });

describe('problem answers', () => {
  test('a device sees four words and never a message or fact of ours, whatever the code', () => {
    for (const code of ERROR_CODES) {
      const answer = problemOf(secretive(code), 'device', TRACE);
      expect(DEVICE_CODES).toContain(answer.body.code);
      expect(JSON.stringify(answer)).not.toMatch(/45008|SHB-1/);
      if (!(DEVICE_CODES as readonly string[]).includes(code)) expect(JSON.stringify(answer.body)).not.toContain(code);
    }
  });

  test('a factory sees its exact code, but a canary looks like any serial on no manifest', () => {
    expect(problemOf(secretive('QUOTA_EXCEEDED'), 'factory', TRACE).body).toMatchObject({
      code: 'QUOTA_EXCEEDED',
      traceId: TRACE,
    });
    const canary = problemOf(secretive('CANARY_USED'), 'factory', TRACE);
    const unlisted = problemOf(
      new FemtoError('NOT_ON_MANIFEST', 'The serial number is on no accepted manifest; submit the manifest first.'),
      'factory',
      TRACE,
    );
    expect(canary).toEqual(unlisted);
  });

  test('facts go to gateways and operators only', () => {
    expect(problemOf(secretive('CELL_MISMATCH'), 'operator', TRACE).body.facts).toEqual({ cell: '45008-777' });
    expect(problemOf(secretive('CELL_MISMATCH'), 'factory', TRACE).body).not.toHaveProperty('facts');
  });

  test('a token that does not answer is a 503 that says when to come back', () => {
    const error = new FemtoError('HSM_UNAVAILABLE', 'The token does not answer; try again.', {
      retryAfterSeconds: 4.2,
    });
    expect(problemOf(error, 'device', TRACE)).toMatchObject({
      status: 503,
      headers: { 'retry-after': '5' },
      body: { code: 'RETRY_LATER' },
    });
    expect(problemOf(new FemtoError('RETRY_LATER', 'x'), 'factory', TRACE).headers['retry-after']).toBe('30');
  });

  test('an oversized body is 413 and closes the connection', () => {
    const error = new FemtoError('BAD_REQUEST', 'The body is too large.', { facts: { status: 413 } });
    expect(problemOf(error, 'device', TRACE)).toMatchObject({ status: 413, headers: { connection: 'close' } });
  });
});
