import { isOurSerialShape } from '../../x509/serial.js';

/**
 * An exact map from certificates (issuer, serial of our shape, day of expiry) to a few words, in typed arrays.
 *
 * A serial carries 88 random bits: 12 of them choose a page, the rest lie in it beside issuer, hour and expiry, so nothing
 * is hashed and nothing is approximate. A page holds some hundred entries a million, grows by a quarter when it is full,
 * and is rebuilt without what has expired: neither ever stops the loop for more than some microseconds.
 *
 * Slot: `r2..r5` | `r6..r9` | `r10, hour (24 bits)` | `low half of r1, issuer (12 bits), expiry day (16 bits)` | value words.
 */
export class SerialPages {
  private readonly pages: (Uint32Array | undefined)[] = new Array<Uint32Array | undefined>(PAGES);
  private readonly counts = new Uint32Array(PAGES);
  private readonly slotWords: number;
  private total = 0;
  // The key of the last `aim`: one is looked for at a time, and an object for each would cost more than the look.
  private page = 0;
  private word0 = 0;
  private word1 = 0;
  private word2 = 0;
  private word3High = 0;

  /** @param valueWords  32-bit words beside the key of each entry */
  constructor(private readonly valueWords: number) {
    this.slotWords = KEY_WORDS + valueWords;
  }

  get size(): number {
    return this.total;
  }

  get bytes(): number {
    return this.pages.reduce((sum, page) => sum + (page?.byteLength ?? 0) + PAGE_OVERHEAD_BYTES, 0);
  }

  /** @param at  where the serial starts in `bytes` */
  has(issuerId: number, bytes: Buffer, at = 0): boolean {
    return this.find(issuerId, bytes, at) !== undefined;
  }

  /** The value words, or undefined. Valid until the next change. */
  get(issuerId: number, bytes: Buffer, at = 0): Uint32Array | undefined {
    const slot = this.find(issuerId, bytes, at);
    return slot === undefined ? undefined : this.pages[this.page]?.subarray(slot + KEY_WORDS, slot + this.slotWords);
  }

  /** Undefined when there is no such entry. */
  expiryDay(issuerId: number, bytes: Buffer): number | undefined {
    const slot = this.find(issuerId, bytes, 0);
    return slot === undefined ? undefined : ((this.pages[this.page] as Uint32Array)[slot + 3] as number) & DAY_MAX;
  }

  /** Adds, or overwrites value and expiry. Ask {@link fitsPages} first. */
  set(issuerId: number, bytes: Buffer, at: number, expiryDay: number, value: readonly number[] = NO_VALUE): void {
    this.aim(issuerId, bytes, at);
    let page = this.pages[this.page];
    const count = this.counts[this.page] as number;
    if (page === undefined || (count + 1) * this.slotWords > page.length * LOAD_MAX) page = this.grow(page, count);
    const slot = this.probe(page);
    if (page[slot + 3] === 0) {
      this.counts[this.page] = count + 1;
      this.total += 1;
    }
    page[slot] = this.word0;
    page[slot + 1] = this.word1;
    page[slot + 2] = this.word2;
    page[slot + 3] = this.word3High | Math.max(0, Math.min(expiryDay, DAY_MAX));
    for (let word = 0; word < this.valueWords; word += 1) page[slot + KEY_WORDS + word] = value[word] ?? 0;
  }

  /** Rebuilds one page without what expired before `firstDay`; call it for each page in turn. */
  sweep(pageNumber: number, firstDay: number): void {
    const page = this.pages[pageNumber % PAGES];
    if (page === undefined) return;
    let kept = 0;
    for (let slot = 0; slot < page.length; slot += this.slotWords) if (isKept(page, slot, firstDay)) kept += 1;
    const count = this.counts[pageNumber % PAGES] as number;
    if (kept === count) return;
    this.page = pageNumber % PAGES;
    this.total -= count - kept;
    this.counts[this.page] = kept;
    const slots = kept === 0 ? 0 : Math.ceil(kept / LOAD_AFTER_SWEEP);
    this.pages[this.page] = slots === 0 ? undefined : this.moved(page, slots, firstDay);
  }

  clear(): void {
    this.pages.fill(undefined);
    this.counts.fill(0);
    this.total = 0;
  }

  private find(issuerId: number, bytes: Buffer, at: number): number | undefined {
    this.aim(issuerId, bytes, at);
    const page = this.pages[this.page];
    if (page === undefined) return undefined;
    const slot = this.probe(page);
    return page[slot + 3] === 0 ? undefined : slot;
  }

  private aim(issuerId: number, bytes: Buffer, at: number): void {
    const second = bytes[at + 6] as number;
    this.page = ((bytes[at + 5] as number) << 4) | (second >> 4);
    this.word0 = bytes.readUInt32BE(at + 7);
    this.word1 = bytes.readUInt32BE(at + 11);
    this.word2 = (((bytes[at + 15] as number) << 24) | (bytes.readUInt32BE(at + 1) & 0xff_ffff)) >>> 0;
    this.word3High = (((second & 15) << 28) | (issuerId << 16)) >>> 0;
  }

  /** The slot that holds the key aimed at, or the free one where it belongs. There is always a free one. */
  private probe(page: Uint32Array): number {
    const { word0, word1, word2, word3High, slotWords } = this;
    const slots = page.length / slotWords;
    let slot = Math.floor((word0 / 4_294_967_296) * slots) * slotWords;
    for (;;) {
      const last = page[slot + 3] as number;
      if (last === 0) return slot;
      if (
        page[slot] === word0 &&
        page[slot + 1] === word1 &&
        page[slot + 2] === word2 &&
        (last & 0xffff_0000) >>> 0 === word3High
      )
        return slot;
      slot += slotWords;
      if (slot === page.length) slot = 0;
    }
  }

  private grow(page: Uint32Array | undefined, count: number): Uint32Array {
    const slots = Math.max(SLOTS_MIN, Math.ceil((page?.length ?? 0) / this.slotWords / GROWTH), count + 2);
    const larger = page === undefined ? new Uint32Array(slots * this.slotWords) : this.moved(page, slots, 0);
    this.pages[this.page] = larger;
    return larger;
  }

  /** The entries of a page in one of another size. Restores what was aimed at. */
  private moved(page: Uint32Array, slots: number, firstDay: number): Uint32Array {
    const { word0, word1, word2, word3High, slotWords } = this;
    const target = new Uint32Array(slots * slotWords);
    for (let slot = 0; slot < page.length; slot += slotWords) {
      if (!isKept(page, slot, firstDay)) continue;
      this.word0 = page[slot] as number;
      this.word1 = page[slot + 1] as number;
      this.word2 = page[slot + 2] as number;
      this.word3High = ((page[slot + 3] as number) & 0xffff_0000) >>> 0;
      const free = this.probe(target);
      for (let word = 0; word < slotWords; word += 1) target[free + word] = page[slot + word] as number;
    }
    this.word0 = word0;
    this.word1 = word1;
    this.word2 = word2;
    this.word3High = word3High;
    return target;
  }
}

/** Serials of another shape, or of an hour or an issuer beyond what a slot holds, belong elsewhere. */
export function fitsPages(issuerId: number, serial: Buffer): boolean {
  return isOurSerialShape(serial) && serial[1] === 0 && issuerId > 0 && issuerId < ISSUERS;
}

export const PAGES = 4_096;
const ISSUERS = 4_096;
const KEY_WORDS = 4;
const DAY_MAX = 0xffff;
const NO_VALUE: readonly number[] = [];
/** Linear probing looks at some twenty neighbours for an absent key here, all in a few cache lines. */
const LOAD_MAX = 0.85;
const GROWTH = 0.8;
const LOAD_AFTER_SWEEP = 0.7;
const SLOTS_MIN = 4;
/** A typed array's own objects, about. */
const PAGE_OVERHEAD_BYTES = 200;

/** Issuers start at 1, so the last key word of a used slot is never 0. */
function isKept(page: Uint32Array, slot: number, firstDay: number): boolean {
  const last = page[slot + 3] as number;
  return last !== 0 && (last & DAY_MAX) >= firstDay;
}
