import { CrlEntryCursor } from '../../x509/crl.js';
import { ChunkBounds } from './chunk-bounds.js';

/**
 * The list of one CA in memory: ready entries in order of serial, in chunks of some hundred, so that a change moves a few
 * kilobytes and a CRL is a copy. Knows no clock and no database.
 */
export class CrlBook {
  #chunks: Chunk[] = [];
  #bounds = new ChunkBounds();
  #count = 0;
  #bytes = 0;
  #endedBefore = 0;

  get count(): number {
    return this.#count;
  }

  /** Of all entries. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Seconds: certificates that ended then or before have been left out. Never falls, though the clock may. */
  get endedBefore(): number {
    return this.#endedBefore;
  }

  /** The entries in order, as they are until the next change. */
  pieces(): Buffer[] {
    return this.#chunks.map(({ bytes, used }) => bytes.subarray(0, used));
  }

  /**
   * Takes a page of entries that all come after those that are here.
   *
   * @param notAfters  u32 big-endian seconds, one an entry
   * @throws RangeError when the page is not in order, or not as long as its times
   */
  append(entriesDer: Buffer, notAfters: Buffer): void {
    const cursor = new CrlEntryCursor(entriesDer);
    const starts: number[] = [];
    while (cursor.next()) {
      if (!cursor.isInOrder() || (starts.length === 0 && !this.#isBehindAll(cursor))) {
        throw new RangeError('a page of CRL entries is not in order of serial');
      }
      starts.push(cursor.start);
    }
    if (starts.length * 4 !== notAfters.length)
      throw new RangeError('a page of CRL entries has other times than entries');
    for (let from = 0; from < starts.length; from += CHUNK_ENTRIES_LOADED) {
      const to = Math.min(from + CHUNK_ENTRIES_LOADED, starts.length);
      const [start, end] = [starts[from] ?? 0, starts[to] ?? entriesDer.length];
      const chunk = new Chunk(Math.ceil((end - start) * SPARE));
      chunk.fill(entriesDer.subarray(start, end), starts.slice(from, to), notAfters.subarray(from * 4, to * 4));
      this.#bounds.insert(this.#chunks.length, chunk.serialAt(0));
      this.#chunks.push(chunk);
    }
    this.#count += starts.length;
    this.#bytes += entriesDer.length;
  }

  /** Adds or replaces the entry of a serial. */
  put(serial: Buffer, entryDer: Buffer, notAfterSeconds: number): void {
    if (notAfterSeconds <= this.#endedBefore) {
      this.remove(serial);
      return;
    }
    if (this.#chunks.length === 0) {
      this.#chunks.push(new Chunk(CHUNK_BYTES_MIN));
      this.#bounds.insert(0, serial);
    }
    const at = this.#bounds.find(serial);
    const chunk = this.#chunks[at] as Chunk;
    const [count, used] = [chunk.count, chunk.used];
    chunk.put(serial, entryDer, notAfterSeconds);
    this.#count += chunk.count - count;
    this.#bytes += chunk.used - used;
    if (chunk.count <= CHUNK_ENTRIES_MAX) return;
    const [left, right] = chunk.halves();
    this.#chunks.splice(at, 1, left, right);
    this.#bounds.insert(at + 1, right.serialAt(0));
  }

  /** False: there was none. */
  remove(serial: Buffer): boolean {
    const at = this.#bounds.find(serial);
    const chunk = this.#chunks[at];
    const place = chunk?.find(serial) ?? -1;
    if (chunk === undefined || place < 0) return false;
    const used = chunk.used;
    chunk.removeAt(place);
    this.#count -= 1;
    this.#bytes += chunk.used - used;
    if (chunk.count > 0) return true;
    this.#chunks.splice(at, 1);
    this.#bounds.remove(at);
    return true;
  }

  /** Leaves out what ended then or before. */
  dropEnded(seconds: number): void {
    if (seconds <= this.#endedBefore) return;
    this.#endedBefore = seconds;
    for (const chunk of this.#chunks) {
      const [count, used] = [chunk.count, chunk.used];
      chunk.dropEnded(seconds);
      this.#count += chunk.count - count;
      this.#bytes += chunk.used - used;
    }
    for (let at = this.#chunks.length - 1; at >= 0; at -= 1) {
      if ((this.#chunks[at] as Chunk).count > 0) continue;
      this.#chunks.splice(at, 1);
      this.#bounds.remove(at);
    }
  }

  /** Entries with a serial above `after`, at most so many, one after another; copied. */
  slice(after: Buffer, limit: number): { readonly entriesDer: Buffer; readonly count: number } {
    const parts: Buffer[] = [];
    let left = limit;
    for (let at = after.length === 0 ? 0 : this.#bounds.find(after); at < this.#chunks.length && left > 0; at += 1) {
      const chunk = this.#chunks[at] as Chunk;
      const found = parts.length > 0 || after.length === 0 ? -1 : chunk.find(after);
      const from = parts.length > 0 || after.length === 0 ? 0 : found < 0 ? ~found : found + 1;
      const to = Math.min(chunk.count, from + left);
      parts.push(Buffer.from(chunk.bytes.subarray(chunk.startOf(from), chunk.startOf(to))));
      left -= to - from;
    }
    return { entriesDer: Buffer.concat(parts), count: limit - left };
  }

  #isBehindAll(cursor: CrlEntryCursor): boolean {
    const last = this.#chunks.at(-1);
    return last === undefined || last.compareAt(last.count - 1, cursor.bytes, cursor.serialStart, cursor.serialEnd) < 0;
  }
}

/** Never empty but for the first one of a book. */
class Chunk {
  used = 0;
  count = 0;
  #starts = new Uint32Array(CHUNK_ENTRIES_MAX + 1);
  #notAfters = new Uint32Array(CHUNK_ENTRIES_MAX + 1);
  #earliestEnd = Number.POSITIVE_INFINITY;

  bytes: Buffer;

  constructor(capacity: number) {
    this.bytes = Buffer.allocUnsafe(Math.max(capacity, CHUNK_BYTES_MIN));
  }

  /** @param starts  offsets in the page that `entries` begins at the first of */
  fill(entries: Buffer, starts: readonly number[], notAfters: Buffer): void {
    entries.copy(this.bytes);
    this.used = entries.length;
    this.count = starts.length;
    const first = starts[0] ?? 0;
    for (let at = 0; at < starts.length; at += 1) {
      this.#starts[at] = (starts[at] as number) - first;
      this.#setEnd(at, notAfters.readUInt32BE(at * 4));
    }
  }

  put(serial: Buffer, entryDer: Buffer, notAfterSeconds: number): void {
    const found = this.find(serial);
    if (found >= 0) this.removeAt(found);
    const at = found >= 0 ? found : ~found;
    const start = this.startOf(at);
    this.#makeRoom(entryDer.length);
    this.bytes.copyWithin(start + entryDer.length, start, this.used);
    entryDer.copy(this.bytes, start);
    this.#starts.copyWithin(at + 1, at, this.count);
    this.#notAfters.copyWithin(at + 1, at, this.count);
    this.#starts[at] = start;
    this.#setEnd(at, notAfterSeconds);
    this.used += entryDer.length;
    this.count += 1;
    this.#shift(at + 1, entryDer.length);
  }

  removeAt(at: number): void {
    const [start, end] = [this.startOf(at), this.startOf(at + 1)];
    this.bytes.copyWithin(start, end, this.used);
    this.#starts.copyWithin(at, at + 1, this.count);
    this.#notAfters.copyWithin(at, at + 1, this.count);
    this.used -= end - start;
    this.count -= 1;
    this.#shift(at, start - end);
  }

  dropEnded(seconds: number): void {
    if (this.#earliestEnd > seconds) return;
    for (let at = this.count - 1; at >= 0; at -= 1) {
      if ((this.#notAfters[at] as number) <= seconds) this.removeAt(at);
    }
    this.#earliestEnd = Number.POSITIVE_INFINITY;
    for (let at = 0; at < this.count; at += 1) this.#setEnd(at, this.#notAfters[at] as number);
  }

  halves(): [Chunk, Chunk] {
    const middle = this.count >> 1;
    return [this.#part(0, middle), this.#part(middle, this.count)];
  }

  startOf(at: number): number {
    return at >= this.count ? this.used : (this.#starts[at] as number);
  }

  /** Where the serial is; where it belongs, as its complement, when it is not here. */
  find(serial: Buffer): number {
    let [low, high] = [0, this.count - 1];
    while (low <= high) {
      const middle = (low + high) >> 1;
      const order = this.compareAt(middle, serial, 0, serial.length);
      if (order === 0) return middle;
      if (order < 0) low = middle + 1;
      else high = middle - 1;
    }
    return ~low;
  }

  /** Without a sign octet. */
  serialAt(at: number): Buffer {
    const cursor = new CrlEntryCursor(this.bytes.subarray(this.startOf(at), this.startOf(at + 1)));
    cursor.next();
    return cursor.serial;
  }

  /** The serial of an entry against one that lies elsewhere, both without a sign octet. */
  compareAt(at: number, other: Buffer, otherStart: number, otherEnd: number): number {
    const { bytes } = this;
    const start = this.startOf(at);
    // SEQUENCE with a length of one or two octets, then the INTEGER.
    const integer = start + ((bytes[start + 1] as number) < 0x80 ? 2 : 3);
    let from = integer + 2;
    const end = from + (bytes[integer + 1] as number);
    if (bytes[from] === 0 && end - from > 1) from += 1;
    const shorter = Math.min(end - from, otherEnd - otherStart);
    for (let octet = 0; octet < shorter; octet += 1) {
      const difference = (bytes[from + octet] as number) - (other[otherStart + octet] as number);
      if (difference !== 0) return difference;
    }
    return end - from - (otherEnd - otherStart);
  }

  #part(from: number, to: number): Chunk {
    const [start, end] = [this.startOf(from), this.startOf(to)];
    const part = new Chunk(Math.ceil((end - start) * SPARE));
    const starts = Array.from(this.#starts.subarray(from, to));
    const notAfters = Buffer.alloc((to - from) * 4);
    for (let at = from; at < to; at += 1) notAfters.writeUInt32BE(this.#notAfters[at] as number, (at - from) * 4);
    part.fill(this.bytes.subarray(start, end), starts, notAfters);
    return part;
  }

  #setEnd(at: number, seconds: number): void {
    this.#notAfters[at] = seconds;
    if (seconds < this.#earliestEnd) this.#earliestEnd = seconds;
  }

  #shift(from: number, by: number): void {
    const starts = this.#starts;
    for (let at = from; at < this.count; at += 1) starts[at] = (starts[at] as number) + by;
  }

  #makeRoom(more: number): void {
    if (this.used + more <= this.bytes.length) return;
    const larger = Buffer.allocUnsafe(Math.ceil((this.used + more) * SPARE));
    this.bytes.copy(larger, 0, 0, this.used);
    this.bytes = larger;
  }
}

/** Some ten kilobytes: half of it is what one change moves. */
const CHUNK_ENTRIES_MAX = 256;
const CHUNK_ENTRIES_LOADED = 192;
const CHUNK_BYTES_MIN = 4_096;
/** Room for a quarter more before a chunk is moved to a larger place. */
const SPARE = 1.25;
