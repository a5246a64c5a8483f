import { randomBytes } from 'node:crypto';
import { expect, test } from '@jest/globals';
import { makeNonces, NONCE_LIFE_MS } from '../../../../src/lifecycle/enrolment/nonce.js';

const start = Date.parse('2026-11-24T10:00:00Z');

function nonces(key = randomBytes(32)) {
  const clock = { at: start };
  const made = makeNonces({ key, clock: { now: () => new Date(clock.at) }, random: randomBytes });
  return {
    clock,
    issue: (credential: { spkiHash: Buffer }) => made.issue(credential),
    verify: (nonce: string | undefined, credential: { spkiHash: Buffer }) => made.verify(nonce, credential),
  };
}
const credential = () => ({ spkiHash: randomBytes(32) });
const bad = (fault: string) => expect.objectContaining({ code: 'NONCE_BAD', facts: { fault } });

test('a nonce verifies for its credential, with the moment it was given out', () => {
  const { issue, verify } = nonces();
  const unit = credential();
  const { nonce, expiresAt } = issue(unit);
  expect(nonce).toMatch(/^[0-9a-f]{102}$/);
  expect(expiresAt.getTime()).toBe(start + NONCE_LIFE_MS);
  expect(verify(nonce, unit).issuedAt.getTime()).toBe(start);
});

test('another credential, another installation’s key, and any changed digit are refused', () => {
  const { issue, verify } = nonces();
  const unit = credential();
  const { nonce } = issue(unit);
  expect(() => verify(nonce, credential())).toThrow(bad('was not given to this credential'));
  expect(() => nonces().verify(nonce, unit)).toThrow(bad('was not given to this credential'));
  for (let at = 0; at < nonce.length; at++) {
    const digit = nonce[at] === '0' ? '1' : '0';
    expect(() => verify(nonce.slice(0, at) + digit + nonce.slice(at + 1), unit)).toThrow();
  }
});

test('after ten minutes it is too old, and one from the future is no better', () => {
  const { issue, verify, clock } = nonces();
  const unit = credential();
  const { nonce } = issue(unit);
  clock.at = start + NONCE_LIFE_MS;
  expect(() => verify(nonce, unit)).not.toThrow();
  clock.at = start + NONCE_LIFE_MS + 1;
  expect(() => verify(nonce, unit)).toThrow(bad('is too old'));
  clock.at = start - 60_000;
  expect(() => verify(nonce, unit)).toThrow(bad('is too old'));
});

test.each([undefined, '', 'x', 'A'.repeat(102), '0'.repeat(1_000_000)])('junk is NONCE_BAD', (junk) => {
  expect(() => nonces().verify(junk, credential())).toThrow(expect.objectContaining({ code: 'NONCE_BAD' }));
});
