import { randomBytes } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { hashGrantCode, isGrantCode, newGrantCode } from '../../../../src/lifecycle/enrolment/grant-code.js';
import type { Grant } from '../../../../src/lifecycle/enrolment/grant-store.js';
import { GRANT_TRIES_MAX, matchGrant } from '../../../../src/lifecycle/enrolment/match-grant.js';

const now = new Date('2026-11-24T10:00:00Z');
const CODE = '0123-4567-89AB-CDEF';

function aGrant(changes: Partial<Grant> = {}): Grant {
  return {
    id: 1,
    unitId: 1,
    kind: 'code',
    code: hashGrantCode(CODE, randomBytes),
    lineId: 1,
    state: 'open',
    tries: 0,
    createdBy: 'person:kim',
    approvedBy: null,
    createdAt: now,
    expiresAt: new Date(now.getTime() + 1),
    spentAt: null,
    ...changes,
  };
}

describe('what a code means against a grant (ENR-1)', () => {
  const order = { kind: 'order', code: null } as const;
  test.each<[string, Grant | null, string | null, string]>([
    ['no grant', null, CODE, 'none'],
    ['open, right code', aGrant(), CODE, 'open'],
    ['open, right code as a person types it', aGrant(), ' o123 4567-89ab cdef', 'open'],
    ['open, wrong code', aGrant(), '0123-4567-89AB-CDEG', 'wrong-code'],
    ['open, no code: not a guess', aGrant(), null, 'none'],
    ['open order needs none', aGrant(order), null, 'open'],
    ['expired in this very millisecond', aGrant({ expiresAt: now }), CODE, 'none'],
    ['locked, right code', aGrant({ state: 'locked' }), CODE, 'none'],
    ['withdrawn, right code', aGrant({ state: 'withdrawn' }), CODE, 'none'],
    ['spent, right code: everything the spender proved', aGrant({ state: 'spent' }), CODE, 'spent'],
    ['spent long ago does not expire', aGrant({ state: 'spent', expiresAt: new Date(0) }), CODE, 'spent'],
    ['spent, wrong code', aGrant({ state: 'spent' }), 'x', 'wrong-code'],
    ['spent, guessed at too often', aGrant({ state: 'spent', tries: GRANT_TRIES_MAX }), CODE, 'none'],
  ])('%s', (_name, grant, code, kind) => {
    expect(matchGrant(grant, code, now).kind).toBe(kind);
  });
});

test('a thousand codes are all different, readable, and carry 80 bits', () => {
  const codes = new Set(Array.from({ length: 1_000 }, () => newGrantCode(randomBytes)));
  expect(codes.size).toBe(1_000);
  for (const code of codes) expect(code).toMatch(/^([0-9A-HJKMNP-TV-Z]{4}-){3}[0-9A-HJKMNP-TV-Z]{4}$/);
  expect(newGrantCode(() => Buffer.alloc(10, 0xff))).toBe('ZZZZ-ZZZZ-ZZZZ-ZZZZ');
});

test('two hashes of one code differ, and both verify it', () => {
  const [one, two] = [hashGrantCode(CODE, randomBytes), hashGrantCode(CODE, randomBytes)];
  expect(one.hash.equals(two.hash)).toBe(false);
  expect([isGrantCode(CODE, one), isGrantCode(CODE, two), isGrantCode(`${CODE}0`, one)]).toEqual([true, true, false]);
});
