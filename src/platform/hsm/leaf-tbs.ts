/**
 * The signer's own reading of a TBSCertificate, kept apart from the issuing side's parser on purpose: two readers that
 * must agree. It runs before every signature, so it cuts slices and compares bytes where it can.
 */
import { TAG } from '../../x509/der.js';
import { Refusal } from './refusal.js';

export interface LeafTbs {
  /** Magnitude without its sign octet. */
  readonly serial: Buffer;
  readonly signatureAlgorithmDer: Buffer;
  readonly issuerDer: Buffer;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly subjectDer: Buffer;
  readonly spkiDer: Buffer;
  /** Extension values by {@link extensionKey}. */
  readonly extensions: ReadonlyMap<string, { readonly critical: boolean; readonly value: Buffer }>;
}

/** Ours are under 1 KiB. */
const TBS_BYTES_MAX = 16_384;
const ARC_2_5_29 = Array.from({ length: 0x80 }, (_none, last) => Buffer.from([0x55, 0x1d, last]).toString('latin1'));
const VERSION_3 = Buffer.from('a003020102', 'hex');

/** @throws Refusal BAD_REQUEST */
export function readLeafTbs(tbs: Buffer): LeafTbs {
  if (tbs.length > TBS_BYTES_MAX) throw bad(`is larger than ${TBS_BYTES_MAX} bytes`);
  const walk = new DerWalk(tbs);
  walk.enter(TAG.SEQUENCE);
  if (!walk.whole(0xa0).equals(VERSION_3)) throw bad('is not version 3');
  const serial = positiveInteger(walk.content(TAG.INTEGER));
  const signatureAlgorithmDer = walk.whole(TAG.SEQUENCE);
  const issuerDer = walk.whole(TAG.SEQUENCE);
  const afterValidity = walk.enter(TAG.SEQUENCE);
  const notBeforeMs = walk.time();
  const notAfterMs = walk.time();
  walk.leave(afterValidity);
  const subjectDer = walk.whole(TAG.SEQUENCE);
  const spkiDer = walk.whole(TAG.SEQUENCE);
  const extensions = readExtensionMap(walk.content(0xa3));
  walk.leave(tbs.length);
  return { serial, signatureAlgorithmDer, issuerDer, notBeforeMs, notAfterMs, subjectDer, spkiDer, extensions };
}

/** Extensions from the content of their explicit tag; one of a kind (RFC 5280 section 4.2). */
export function readExtensionMap(wrapped: Buffer): Map<string, { critical: boolean; value: Buffer }> {
  const walk = new DerWalk(wrapped);
  walk.enter(TAG.SEQUENCE);
  const extensions = new Map<string, { critical: boolean; value: Buffer }>();
  while (walk.at < wrapped.length) {
    const afterExtension = walk.enter(TAG.SEQUENCE);
    const key = walk.extensionOid();
    const critical = walk.peek() === TAG.BOOLEAN;
    // DER forbids an explicit FALSE, which is the default.
    if (critical && walk.text(TAG.BOOLEAN) !== '\xff') throw bad('has a BOOLEAN that is not DER');
    const value = walk.content(TAG.OCTET_STRING);
    walk.leave(afterExtension);
    if (extensions.has(key)) throw bad('has one extension twice');
    extensions.set(key, { critical, value });
  }
  walk.leave(wrapped.length);
  return extensions;
}

/** Walks DER by offsets: a certificate has forty elements, and a slice of each would cost more than reading them. */
class DerWalk {
  at = 0;
  private start = 0;
  private end = 0;

  constructor(private readonly bytes: Buffer) {}

  peek(): number | undefined {
    return this.bytes[this.at];
  }

  /** Goes inside the next element; returns its end, for {@link leave}. */
  enter(tag: number): number {
    this.header(tag);
    this.at = this.start;
    return this.end;
  }

  /** Everything of the element that was entered has been read. */
  leave(end: number): void {
    if (this.at !== end) throw bad('has elements that do not fit their lengths');
  }

  /** Tag, length and content of the next element. */
  whole(tag: number): Buffer {
    const from = this.at;
    this.header(tag);
    this.at = this.end;
    return this.bytes.subarray(from, this.end);
  }

  content(tag: number): Buffer {
    this.header(tag);
    this.at = this.end;
    return this.bytes.subarray(this.start, this.end);
  }

  /** Key of {@link extensionKey}. */
  extensionOid(): string {
    this.header(TAG.OID);
    const { bytes, start, end } = this;
    this.at = end;
    // One string for each OID 2.5.29.x, made once: reading and hashing nine of them is a fifth of the whole.
    const known = end - start === 3 && bytes[start] === 0x55 && bytes[start + 1] === 0x1d;
    return (known ? ARC_2_5_29[bytes[start + 2] ?? 0] : undefined) ?? bytes.toString('latin1', start, end);
  }

  text(tag: number): string {
    this.header(tag);
    this.at = this.end;
    return this.bytes.toString('latin1', this.start, this.end);
  }

  time(): number {
    const tag = this.peek() ?? 0;
    return timeMs(tag, this.content(tag));
  }

  /** Reads tag and length; low tag numbers and minimal definite lengths only (X.690 section 10.1). */
  private header(tag: number): void {
    const { bytes, at } = this;
    const first = bytes[at + 1];
    if (bytes[at] !== tag || first === undefined)
      throw bad(`has no element with tag ${tag.toString(16)} where one must be`);
    let start = at + 2;
    let length = first;
    if (first >= 0x80) {
      const octets = first & 0x7f;
      if (octets === 0 || octets > 4 || start + octets > bytes.length) throw bad('has a length that is not DER');
      length = bytes.readUIntBE(start, octets);
      if (length < 0x80 || bytes[start] === 0) throw bad('has a padded length');
      start += octets;
    }
    this.start = start;
    this.end = start + length;
    if (this.end > bytes.length) throw bad('is shorter than its length says');
  }
}

function positiveInteger(content: Buffer): Buffer {
  const [first, second] = content;
  const isPadded = first === 0 && second !== undefined && second < 0x80;
  if (first === undefined || first >= 0x80 || isPadded)
    throw bad('has a serial number that is not a positive DER INTEGER');
  return first === 0 ? content.subarray(1) : content;
}

/** Map key of an extension: the OID's content octets as latin1, so that the hot path decodes no OIDs. */
export function extensionKey(oidDer: Buffer): string {
  return oidDer.subarray(2).toString('latin1');
}

/**
 * Milliseconds of a UTCTime or GeneralizedTime in the form X.509 allows (RFC 5280 section 4.1.2.5).
 * @throws Refusal BAD_REQUEST
 */
export function timeMs(tag: number, content: Buffer): number {
  const yearDigits = tag === TAG.UTC_TIME ? 2 : 4;
  if ((tag !== TAG.UTC_TIME && tag !== TAG.GENERALIZED_TIME) || content.length !== yearDigits + 11) {
    throw bad('has a time that is not YYMMDDhhmmssZ or YYYYMMDDhhmmssZ');
  }
  if (content[content.length - 1] !== 0x5a) throw bad('has a time that is not in Z');
  let year = number(content, 0, yearDigits);
  if (yearDigits === 2) year += year >= 50 ? 1_900 : 2_000;
  const month = number(content, yearDigits, 2);
  const day = number(content, yearDigits + 2, 2);
  const hour = number(content, yearDigits + 4, 2);
  const minute = number(content, yearDigits + 6, 2);
  const second = number(content, yearDigits + 8, 2);
  // Date.UTC rolls too large parts over: a verifier would refuse such a time or read another one.
  if (hour > 23 || minute > 59 || second > 59) throw bad('has a time of day that does not exist');
  // So does 31 February, into March.
  if (month < 1 || month > 12 || day < 1 || day > daysOf(year, month)) throw bad('has a day that does not exist');
  return Date.UTC(year, month - 1, day, hour, minute, second);
}

function daysOf(year: number, month: number): number {
  const isLeap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
  return month === 2 && isLeap ? 29 : (DAYS[month - 1] ?? 0);
}

const DAYS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

function number(content: Buffer, at: number, digits: number): number {
  let value = 0;
  for (let index = at; index < at + digits; index += 1) {
    const digit = (content[index] ?? 0) - 0x30;
    if (digit < 0 || digit > 9) throw bad('has a time that is not all digits');
    value = value * 10 + digit;
  }
  return value;
}

function bad(fault: string): Refusal {
  return new Refusal('BAD_REQUEST', `The TBS ${fault}; the issuing side built it wrongly.`);
}
