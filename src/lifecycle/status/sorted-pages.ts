import type { ListedPart } from './crl-store.js';

/**
 * Entries in any order, as pages in order of serial: sorted by forty bits of the serial, in machine words, because a million
 * objects that are compared by a function of ours take longer than all else that a CRL is made with.
 *
 * @throws RangeError for what is no entry, for other times than entries, and for more entries than any CRL may have
 */
export function* sortedPages(
  parts: readonly Pick<ListedPart, 'entriesDer' | 'notAfters'>[],
): Generator<{ readonly entriesDer: Buffer; readonly notAfters: Buffer }> {
  const bytes = parts.reduce((sum, { entriesDer }) => sum + entriesDer.length, 0);
  // Entries are copied by whole words, so the last one is read a little beyond its end.
  const entries = Buffer.concat(
    parts.map(({ entriesDer }) => entriesDer),
    bytes + WORD_BYTES,
  );
  const notAfters = Buffer.concat(parts.map((part) => part.notAfters));
  const starts = startsOf(entries, bytes, notAfters.length / 4);
  const divided = divide({ starts, entries, notAfters }, ranksOf(orderOf(entries, starts)));
  for (let first = 0; first < divided.ranks.length; first += PAGE_ENTRIES) yield pageOf(divided, first);
}

/** Entries that stand on the page where they belong, in the order in which they came. */
interface Divided {
  readonly entries: DataView;
  readonly notAfters: Uint32Array;
  /** Where each starts in `entries`. */
  readonly starts: Uint32Array;
  readonly ends: Uint32Array;
  /** Of each its place in the whole order. */
  readonly ranks: Uint32Array;
}

/**
 * To their pages first, and on its page each to its place: by the order alone each of a million entries would be fetched from
 * anywhere in fifty megabytes, which costs ten times what copying it costs.
 */
function divide(
  { starts, entries, notAfters }: { starts: Uint32Array; entries: Buffer; notAfters: Buffer },
  ranks: Uint32Array,
): Divided {
  const count = ranks.length;
  const pages = Math.ceil(count / PAGE_ENTRIES);
  const [from, times] = [viewOf(entries), viewOf(notAfters)];
  const sizes = new Uint32Array(pages + 1);
  for (let index = 0; index < count; index += 1) {
    const page = (ranks[index] as number) >>> PAGE_BITS;
    sizes[page] = (sizes[page] as number) + (starts[index + 1] as number) - (starts[index] as number);
  }
  // Of each page where its next entry goes: in the bytes, and among the entries.
  const nextByte = new Uint32Array(pages);
  const nextPlace = new Uint32Array(pages);
  // A word between two pages: an entry is copied by whole words.
  for (let page = 0, at = 0; page < pages; page += 1) {
    nextByte[page] = at;
    nextPlace[page] = page * PAGE_ENTRIES;
    at += (sizes[page] as number) + WORD_BYTES;
  }
  const to = viewOf(Buffer.allocUnsafeSlow(entries.length + pages * WORD_BYTES));
  const found = [0, 1, 2, 3].map(() => new Uint32Array(count)) as [Uint32Array, Uint32Array, Uint32Array, Uint32Array];
  const [timesTo, startsTo, endsTo, ranksTo] = found;
  for (let index = 0; index < count; index += 1) {
    const rank = ranks[index] as number;
    const page = rank >>> PAGE_BITS;
    const place = nextPlace[page] as number;
    const target = nextByte[page] as number;
    const start = starts[index] as number;
    const length = (starts[index + 1] as number) - start;
    copyWords(from, start, to, target, length);
    timesTo[place] = times.getUint32(index * 4);
    startsTo[place] = target;
    endsTo[place] = target + length;
    ranksTo[place] = rank;
    nextPlace[page] = place + 1;
    nextByte[page] = target + length;
  }
  return { entries: to, notAfters: timesTo, starts: startsTo, ends: endsTo, ranks: ranksTo };
}

/** @param first  rank of the page's first entry */
function pageOf(
  { entries, notAfters, starts, ends, ranks }: Divided,
  first: number,
): { entriesDer: Buffer; notAfters: Buffer } {
  const count = Math.min(PAGE_ENTRIES, ranks.length - first);
  const places = new Uint32Array(count);
  for (let at = first; at < first + count; at += 1) places[(ranks[at] as number) - first] = at;
  const bytes = (ends[first + count - 1] as number) - (starts[first] as number);
  const page = Buffer.allocUnsafeSlow(bytes + WORD_BYTES);
  const times = Buffer.allocUnsafeSlow(count * 4);
  const [to, timesTo] = [viewOf(page), viewOf(times)];
  let end = 0;
  for (let at = 0; at < count; at += 1) {
    const place = places[at] as number;
    const start = starts[place] as number;
    const length = (ends[place] as number) - start;
    copyWords(entries, start, to, end, length);
    end += length;
    timesTo.setUint32(at * 4, notAfters[place] as number);
  }
  return { entriesDer: page.subarray(0, bytes), notAfters: times };
}

/** Up to three octets more than asked for; whatever comes behind is written later. */
function copyWords(from: DataView, start: number, to: DataView, target: number, length: number): void {
  for (let at = 0; at < length; at += WORD_BYTES) to.setInt32(target + at, from.getInt32(start + at));
}

function viewOf(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

function ranksOf(order: Uint32Array): Uint32Array {
  const ranks = new Uint32Array(order.length);
  for (let at = 0; at < order.length; at += 1) ranks[order[at] as number] = at;
  return ranks;
}

/** Where each entry starts, and where the last one ends. What they say is judged with the CRL that is made of them. */
function startsOf(entries: Buffer, bytes: number, count: number): Uint32Array {
  if (count > ENTRIES_MAX) throw new RangeError(`${count} entries are more than a CRL may have`);
  const starts = new Uint32Array(count + 1);
  let start = 0;
  let entry = 0;
  for (; start < bytes && entry < count; entry += 1) {
    starts[entry] = start;
    const length = entries[start + 1] as number;
    if (entries[start] !== 0x30 || length > 0x81)
      throw new RangeError('revoked_certificate holds what is no CRL entry');
    start += length < 0x80 ? 2 + length : 3 + (entries[start + 2] as number);
  }
  if (start !== bytes || entry !== count) throw new RangeError('revoked_certificate holds what is no CRL entry');
  starts[count] = bytes;
  return starts;
}

/** The entries' numbers in order of serial. */
function orderOf(entries: Buffer, starts: Uint32Array): Uint32Array {
  const count = starts.length - 1;
  const skipped = commonOctets(entries, starts);
  // Little-endian, as every machine that Node.js runs on but one; on that one the list would be refused as not in order.
  const words = new Uint32Array(2 * count);
  for (let entry = 0; entry < count; entry += 1)
    writeKey(words, entry, { entries, start: starts[entry] as number, skipped });
  new BigUint64Array(words.buffer).sort();
  const order = new Uint32Array(count);
  for (let at = 0; at < count; at += 1) order[at] = (words[2 * at] as number) & INDEX_MASK;
  // Those that are alike in all forty bits stand beside each other.
  const isAlike = (at: number): boolean =>
    words[2 * at + 1] === words[2 * at - 1] &&
    (words[2 * at] as number) >>> 24 === (words[2 * at - 2] as number) >>> 24;
  for (let at = 1; at < count; at += 1) {
    if (!isAlike(at)) continue;
    const first = at - 1;
    while (at < count && isAlike(at)) at += 1;
    order.subarray(first, at).sort((a, b) => compareSerials(entries, starts[a] as number, starts[b] as number));
  }
  return order;
}

/** Forty bits of the serial behind what all have in common, then the entry's number. */
function writeKey(
  words: Uint32Array,
  entry: number,
  { entries, start, skipped }: { entries: Buffer; start: number; skipped: number },
): void {
  const [at, end] = serialOf(entries, start);
  let high = 0;
  for (let place = at + skipped; place < at + skipped + 4; place += 1) {
    high = (high << 8) | (place < end ? (entries[place] as number) : 0);
  }
  const last = at + skipped + 4;
  words[2 * entry + 1] = high;
  words[2 * entry] = ((last < end ? (entries[last] as number) : 0) << 24) | entry;
}

/** How many octets all serials begin with alike: the first ones are the hour of issue. */
function commonOctets(entries: Buffer, starts: Uint32Array): number {
  if (starts.length === 1) return 0;
  const [first, firstEnd] = serialOf(entries, 0);
  let common = firstEnd - first;
  for (let entry = 1; entry < starts.length - 1; entry += 1) {
    const [at, end] = serialOf(entries, starts[entry] as number);
    common = Math.min(common, end - at);
    let same = 0;
    while (same < common && entries[at + same] === entries[first + same]) same += 1;
    common = same;
  }
  return common;
}

function compareSerials(entries: Buffer, a: number, b: number): number {
  const [[from, to], [otherFrom, otherTo]] = [serialOf(entries, a), serialOf(entries, b)];
  return entries.compare(entries, otherFrom, otherTo, from, to);
}

/** Without the sign octet, by which no order is. */
function serialOf(entries: Buffer, start: number): [at: number, end: number] {
  const integer = start + ((entries[start + 1] as number) < 0x80 ? 2 : 3);
  const octets = entries[integer + 1] as number;
  const at = integer + 2 + (entries[integer + 2] === 0 && octets > 1 ? 1 : 0);
  return [at, integer + 2 + octets];
}

const WORD_BYTES = 4;
const PAGE_BITS = 12;
const PAGE_ENTRIES = 1 << PAGE_BITS;
/** An entry's number has 24 bits beside the forty of its serial. A CRL holds a tenth of so many. */
const ENTRIES_MAX = 1 << 24;
const INDEX_MASK = ENTRIES_MAX - 1;
