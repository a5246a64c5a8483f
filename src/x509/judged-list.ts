import { CrlEntryCursor } from './crl-entries.js';

/** Entries of a CRL of which each was looked at: in order of serial, each serial once, each in proper form. */
export interface JudgedList {
  /** Content of revokedCertificates. */
  readonly entriesDer: Buffer;
  /** Where each entry starts, and last where the last one ends: one more than there are entries. */
  readonly starts: Uint32Array;
}

export const NO_LIST: JudgedList = { entriesDer: Buffer.alloc(0), starts: new Uint32Array(1) };

/**
 * Judges a list by one that was judged before. Whole entries that stand in both, octet by octet, need no second look: memory
 * is compared, and only what differs is walked, in both lists side by side. A list of which a hundredth has changed costs
 * what comparing its memory costs.
 *
 * @param isProper  may an entry of the new list stand there?
 * @param onlyInPrevious  called with the cursor on an entry whose serial the new list has not; copy what you keep
 * @returns undefined where an entry is not proper, or not in order
 * @throws FemtoError BAD_REQUEST for an entry that is not strict DER
 */
export function judgeNextList(
  entriesDer: Buffer,
  previous: JudgedList,
  {
    isProper,
    onlyInPrevious,
  }: { isProper: (entry: CrlEntryCursor) => boolean; onlyInPrevious?: (entry: CrlEntryCursor) => void },
): JudgedList | undefined {
  const before = new CrlEntryCursor(previous.entriesDer);
  const now = new CrlEntryCursor(entriesDer);
  const lists = new TwoLists(previous.entriesDer, entriesDer);
  const starts = new Starts(entriesDer.length);
  const { starts: oldStarts } = previous;
  let old = 0;
  for (;;) {
    // 1. What both have, in whole entries.
    const [a, b] = [oldStarts[old] as number, now.end];
    const same = a + lists.commonLength(a, b);
    const kept = lastAtMost(oldStarts, same, old);
    starts.addShifted(oldStarts, old, kept, b - a);
    old = kept;
    const end = b + (oldStarts[kept] as number) - a;
    // 2. From the entry where they part: the one before it, once more, is what order is told by.
    before.moveTo(oldStarts[kept] as number);
    now.moveTo(starts.count === 0 ? end : starts.at(starts.count - 1));
    if (starts.count > 0) now.next();
    // 3. Side by side, until both have the same entry again.
    let [hasBefore, hasNow] = [before.next(), now.next()];
    let isInStep = false;
    while (!isInStep && (hasBefore || hasNow)) {
      const order = !hasBefore ? 1 : !hasNow ? -1 : before.compareSerial(now);
      if (order < 0) onlyInPrevious?.(before);
      else {
        if (!now.isInOrder() || !isProper(now)) return undefined;
        starts.add(now.start);
        isInStep = order === 0 && lists.areEqual(before, now);
      }
      if (order <= 0) old += 1;
      if (isInStep) break;
      if (order <= 0) hasBefore = before.next();
      if (order >= 0) hasNow = now.next();
    }
    if (!isInStep) return { entriesDer, starts: starts.ended() };
  }
}

/** Two lists, compared by octets. */
class TwoLists {
  readonly #viewA: DataView;
  readonly #viewB: DataView;

  constructor(
    private readonly a: Buffer,
    private readonly b: Buffer,
  ) {
    this.#viewA = new DataView(a.buffer, a.byteOffset, a.length);
    this.#viewB = new DataView(b.buffer, b.byteOffset, b.length);
  }

  /** How many octets from there on are the same: a block at a time, and by words in the block where they part. */
  commonLength(aStart: number, bStart: number): number {
    const { a, b } = this;
    const length = Math.min(a.length - aStart, b.length - bStart);
    let at = 0;
    for (; at < length; at += BLOCK_BYTES) {
      const end = Math.min(length, at + BLOCK_BYTES);
      if (a.compare(b, bStart + at, bStart + end, aStart + at, aStart + end) !== 0)
        return this.#partIn(aStart, bStart, at);
    }
    return length;
  }

  areEqual(one: CrlEntryCursor, other: CrlEntryCursor): boolean {
    return this.a.compare(this.b, other.start, other.end, one.start, one.end) === 0;
  }

  /** They do part behind `at`, within a block. To a word, which is enough: whole entries are wanted. */
  #partIn(aStart: number, bStart: number, at: number): number {
    const [a, b] = [this.#viewA, this.#viewB];
    const last = Math.min(a.byteLength - aStart, b.byteLength - bStart) - 4;
    let same = at;
    while (same <= last && a.getInt32(aStart + same, true) === b.getInt32(bStart + same, true)) same += 4;
    return same;
  }
}

/** Starts of a list in the making. */
class Starts {
  count = 0;
  readonly #starts: Uint32Array;

  constructor(private readonly bytes: number) {
    this.#starts = new Uint32Array(Math.ceil(bytes / ENTRY_BYTES_MIN) + 1);
  }

  at(index: number): number {
    return this.#starts[index] as number;
  }

  add(start: number): void {
    this.#starts[this.count] = start;
    this.count += 1;
  }

  addShifted(from: Uint32Array, first: number, end: number, by: number): void {
    const starts = this.#starts;
    let { count } = this;
    for (let index = first; index < end; index += 1, count += 1) starts[count] = (from[index] as number) + by;
    this.count = count;
  }

  ended(): Uint32Array {
    this.add(this.bytes);
    return this.#starts.subarray(0, this.count);
  }
}

/** Index of the last start that is not above `offset`, at `from` or behind it. */
function lastAtMost(starts: Uint32Array, offset: number, from: number): number {
  let [low, step] = [from, 1];
  while (low + step < starts.length && (starts[low + step] as number) <= offset) {
    low += step;
    step *= 2;
  }
  let high = Math.min(low + step, starts.length) - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((starts[middle] as number) <= offset) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** A call costs about what comparing so much costs. */
const BLOCK_BYTES = 2_048;
/** SEQUENCE { INTEGER of one octet, UTCTime }. */
const ENTRY_BYTES_MIN = 20;
