import { CrlEntryCursor } from './crl-entries.js';

/** Entries of a CRL of which each was looked at: in order of serial, each serial once, each in proper form. */
export interface JudgedList {
  /** Content of revokedCertificates. */
  readonly entriesDer: Buffer;
  /** Where each entry starts, and last where the last one ends: one more than there are entries. */
  readonly starts: Uint32Array;
}

export const NO_LIST: JudgedList = { entriesDer: Buffer.alloc(0), starts: new Uint32Array(1) };

export interface ListRules {
  /** May an entry of the new list stand there? */
  isProper(entry: CrlEntryCursor): boolean;
  /** An entry whose serial the new list has not; copy what you keep. */
  onlyInPrevious?(entry: CrlEntryCursor): void;
}

/**
 * Judges a list by one that was judged before. Whole entries that stand in both, octet by octet, need no second look: memory
 * is compared, and only what differs is walked, in both lists side by side. A list of which a hundredth has changed costs
 * what comparing its memory costs.
 *
 * @returns undefined where an entry is not proper, or not in order
 * @throws FemtoError BAD_REQUEST for an entry that is not strict DER
 */
export function judgeNextList(entriesDer: Buffer, previous: JudgedList, rules: ListRules): JudgedList | undefined {
  const walk = new Walk(entriesDer, previous, rules);
  for (;;) {
    walk.passSame();
    const outcome = walk.passDifferent();
    if (outcome === 'not proper') return undefined;
    if (outcome === 'end') return { entriesDer, starts: walk.starts.ended() };
  }
}

/** Through both lists at once. Small steps that are taken often: one long function would be compiled anew in each list. */
class Walk {
  readonly starts: Starts;
  readonly #before: CrlEntryCursor;
  readonly #now: CrlEntryCursor;
  readonly #lists: TwoLists;
  readonly #oldStarts: Uint32Array;
  /** The entry of the old list where both stand; its number. */
  #old = 0;
  /** And where that is in the new one. */
  #at = 0;

  constructor(
    entriesDer: Buffer,
    previous: JudgedList,
    private readonly rules: ListRules,
  ) {
    this.starts = new Starts(entriesDer.length);
    this.#before = new CrlEntryCursor(previous.entriesDer);
    this.#now = new CrlEntryCursor(entriesDer);
    this.#lists = new TwoLists(previous.entriesDer, entriesDer);
    this.#oldStarts = previous.starts;
  }

  /** What both have, in whole entries. */
  passSame(): void {
    const oldStarts = this.#oldStarts;
    const old = this.#old;
    const from = oldStarts[old] as number;
    const same = from + this.#lists.commonLength(from, this.#at);
    const kept = lastAtMost(oldStarts, same, old);
    this.starts.addShifted(oldStarts, old, kept, this.#at - from);
    this.#at += (oldStarts[kept] as number) - from;
    this.#old = kept;
  }

  /** From the entry where they part until both have the same one again. */
  passDifferent(): 'in step' | 'end' | 'not proper' {
    const before = this.#before;
    const now = this.#now;
    const { starts } = this;
    before.moveTo(this.#oldStarts[this.#old] as number);
    // The one before it once more: by it the order is told.
    if (starts.count === 0) now.moveTo(0);
    else {
      now.moveTo(starts.at(starts.count - 1));
      now.next();
    }
    let hasBefore = before.next();
    let hasNow = now.next();
    while (hasBefore || hasNow) {
      const order = !hasBefore ? 1 : !hasNow ? -1 : before.compareSerial(now);
      if (order < 0) this.rules.onlyInPrevious?.(before);
      else if (!now.isInOrder() || !this.rules.isProper(now)) return 'not proper';
      else starts.add(now.start);
      if (order <= 0) this.#old += 1;
      if (order === 0 && this.#lists.areEqual(before, now)) {
        this.#at = now.end;
        return 'in step';
      }
      if (order <= 0) hasBefore = before.next();
      if (order >= 0) hasNow = now.next();
    }
    return 'end';
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

  /**
   * How many octets from there on are the same, to a word, which is enough: whole entries are wanted. Four words at a time cost
   * what memcmp costs, which does not say where the two part.
   */
  commonLength(aStart: number, bStart: number): number {
    const [a, b] = [this.#viewA, this.#viewB];
    const length = Math.min(a.byteLength - aStart, b.byteLength - bStart);
    let [at, other] = [aStart, bStart];
    for (const end = aStart + length - 16; at <= end; at += 16, other += 16) {
      const first = a.getInt32(at, true) ^ b.getInt32(other, true);
      const second = a.getInt32(at + 4, true) ^ b.getInt32(other + 4, true);
      const third = a.getInt32(at + 8, true) ^ b.getInt32(other + 8, true);
      const fourth = a.getInt32(at + 12, true) ^ b.getInt32(other + 12, true);
      if ((first | second | third | fourth) !== 0) break;
    }
    for (const end = aStart + length - 4; at <= end; at += 4, other += 4) {
      if (a.getInt32(at, true) !== b.getInt32(other, true)) return at - aStart;
    }
    // The last octets of the shorter one, which are no word.
    for (const end = aStart + length; at < end; at += 1, other += 1) {
      if (a.getUint8(at) !== b.getUint8(other)) break;
    }
    return at - aStart;
  }

  areEqual(one: CrlEntryCursor, other: CrlEntryCursor): boolean {
    return this.a.compare(this.b, other.start, other.end, one.start, one.end) === 0;
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

/** SEQUENCE { INTEGER of one octet, UTCTime }. */
const ENTRY_BYTES_MIN = 20;
