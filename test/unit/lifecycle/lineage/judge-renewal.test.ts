import { describe, expect, test } from '@jest/globals';
import { judgeRenewal, type RenewalSituation, type Verdict } from '../../../../src/lifecycle/lineage/index.js';
import { ago, DAY_MS, HOUR_MS, NOW, situation, slot } from './slots.js';

/** `kind`, then what distinguishes it; live and not live side by side. */
function spoken(verdict: Verdict): string {
  switch (verdict.kind) {
    case 'issue':
      return `issue n=${verdict.generation}`;
    case 'same-certificate':
      return `same certificate of ${verdict.slotId}`;
    case 'reissue-same-key':
      return `reissue n=${verdict.generation} for ${verdict.displacesSlotId}`;
    case 'soft-displace':
      return `${verdict.grade}: displace ${verdict.displacesSlotId}, issue n=${verdict.generation}`;
    case 'hard':
      return 'hard';
    case 'refuse':
      return `refuse ${verdict.code}${verdict.grade === null ? '' : ` ${verdict.grade}`}${verdict.asksLiveProof ? ', asks proof' : ''}`;
    case 'retry-later':
      return `retry later${verdict.grade === null ? '' : ` ${verdict.grade}`}`;
  }
}

const N = slot(1, 1, 'confirmed');
const N1_PENDING = slot(2, 2, 'pending');
const N1_CONFIRMED = slot(2, 2, 'confirmed');
const N2_PENDING = slot(3, 3, 'pending');
const N2_CONFIRMED = slot(3, 3, 'confirmed');
const EXPIRED_3 = { notAfter: ago(3 * DAY_MS) };
const EXPIRED_20 = { notAfter: ago(20 * DAY_MS) };
const EXPIRED_31 = { notAfter: ago(31 * DAY_MS) };
const EXPIRED_100 = { notAfter: ago(100 * DAY_MS) };
const ASKS = 'refuse POP_FAIL, asks proof';

/** Rules section 4, row by row: situation, verdict with live proof, verdict without. */
const TABLE: readonly [row: string, RenewalSituation, live: string, notLive: string][] = [
  // head | fresh | none or abandoned | not needed
  ['head, fresh key, no successor', situation([N], 1), 'issue n=2', 'issue n=2'],
  ['head pending, fresh key', situation([N, N1_PENDING], 2), 'issue n=3', 'issue n=3'],
  ['head, successor abandoned', situation([N, slot(2, 2, 'abandoned')], 1), 'issue n=2', 'issue n=2'],
  [
    'head, the key of the abandoned attempt again',
    situation([N, slot(2, 2, 'abandoned')], 1, { newKey: 'key-2' }),
    'issue n=2',
    'issue n=2',
  ],
  [
    'head, successor displaced and its replacement abandoned',
    situation([N, slot(2, 2, 'displaced'), slot(3, 2, 'abandoned')], 1),
    'issue n=2',
    'issue n=2',
  ],
  ['head, successor signing', situation([N, slot(2, 2, 'signing')], 1), 'retry later', 'retry later'],
  [
    'head, successor signing with the same key',
    situation([N, slot(2, 2, 'signing')], 1, { newKey: 'key-2' }),
    'retry later',
    'retry later',
  ],
  ['head, its own key again', situation([N], 1, { newKey: 'key-1' }), 'refuse KEY_IN_USE', 'refuse KEY_IN_USE'],
  [
    'head, its own key where the profile allows it',
    situation([N], 1, { newKey: 'key-1', sameKeyAllowed: true }),
    'issue n=2',
    'issue n=2',
  ],
  [
    'head, a key of an earlier generation',
    situation([N, N1_CONFIRMED], 2, { newKey: 'key-1' }),
    'refuse KEY_IN_USE',
    'refuse KEY_IN_USE',
  ],
  [
    'head, a displaced key as the new one',
    situation([N, slot(2, 2, 'displaced'), slot(3, 2, 'confirmed')], 3, { newKey: 'key-2' }),
    'refuse KEY_IN_USE',
    'refuse KEY_IN_USE',
  ],

  // head-1 | same as n+1 | any | not needed
  [
    'head-1, the same key, head pending',
    situation([N, N1_PENDING], 1, { newKey: 'key-2' }),
    'same certificate of 2',
    'same certificate of 2',
  ],
  [
    'head-1, the same key, head confirmed',
    situation([N, N1_CONFIRMED], 1, { newKey: 'key-2' }),
    'same certificate of 2',
    'same certificate of 2',
  ],
  [
    'head-1, the same key, head expired',
    situation([slot(1, 1, 'confirmed', EXPIRED_20), slot(2, 2, 'pending', EXPIRED_3)], 1, { newKey: 'key-2' }),
    'reissue n=2 for 2',
    'reissue n=2 for 2',
  ],
  [
    'head-1, the same key, head expired too long ago',
    situation([N, slot(2, 2, 'pending', EXPIRED_31)], 1, { newKey: 'key-2' }),
    'refuse REACTIVATE',
    'refuse REACTIVATE',
  ],

  // head-1 | other | pending | live proof: soft
  ['head-1, another key, head pending', situation([N, N1_PENDING], 1), 'soft: displace 2, issue n=2', ASKS],
  [
    'the same, a second time within the hour',
    situation([N, slot(2, 2, 'displaced', { displacedAt: ago(0.5 * HOUR_MS) }), slot(3, 2, 'pending')], 1, {
      lastSoftAt: ago(0.5 * HOUR_MS),
    }),
    'retry later strong',
    ASKS,
  ],
  [
    'the same, a second time after an hour',
    situation([N, slot(2, 2, 'displaced', { displacedAt: ago(2 * HOUR_MS) }), slot(3, 2, 'pending')], 1, {
      lastSoftAt: ago(2 * HOUR_MS),
    }),
    'strong: displace 3, issue n=2',
    ASKS,
  ],
  [
    'the same, a tenth time: never hard by count',
    situation([N, ...Array.from({ length: 9 }, (_, i) => slot(i + 2, 2, 'displaced')), slot(11, 2, 'pending')], 1),
    'strong: displace 11, issue n=2',
    ASKS,
  ],
  [
    'the same, long after an earlier one',
    situation([N, slot(2, 2, 'displaced', { displacedAt: ago(40 * DAY_MS) }), slot(3, 2, 'pending')], 1, {
      lastSoftAt: ago(40 * DAY_MS),
    }),
    'soft: displace 3, issue n=2',
    ASKS,
  ],
  [
    'head-1, another key, head pending past its notAfter still fills its slot',
    situation([slot(1, 1, 'confirmed', EXPIRED_20), slot(2, 2, 'pending', EXPIRED_20)], 1),
    'soft: displace 2, issue n=2',
    ASKS,
  ],
  [
    'head-1, the displaced key as the new one',
    situation([N, slot(2, 2, 'displaced'), slot(3, 2, 'pending')], 1, { newKey: 'key-2' }),
    'refuse KEY_IN_USE',
    'refuse KEY_IN_USE',
  ],

  // head-1 | other | confirmed | live proof: hard
  ['head-1, another key, head confirmed', situation([N, N1_CONFIRMED], 1), 'hard', ASKS],
  [
    'head-1 expired, another key, head confirmed',
    situation([slot(1, 1, 'confirmed', EXPIRED_20), N1_CONFIRMED], 1),
    'hard',
    ASKS,
  ],

  // displaced key, proved again
  ['displaced key', situation([N, slot(2, 2, 'displaced'), slot(3, 2, 'pending')], 2), 'hard', ASKS],
  [
    'displaced key after the next generation',
    situation([N, slot(2, 2, 'displaced'), slot(3, 2, 'confirmed'), slot(4, 3, 'pending')], 2, { newKey: 'key-4' }),
    'hard',
    ASKS,
  ],
  [
    'displaced by itself: its certificate had run out',
    situation([N, slot(2, 2, 'displaced', { key: 'k' }), slot(3, 2, 'pending', { key: 'k' })], 2),
    'issue n=3',
    'issue n=3',
  ],

  // older than head-1
  ['older than head-1', situation([N, N1_CONFIRMED, N2_PENDING], 1), 'hard', ASKS],
  [
    'older than head-1, expired 20 d ago',
    situation([slot(1, 1, 'confirmed', EXPIRED_20), N1_CONFIRMED, N2_CONFIRMED], 1),
    'hard',
    ASKS,
  ],
  [
    'older than head-1, expired 31 d ago',
    situation([slot(1, 1, 'confirmed', EXPIRED_31), N1_CONFIRMED, N2_CONFIRMED], 1),
    'refuse CERT_EXPIRED strong',
    ASKS,
  ],
  [
    'lineage closed',
    situation([N], 1, { lineageState: 'closed' }),
    'refuse PREDECESSOR_MISMATCH strong',
    'refuse POP_FAIL, asks proof',
  ],

  // revoked, held, quarantined
  ['revoked head', situation([N], 1, { presentedStatus: 'revoked' }), 'refuse CERT_REVOKED', 'refuse CERT_REVOKED'],
  [
    'held displaced key',
    situation([N, slot(2, 2, 'displaced'), slot(3, 2, 'pending')], 2, { presentedStatus: 'held' }),
    'refuse CERT_REVOKED',
    'refuse CERT_REVOKED',
  ],
  [
    'quarantined lineage',
    situation([N], 1, { lineageState: 'quarantined' }),
    'refuse DEVICE_QUARANTINED',
    'refuse DEVICE_QUARANTINED',
  ],
  [
    'abandoned slot presented',
    situation([N, slot(2, 2, 'abandoned')], 2),
    'refuse NOT_RECORDED',
    'refuse NOT_RECORDED',
  ],
  ['signing slot presented', situation([N, slot(2, 2, 'signing')], 2), 'refuse NOT_RECORDED', 'refuse NOT_RECORDED'],
  ['unknown slot presented', situation([N], 9), 'refuse NOT_RECORDED', 'refuse NOT_RECORDED'],

  // comeback tiers
  [
    'head expired 3 d, line unknown',
    situation([slot(1, 1, 'confirmed', EXPIRED_3)], 1, { line: 'unknown' }),
    'issue n=2',
    'issue n=2',
  ],
  ['head expired 20 d, line matches', situation([slot(1, 1, 'confirmed', EXPIRED_20)], 1), 'issue n=2', 'issue n=2'],
  [
    'head expired 20 d, line unknown',
    situation([slot(1, 1, 'confirmed', EXPIRED_20)], 1, { line: 'unknown' }),
    'refuse REACTIVATE',
    'refuse REACTIVATE',
  ],
  [
    'head expired 3 d, other line',
    situation([slot(1, 1, 'confirmed', EXPIRED_3)], 1, { line: 'mismatch' }),
    'refuse REACTIVATE',
    'refuse REACTIVATE',
  ],
  ['head expired 31 d', situation([slot(1, 1, 'confirmed', EXPIRED_31)], 1), 'refuse REACTIVATE', 'refuse REACTIVATE'],
  [
    'head expired 100 d',
    situation([slot(1, 1, 'confirmed', EXPIRED_100)], 1),
    'refuse REACTIVATE',
    'refuse REACTIVATE',
  ],
  [
    'head expired 20 d, profile allows 10',
    situation([slot(1, 1, 'confirmed', EXPIRED_20)], 1, { comebackDays: 10 }),
    'refuse REACTIVATE',
    'refuse REACTIVATE',
  ],
  [
    'head-1 expired 31 d, head pending',
    situation([slot(1, 1, 'confirmed', EXPIRED_31), N1_PENDING], 1),
    'refuse REACTIVATE',
    'refuse REACTIVATE',
  ],

  // generation 0
  ['factory key, empty lineage', situation([], 'bootstrap'), 'issue n=1', 'issue n=1'],
  ['factory key, generation 1 abandoned', situation([slot(1, 1, 'abandoned')], 'bootstrap'), 'issue n=1', 'issue n=1'],
  ['factory key, generation 1 signing', situation([slot(1, 1, 'signing')], 'bootstrap'), 'retry later', 'retry later'],
  [
    'factory key, generation 1 pending, same key',
    situation([slot(1, 1, 'pending')], 'bootstrap', { newKey: 'key-1' }),
    'same certificate of 1',
    'same certificate of 1',
  ],
  [
    'factory key, generation 1 pending, other key',
    situation([slot(1, 1, 'pending')], 'bootstrap'),
    'soft: displace 1, issue n=1',
    ASKS,
  ],
  [
    'factory key, generation 1 confirmed',
    situation([N], 'bootstrap'),
    'refuse CLAIM_CONTESTED',
    'refuse CLAIM_CONTESTED',
  ],
  [
    'factory key, generation 2',
    situation([N, N1_PENDING], 'bootstrap'),
    'refuse CLAIM_CONTESTED',
    'refuse CLAIM_CONTESTED',
  ],
];

describe('the fork table, rules section 4', () => {
  test.each(TABLE)('%s', (_row, given, live, notLive) => {
    expect(spoken(judgeRenewal(given))).toBe(live);
    expect(spoken(judgeRenewal({ ...given, provedAt: null }))).toBe(notLive);
    // Possession shown before the competing event proves nothing, either.
    expect(spoken(judgeRenewal({ ...given, provedAt: ago(60 * DAY_MS) }))).toBe(
      given.lineageState === 'closed' ? live : notLive,
    );
  });

  test('a proof completed in the very moment of the competing event is not live; one a moment later is', () => {
    const confirmedAt = ago(HOUR_MS);
    const given = situation([N, slot(2, 2, 'confirmed', { confirmedAt })], 1);
    expect(judgeRenewal({ ...given, provedAt: confirmedAt }).kind).toBe('refuse');
    expect(judgeRenewal({ ...given, provedAt: new Date(confirmedAt.getTime() + 1) }).kind).toBe('hard');
  });

  test('a soft displacement is allowed again exactly one hour after the last', () => {
    const slots = [N, slot(2, 2, 'displaced'), slot(3, 2, 'pending')];
    const at = (ms: number) => judgeRenewal(situation(slots, 1, { lastSoftAt: ago(ms) })).kind;
    expect(at(HOUR_MS - 1)).toBe('retry-later');
    expect(at(HOUR_MS)).toBe('soft-displace');
  });

  test('every verdict names the row that spoke', () => {
    expect(judgeRenewal(situation([N, N1_CONFIRMED], 1)).row).toBe('head-1, other key, head confirmed');
    expect(judgeRenewal(situation([N], 1, { now: NOW })).row).toBe('head');
  });
});
