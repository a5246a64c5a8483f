import { randomBytes } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import type { Grant } from '../../../../src/lifecycle/enrolment/grant-store.js';
import { type ClaimSituation, judgeClaim } from '../../../../src/lifecycle/enrolment/judge-claim.js';
import type { GrantMatch } from '../../../../src/lifecycle/enrolment/match-grant.js';
import type { LineageView } from '../../../../src/lifecycle/lineage/index.js';
import type { LineageSlot } from '../../../../src/lifecycle/model/index.js';

const t0 = Date.parse('2026-11-24T10:00:00Z');
const at = (minutes: number): Date => new Date(t0 + minutes * 60_000);
const KEY = Buffer.alloc(32, 1);
const OTHER = Buffer.alloc(32, 2);

function aSlot(changes: Partial<LineageSlot> = {}): LineageSlot {
  return {
    id: 11,
    lineageId: 5,
    unitId: 1,
    generation: 1,
    state: 'pending',
    spkiHash: KEY,
    issuerId: 1,
    serial: randomBytes(16),
    notBefore: at(-60),
    notAfter: at(7 * 1_440),
    attemptId: 'a',
    preissued: false,
    renewFrom: at(4 * 1_440),
    renewUntil: at(6 * 1_440),
    createdAt: at(0),
    confirmedAt: null,
    displacedAt: null,
    ...changes,
  };
}

function aLineage(
  slots: LineageSlot[],
  state: 'open' | 'quarantined' = 'open',
  lastSoftAt: Date | null = null,
): LineageView {
  return {
    lineage: {
      id: 5,
      unitId: 1,
      state,
      openedAt: at(0),
      closedAt: null,
      closeReason: null,
      tokenHash: null,
      lastSoftAt,
    },
    slots,
  };
}

const grant = { id: 9 } as Grant;
const open: GrantMatch = { kind: 'open', grant };
const spent: GrantMatch = { kind: 'spent', grant };
const wrong: GrantMatch = { kind: 'wrong-code', grant };
const none: GrantMatch = { kind: 'none', fault: 'the unit has no grant' };

function verdict(changes: Partial<ClaimSituation>) {
  return judgeClaim({
    now: at(20),
    credential: { kind: 'generation-0', slotId: null },
    newSpkiHash: OTHER,
    liveAt: at(20),
    live: null,
    grant: open,
    ...changes,
  });
}
const refusalOf = (changes: Partial<ClaimSituation>): string => {
  const judged = verdict(changes);
  return judged.kind === 'refuse' ? judged.error.code : judged.kind;
};

describe('a first claim', () => {
  test('opens a lineage with an open grant, and nothing without one', () => {
    expect(verdict({})).toMatchObject({ kind: 'issue', lineageId: null, displacesSlotId: null, closes: null });
    for (const match of [spent, wrong, none]) expect(refusalOf({ grant: match })).toBe('GRANT_BAD');
  });

  test('goes on in a lineage whose only attempt was abandoned, with the spent grant', () => {
    const live = aLineage([aSlot({ state: 'abandoned' })]);
    expect(verdict({ live, grant: spent })).toMatchObject({ kind: 'issue', lineageId: 5, displacesSlotId: null });
    expect(refusalOf({ live, grant: none })).toBe('GRANT_BAD');
  });

  test('waits while a sibling is at the token', () => {
    expect(refusalOf({ live: aLineage([aSlot({ state: 'signing' })]), grant: spent })).toBe('RETRY_LATER');
  });
});

describe('generation 0 against a pending generation 1 (rules 3.4)', () => {
  const live = aLineage([aSlot()]);
  test('the same key gets the same certificate, without a code', () => {
    expect(verdict({ live, newSpkiHash: KEY, grant: none })).toEqual({ kind: 'same-certificate', slotId: 11 });
  });

  test('another key displaces softly, with live proof and the code only', () => {
    expect(verdict({ live, grant: spent })).toMatchObject({ kind: 'issue', displacesSlotId: 11, grade: 'soft' });
    expect(refusalOf({ live, grant: wrong })).toBe('GRANT_BAD');
    expect(refusalOf({ live, grant: spent, liveAt: at(-1) })).toBe('RETRY_LATER');
  });

  test('at most once an hour, and then it is strong evidence', () => {
    const soon = aLineage([aSlot({ state: 'displaced', displacedAt: at(5) }), aSlot({ id: 12 })], 'open', at(5));
    expect(verdict({ live: soon, grant: spent })).toMatchObject({ kind: 'refuse', evidence: { grade: 'strong' } });
  });
});

describe('generation 0 after the confirmation', () => {
  const live = aLineage([aSlot({ state: 'confirmed', confirmedAt: at(10) })]);
  test('everything proved again, live: both are contested', () => {
    expect(verdict({ live, grant: spent }).kind).toBe('contest');
  });

  test('less than everything harms nobody', () => {
    for (const match of [wrong, none]) expect(refusalOf({ live, grant: match })).toBe('GRANT_BAD');
    expect(refusalOf({ live, grant: spent, liveAt: at(9) })).toBe('RETRY_LATER');
  });

  test('the very key of generation 1 is the unit itself', () => {
    expect(verdict({ live, newSpkiHash: KEY, grant: spent })).toEqual({ kind: 'same-certificate', slotId: 11 });
  });

  test('an open grant, which two people made, ends the lineage first', () => {
    expect(verdict({ live, grant: open })).toMatchObject({ kind: 'issue', lineageId: null, closes: live });
  });

  test('the last operational key proves a reactivation only with an open grant', () => {
    const credential = { kind: 'operational', slotId: 11 } as const;
    expect(refusalOf({ live, credential, grant: spent })).toBe('GRANT_BAD');
    expect(verdict({ live, credential, grant: open }).kind).toBe('issue');
  });

  test('an operational key left behind proves no reactivation, whatever the grant; live, an older one is strong evidence and a displaced one hard', () => {
    const stale = aLineage([
      aSlot({ state: 'confirmed', confirmedAt: at(1) }),
      aSlot({ id: 12, generation: 2, state: 'displaced', spkiHash: Buffer.alloc(32, 3), displacedAt: at(5) }),
      aSlot({ id: 13, generation: 2, state: 'confirmed', spkiHash: Buffer.alloc(32, 4), confirmedAt: at(10) }),
    ]);
    const older = { kind: 'operational', slotId: 11 } as const;
    const displaced = { kind: 'operational', slotId: 12 } as const;
    for (const grant of [open, spent, wrong, none]) {
      expect(refusalOf({ live: stale, credential: older, grant })).toBe('PREDECESSOR_MISMATCH');
      expect(verdict({ live: stale, credential: displaced, grant })).toMatchObject({
        kind: 'hard',
        presentedSlotId: 12,
      });
    }
    expect(verdict({ live: stale, credential: older })).toMatchObject({ evidence: { grade: 'strong', lineageId: 5 } });
    // Shown before the competing event, neither proves anything.
    expect(verdict({ live: stale, credential: older, liveAt: at(9) })).not.toHaveProperty('evidence');
    expect(refusalOf({ live: stale, credential: displaced, liveAt: at(5) })).toBe('PREDECESSOR_MISMATCH');
    expect(verdict({ live: stale, credential: { kind: 'operational', slotId: 13 } }).kind).toBe('issue');
  });

  test('while the head is pending, the key before it is still a last one; without a lineage none is', () => {
    const pending = aLineage([
      aSlot({ state: 'confirmed', confirmedAt: at(1) }),
      aSlot({ id: 12, generation: 2, spkiHash: Buffer.alloc(32, 3) }),
    ]);
    for (const slotId of [11, 12]) {
      expect(verdict({ live: pending, credential: { kind: 'operational', slotId } }).kind).toBe('issue');
    }
    expect(refusalOf({ live: null, credential: { kind: 'operational', slotId: 11 } })).toBe('PREDECESSOR_MISMATCH');
  });

  test('a quarantined lineage is not claimed, whatever is proved', () => {
    expect(refusalOf({ live: aLineage([aSlot()], 'quarantined'), grant: open })).toBe('DEVICE_QUARANTINED');
  });
});
