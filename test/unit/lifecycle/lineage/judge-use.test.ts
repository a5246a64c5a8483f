import { describe, expect, test } from '@jest/globals';
import {
  comebackTier,
  judgeUse,
  type LineEvidence,
  SUPERSEDED_AFTER_MS,
  type UseSituation,
} from '../../../../src/lifecycle/lineage/index.js';
import type { LineageSlot } from '../../../../src/lifecycle/model/index.js';
import { ago, DAY_MS, HOUR_MS, NOW, slot } from './slots.js';

function use(
  slots: readonly LineageSlot[],
  presentedSlotId: number,
  changes: Partial<UseSituation> = {},
): UseSituation {
  return {
    now: NOW,
    lineageState: 'open',
    slots,
    presentedSlotId,
    keyProved: true,
    authoritativeLineId: 7,
    successorLineId: 7,
    ...changes,
  };
}

const N = slot(1, 1, 'confirmed');
const SUCCESSOR_LONG_CONFIRMED = slot(2, 2, 'confirmed', { confirmedAt: ago(2 * HOUR_MS) });
const SUCCESSOR_JUST_CONFIRMED = slot(2, 2, 'confirmed', { confirmedAt: ago(0.5 * HOUR_MS) });
const permit = (confirmsSlotId: number | null = null) => ({ kind: 'permit', confirmsSlotId });
const deny = (code: string, grade: string | null) => ({ kind: 'deny', code, grade });

describe('a certificate at a gateway, rules section 4 and 5.1', () => {
  test.each<[string, UseSituation, object, object]>([
    ['head', use([N], 1), permit(), permit()],
    ['head pending: the first proved permit confirms it', use([N, slot(2, 2, 'pending')], 2), permit(2), permit()],
    ['head-1 while the head is pending', use([N, slot(2, 2, 'pending')], 1), permit(), permit()],
    ['head-1 within an hour of the confirm', use([N, SUCCESSOR_JUST_CONFIRMED], 1), permit(), permit()],
    [
      'head-1 later',
      use([N, SUCCESSOR_LONG_CONFIRMED], 1),
      deny('CERT_SUPERSEDED', 'strong'),
      deny('CERT_SUPERSEDED', 'soft'),
    ],
    [
      'head-1 later, from a second line',
      use([N, SUCCESSOR_LONG_CONFIRMED], 1, { authoritativeLineId: 8 }),
      deny('CERT_SUPERSEDED', 'hard'),
      deny('CERT_SUPERSEDED', 'soft'),
    ],
    [
      'head-1 later, line not authoritative',
      use([N, SUCCESSOR_LONG_CONFIRMED], 1, { authoritativeLineId: null }),
      deny('CERT_SUPERSEDED', 'strong'),
      deny('CERT_SUPERSEDED', 'soft'),
    ],
    [
      'head-1 later, successor never seen on a line',
      use([N, SUCCESSOR_LONG_CONFIRMED], 1, { successorLineId: null }),
      deny('CERT_SUPERSEDED', 'strong'),
      deny('CERT_SUPERSEDED', 'soft'),
    ],
    [
      'two generations old though the last is pending',
      use([N, SUCCESSOR_LONG_CONFIRMED, slot(3, 3, 'pending')], 1),
      deny('CERT_SUPERSEDED', 'strong'),
      deny('CERT_SUPERSEDED', 'soft'),
    ],
    [
      'displaced',
      use([N, slot(2, 2, 'displaced'), slot(3, 2, 'pending')], 2),
      deny('FORK_HARD', 'hard'),
      deny('FORK_HARD', 'soft'),
    ],
    [
      'displaced by its own key',
      use([N, slot(2, 2, 'displaced', { key: 'k' }), slot(3, 2, 'pending', { key: 'k' })], 2),
      permit(3),
      permit(),
    ],
    ['abandoned', use([N, slot(2, 2, 'abandoned')], 2), deny('NOT_RECORDED', null), deny('NOT_RECORDED', null)],
    ['signing', use([N, slot(2, 2, 'signing')], 2), deny('NOT_RECORDED', null), deny('NOT_RECORDED', null)],
    ['not of this lineage', use([N], 9), deny('NOT_RECORDED', null), deny('NOT_RECORDED', null)],
    [
      'quarantined',
      use([N], 1, { lineageState: 'quarantined' }),
      deny('DEVICE_QUARANTINED', null),
      deny('DEVICE_QUARANTINED', null),
    ],
    [
      'lineage closed',
      use([N], 1, { lineageState: 'closed' }),
      deny('CERT_SUPERSEDED', 'strong'),
      deny('CERT_SUPERSEDED', 'soft'),
    ],
  ])('%s', (_name, given, proved, notProved) => {
    expect(judgeUse(given)).toEqual(proved);
    expect(judgeUse({ ...given, keyProved: false })).toEqual(notProved);
  });

  test('the hour of grace ends with its last millisecond', () => {
    const at = (ms: number) => judgeUse(use([N, slot(2, 2, 'confirmed', { confirmedAt: ago(ms) })], 1)).kind;
    expect(at(SUPERSEDED_AFTER_MS)).toBe('permit');
    expect(at(SUPERSEDED_AFTER_MS + 1)).toBe('deny');
  });
});

describe('comeback tiers, REN-5', () => {
  const tier = (days: number, line: LineEvidence, comebackDays?: number) =>
    comebackTier({
      notAfter: new Date(NOW.getTime() - days * DAY_MS - 1_000),
      now: NOW,
      line,
      ...(comebackDays === undefined ? {} : { comebackDays }),
    });

  test.each<[days: number, LineEvidence, string]>([
    [-1, 'match', 'valid'],
    [0, 'match', 'automatic'],
    [30, 'match', 'automatic'],
    [30.01, 'match', 'reactivate'],
    [7, 'unknown', 'automatic'],
    [7.01, 'unknown', 'reactivate'],
    [0, 'mismatch', 'reactivate'],
    [90, 'match', 'reactivate'],
    [90.01, 'match', 'activate'],
    [200, 'mismatch', 'activate'],
  ])('%p days late, line %s: %s', (days, line, expected) => {
    expect(tier(days, line)).toBe(expected);
  });

  test('the last second of notAfter still counts as valid', () => {
    const at = (ms: number) => comebackTier({ notAfter: NOW, now: new Date(NOW.getTime() + ms), line: 'match' });
    expect(at(999)).toBe('valid');
    expect(at(1_000)).toBe('automatic');
  });

  test('a profile shortens the automatic tier and never widens it', () => {
    expect(tier(20, 'match', 10)).toBe('reactivate');
    expect(tier(40, 'match', 60)).toBe('reactivate');
    expect(tier(9, 'unknown', 60)).toBe('reactivate');
  });
});
