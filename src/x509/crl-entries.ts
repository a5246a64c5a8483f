import { CRL_REASONS } from './crl-reason.js';
import { DerReader } from './der-reader.js';
import { type CrlEntry, readCrlEntry } from './read-crl-entry.js';

/**
 * Walks the content of revokedCertificates by offsets. An entry in the form that we write (serial, UTCTime, no extension or
 * the reason alone) costs some twenty nanoseconds and no object; any other is read by {@link readCrlEntry}, with the same
 * outcome. A million entries are a twentieth of a second in a process that has others to answer.
 */
export class CrlEntryCursor {
  /** Of the entry that the last {@link next} came to: where it starts and ends, and its serial without the sign octet. */
  start = 0;
  end = 0;
  serialStart = 0;
  serialEnd = 0;
  /** RFC 5280 section 5.3.1 code; 0 also where none is written. */
  reasonCode = 0;
  /** False: in another form than ours; {@link entry} says what it is. */
  isPlain = true;
  readonly #view: DataView;
  #lastSerialStart = 0;
  #lastSerialEnd = 0;
  #isFirst = true;
  #origin = 0;

  constructor(readonly bytes: Buffer) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  /** False at the end. @throws FemtoError BAD_REQUEST for an entry that is not strict DER */
  next(): boolean {
    const { bytes, end: at } = this;
    if (at >= bytes.length) return false;
    this.#isFirst = at === this.#origin;
    this.start = at;
    this.#lastSerialStart = this.serialStart;
    this.#lastSerialEnd = this.serialEnd;
    this.isPlain = this.#readPlain(at);
    if (!this.isPlain) this.#readAny(at);
    return true;
  }

  /** {@link next} comes to the entry that starts there; what stands before it counts as never seen. */
  moveTo(start: number): void {
    this.end = start;
    this.#origin = start;
  }

  /** The entry as an object. */
  entry(): CrlEntry {
    return readCrlEntry(new DerReader(this.bytes.subarray(this.start, this.end), WHAT));
  }

  get serial(): Buffer {
    return this.bytes.subarray(this.serialStart, this.serialEnd);
  }

  /** By octets, a shorter serial before a longer one that begins with it: as PostgreSQL orders them. */
  compareSerial(other: CrlEntryCursor): number {
    return this.#compareWith(other, other.serialStart, other.serialEnd);
  }

  /** Comes this entry's serial after that of the one before it? True for the first. */
  isInOrder(): boolean {
    return this.#isFirst || this.#compareWith(this, this.#lastSerialStart, this.#lastSerialEnd) > 0;
  }

  #compareWith(other: CrlEntryCursor, start: number, end: number): number {
    const { serialStart, serialEnd } = this;
    if (serialEnd - serialStart !== OUR_SERIAL_BYTES || end - start !== OUR_SERIAL_BYTES) {
      return this.bytes.compare(other.bytes, start, end, serialStart, serialEnd);
    }
    const [mine, others] = [this.#view, other.#view];
    for (let word = 0; word < OUR_SERIAL_BYTES; word += 4) {
      const difference = mine.getUint32(serialStart + word) - others.getUint32(start + word);
      if (difference !== 0) return difference;
    }
    return 0;
  }

  #readPlain(at: number): boolean {
    const { bytes } = this;
    const length = bytes[at + 1] as number;
    const end = at + 2 + length;
    // The shortest entry that is plain has 15 octets of time and 3 of serial; all that is read below lies before `end`.
    if (bytes[at] !== 0x30 || length < 18 || length >= 0x80 || end > bytes.length || bytes[at + 2] !== 0x02)
      return false;
    const octets = bytes[at + 3] as number;
    const timeAt = at + 4 + octets;
    const left = end - timeAt;
    if (octets === 0 || octets > SERIAL_OCTETS_MAX || (left !== TIME_BYTES && left !== TIME_BYTES + REASON_BYTES)) {
      return false;
    }
    const first = bytes[at + 4] as number;
    if (first >= 0x80 || (first === 0 && octets > 1 && (bytes[at + 5] as number) < 0x80)) return false;
    if (!isUtcTime(this.#view, timeAt)) return false;
    this.reasonCode = 0;
    if (left !== TIME_BYTES && !this.#readReason(timeAt + TIME_BYTES)) return false;
    this.serialStart = first === 0 && octets > 1 ? at + 5 : at + 4;
    this.serialEnd = timeAt;
    this.end = end;
    return true;
  }

  #readReason(at: number): boolean {
    const view = this.#view;
    if (view.getUint32(at) !== 0x300c300a || view.getUint32(at + 4) !== 0x0603551d) return false;
    if (view.getUint32(at + 8) !== 0x1504030a || this.bytes[at + 12] !== 0x01) return false;
    this.reasonCode = this.bytes[at + 13] as number;
    // `unspecified` may not be written, and 7 is none: both are for the reader of any form to judge.
    return this.reasonCode >= 1 && this.reasonCode <= 10 && this.reasonCode !== 7;
  }

  #readAny(at: number): void {
    const { der, serial, reason } = readCrlEntry(new DerReader(this.bytes.subarray(at), WHAT));
    this.serialStart = serial.byteOffset - this.bytes.byteOffset;
    this.serialEnd = this.serialStart + serial.length;
    this.reasonCode = CRL_REASONS[reason];
    this.end = at + der.length;
  }
}

/** The entries in the order they stand. */
export function* crlEntries(crl: { readonly entriesDer: Buffer }): Generator<CrlEntry> {
  const list = new DerReader(crl.entriesDer, WHAT);
  while (!list.atEnd) yield readCrlEntry(list);
}

/**
 * What one list has and another has not, both in order of serial: a merge, in one pass over each.
 *
 * @param seen  called with the cursor on the entry, which moves on afterwards: copy what you keep
 */
export function compareEntries(
  previous: Buffer,
  next: Buffer,
  seen: {
    readonly onlyInPrevious?: (entry: CrlEntryCursor) => void;
    readonly onlyInNext?: (entry: CrlEntryCursor) => void;
    /** In both; the date or the reason may differ. */
    readonly inBoth?: (previous: CrlEntryCursor, next: CrlEntryCursor) => void;
  },
): void {
  const [a, b] = [new CrlEntryCursor(previous), new CrlEntryCursor(next)];
  let [hasA, hasB] = [a.next(), b.next()];
  while (hasA || hasB) {
    const order = !hasA ? 1 : !hasB ? -1 : a.compareSerial(b);
    if (order < 0) seen.onlyInPrevious?.(a);
    else if (order > 0) seen.onlyInNext?.(b);
    else seen.inBoth?.(a, b);
    if (order <= 0) hasA = a.next();
    if (order >= 0) hasB = b.next();
  }
}

/** The same entries in order of serial: as they stand where they are, which ours always are. */
export function inSerialOrder(entriesDer: Buffer): Buffer {
  const cursor = new CrlEntryCursor(entriesDer);
  let isOrdered = true;
  while (isOrdered && cursor.next()) isOrdered = cursor.isInOrder();
  if (isOrdered) return entriesDer;
  const entries = [...crlEntries({ entriesDer })].sort((a, b) => a.serial.compare(b.serial));
  return Buffer.concat(entries.map(({ der }) => der));
}

/** `YYMMDDhhmmssZ`, four digits at a time. 29 February is left to the reader of any form, which knows the leap years. */
function isUtcTime(view: DataView, at: number): boolean {
  if (view.getUint16(at) !== 0x170d || view.getUint8(at + 14) !== 0x5a) return false;
  const yearMonth = view.getInt32(at + 2);
  const dayHour = view.getInt32(at + 6);
  const minuteSecond = view.getInt32(at + 10);
  if (!areDigits(yearMonth) || !areDigits(dayHour) || !areDigits(minuteSecond)) return false;
  const month = lowPair(yearMonth);
  const day = highPair(dayHour);
  if (month < 1 || month > 12 || day < 1 || day > (DAYS_OF_MONTH[month - 1] as number)) return false;
  return lowPair(dayHour) < 24 && highPair(minuteSecond) < 60 && lowPair(minuteSecond) < 60;
}

/** Each octet is 30 to 39, and stays below 40 when six is added. */
function areDigits(word: number): boolean {
  return (((word & HIGH_NIBBLES) ^ ZEROS) | (((word + SIXES) & HIGH_NIBBLES) ^ ZEROS)) === 0;
}

function highPair(digits: number): number {
  return ((digits >> 24) & 15) * 10 + ((digits >> 16) & 15);
}

function lowPair(digits: number): number {
  return ((digits >> 8) & 15) * 10 + (digits & 15);
}

const HIGH_NIBBLES = 0xf0f0f0f0 | 0;
const ZEROS = 0x30303030;
const SIXES = 0x06060606;
const DAYS_OF_MONTH = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
const WHAT = 'CRL';
const OUR_SERIAL_BYTES = 16;
const SERIAL_OCTETS_MAX = 21;
const TIME_BYTES = 15;
const REASON_BYTES = 14;
