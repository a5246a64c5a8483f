/** Builders of lineage situations for the verdict tests. */
import { createHash } from 'node:crypto';
import type { RenewalSituation } from '../../../../src/lifecycle/lineage/index.js';
import type { LineageSlot, SlotState } from '../../../../src/lifecycle/model/index.js';

export const NOW = new Date('2026-11-24T12:00:00Z');
export const HOUR_MS = 3_600_000;
export const DAY_MS = 24 * HOUR_MS;

export function ago(ms: number): Date {
  return new Date(NOW.getTime() - ms);
}

/** The hash of a key that is told apart by its name only. */
export function keyHash(name: string): Buffer {
  return createHash('sha256').update(name).digest();
}

/** A slot whose key is `key` (default: its own); confirmed two days ago unless told otherwise, good for four more days. */
export function slot(
  id: number,
  generation: number,
  state: SlotState,
  changes: Partial<LineageSlot> & { key?: string } = {},
): LineageSlot {
  const { key = `key-${id}`, ...rest } = changes;
  const createdAt = rest.createdAt ?? ago(3 * DAY_MS - id * HOUR_MS);
  return {
    id,
    lineageId: 1,
    unitId: 1,
    generation,
    state,
    spkiHash: keyHash(key),
    issuerId: 1,
    serial: Buffer.alloc(16, id),
    notBefore: createdAt,
    notAfter: new Date(NOW.getTime() + 4 * DAY_MS),
    attemptId: `attempt-${id}`,
    preissued: false,
    renewFrom: NOW,
    renewUntil: NOW,
    createdAt,
    confirmedAt: state === 'confirmed' ? ago(2 * DAY_MS - id * HOUR_MS) : null,
    displacedAt: state === 'displaced' ? ago(2 * DAY_MS - id * HOUR_MS) : null,
    ...rest,
  };
}

/** The slot presented is the one with this id; proved just now; a fresh key; everything else in order. */
export function situation(
  slots: readonly LineageSlot[],
  presented: number | 'bootstrap',
  changes: Partial<RenewalSituation> & { newKey?: string } = {},
): RenewalSituation {
  const { newKey = 'fresh', ...rest } = changes;
  return {
    now: NOW,
    lineageState: 'open',
    lastSoftAt: null,
    slots,
    presented: presented === 'bootstrap' ? { kind: 'bootstrap' } : { kind: 'slot', slotId: presented },
    presentedStatus: 'good',
    newSpkiHash: keyHash(newKey),
    provedAt: ago(1_000),
    line: 'match',
    ...rest,
  };
}
