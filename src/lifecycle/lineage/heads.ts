import type { LineageSlot } from '../model/index.js';

/** At most one soft displacement an hour (rules 4). */
export const SOFT_INTERVAL_MS = 3_600_000;

/** What of a slot its place in the lineage depends on. */
export type PlacedSlot = Pick<LineageSlot, 'id' | 'generation' | 'state' | 'spkiHash' | 'confirmedAt'>;

/** Delivered and neither displaced nor abandoned; an expired pending slot is still there: only confirm or displacement ends it. */
export function isStanding(slot: PlacedSlot): boolean {
  return slot.state === 'pending' || slot.state === 'confirmed';
}

/** Newest generation neither abandoned nor displaced, pending included; `signing` is not delivered and never counts. */
export function headOf<Slot extends PlacedSlot>(slots: readonly Slot[]): Slot | null {
  return newest(slots.filter(isStanding));
}

/** The standing slot one generation before the head; null when that is generation 0. */
export function previousOf<Slot extends PlacedSlot>(slots: readonly Slot[]): Slot | null {
  const head = headOf(slots);
  if (head === null) return null;
  return slots.find((slot) => isStanding(slot) && slot.generation === head.generation - 1) ?? null;
}

/**
 * Where a presented key stands. Generation 0 is the head of an empty lineage, `head-1` while generation 1 is pending,
 * and older afterwards (rules 3.4).
 */
export function standingOf(
  slots: readonly PlacedSlot[],
  presented: PlacedSlot | 'bootstrap' | null,
): 'head' | 'head-1' | 'displaced' | 'older' | 'undelivered' {
  const head = headOf(slots);
  if (presented === 'bootstrap') {
    if (head === null) return 'head';
    return head.generation === 1 && head.state === 'pending' ? 'head-1' : 'older';
  }
  if (presented === null || presented.state === 'signing' || presented.state === 'abandoned') return 'undelivered';
  if (presented.state === 'displaced') return 'displaced';
  if (presented.id === head?.id) return 'head';
  return presented.id === previousOf(slots)?.id ? 'head-1' : 'older';
}

/**
 * The slot that speaks for a presented certificate. A key re-issued for itself sits twice in one generation: then the one
 * that stands counts, or fetching late would look like a displaced key proved again.
 */
export function currentSlot<Slot extends PlacedSlot>(slots: readonly Slot[], slotId: number): Slot | null {
  const named = slots.find((slot) => slot.id === slotId);
  if (named?.state !== 'displaced') return named ?? null;
  return slots.find((slot) => isStanding(slot) && isSameGenerationAndKey(slot, named)) ?? named;
}

function isSameGenerationAndKey(one: PlacedSlot, other: PlacedSlot): boolean {
  return one.generation === other.generation && one.spkiHash.equals(other.spkiHash);
}

/** Soft displacements, not counting a slot that gave way to the same key (its certificate had run out unfetched). */
export function softDisplacementsSince(slots: readonly LineageSlot[], since: Date): number {
  return slots.filter(
    (slot) =>
      slot.displacedAt !== null &&
      slot.displacedAt.getTime() >= since.getTime() &&
      !slots.some((other) => other.id > slot.id && isSameGenerationAndKey(other, slot)),
  ).length;
}

/**
 * A key that this lineage certified before and may certify again: its attempt broke off, or its unit refused the certificate
 * and nothing stands in its place. Where something does, the key stays displaced for good.
 */
export function mayComeAgain(slots: readonly LineageSlot[], spkiHash: Buffer): boolean {
  const known = slots.filter((slot) => slot.spkiHash.equals(spkiHash));
  const vacant = (headOf(slots)?.generation ?? 0) + 1;
  return (
    known.length > 0 &&
    known.every(({ state, generation }) => state === 'abandoned' || (state === 'displaced' && generation === vacant))
  );
}

function newest<Slot extends PlacedSlot>(slots: readonly Slot[]): Slot | null {
  return slots.reduce<Slot | null>(
    (best, slot) => (best === null || slot.generation > best.generation ? slot : best),
    null,
  );
}
