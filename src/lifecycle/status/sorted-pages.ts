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
  const order = orderOf(entries, starts);
  const from = new DataView(entries.buffer, entries.byteOffset, entries.length);
  const times = new DataView(notAfters.buffer, notAfters.byteOffset, notAfters.length);
  for (let first = 0; first < order.length; first += PAGE_ENTRIES) {
    const count = Math.min(PAGE_ENTRIES, order.length - first);
    let pageBytes = 0;
    for (let at = first; at < first + count; at += 1) {
      const index = order[at] as number;
      pageBytes += (starts[index + 1] as number) - (starts[index] as number);
    }
    const page = Buffer.allocUnsafeSlow(pageBytes + WORD_BYTES);
    const pageTimes = Buffer.allocUnsafeSlow(count * 4);
    const [to, timesTo] = [new DataView(page.buffer), new DataView(pageTimes.buffer)];
    let end = 0;
    for (let at = 0; at < count; at += 1) {
      const index = order[first + at] as number;
      const [start, next] = [starts[index] as number, starts[index + 1] as number];
      for (let word = start, target = end; word < next; word += WORD_BYTES, target += WORD_BYTES) {
        to.setInt32(target, from.getInt32(word));
      }
      end += next - start;
      timesTo.setInt32(at * 4, times.getInt32(index * 4));
    }
    yield { entriesDer: page.subarray(0, pageBytes), notAfters: pageTimes };
  }
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
  for (let entry = 0; entry < count; entry += 1) {
    const [at, end] = serialOf(entries, starts[entry] as number);
    const from = at + skipped;
    const octet = (place: number): number => (from + place < end ? (entries[from + place] as number) : 0);
    words[2 * entry + 1] = (octet(0) << 24) | (octet(1) << 16) | (octet(2) << 8) | octet(3);
    words[2 * entry] = (octet(4) << 24) | entry;
  }
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
const PAGE_ENTRIES = 4_096;
/** An entry's number has 24 bits beside the forty of its serial. A CRL holds a tenth of so many. */
const ENTRIES_MAX = 1 << 24;
const INDEX_MASK = ENTRIES_MAX - 1;
