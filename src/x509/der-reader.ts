import { FemtoError } from '../platform/errors.js';
import { decodeOid, knownOid, TAG } from './der.js';

/** One TLV found in a larger buffer; nothing is copied. */
export interface DerElement {
  readonly tag: number;
  /** Tag, length and content. */
  readonly der: Buffer;
  readonly content: Buffer;
}

/**
 * Reads the children of one constructed element, in order, refusing whatever DER does not allow at that level.
 * Every method throws BAD_REQUEST that names `what` it was reading; offsets are never guessed past a fault.
 */
export class DerReader {
  #offset: number;
  readonly #bytes: Buffer;
  readonly #what: string;

  constructor(content: Buffer, what: string) {
    this.#bytes = content;
    this.#offset = 0;
    this.#what = what;
  }

  get atEnd(): boolean {
    return this.#offset >= this.#bytes.length;
  }

  /** Tag of the next element; undefined at the end. */
  peekTag(): number | undefined {
    return this.#bytes[this.#offset];
  }

  next(): DerElement {
    const bytes = this.#bytes;
    const start = this.#offset;
    const tag = bytes[start];
    const first = bytes[start + 1];
    if (tag === undefined || first === undefined) return this.fail('ends in the middle of an element');
    if (tag === 0 || (tag & 0x1f) === 0x1f) return this.fail('has a tag that X.509 does not use');
    let contentStart = start + 2;
    let contentBytes = first;
    if (first >= 0x80) {
      const octets = first & 0x7f;
      // 0x80 is BER's indefinite length; five octets and more cannot be true within our size limits.
      if (octets === 0 || octets > 4) return this.fail('has an indefinite or oversized length');
      contentStart += octets;
      if (contentStart > bytes.length) return this.fail('ends in the middle of a length');
      contentBytes = bytes.readUIntBE(start + 2, octets);
      if (contentBytes < 0x80 || bytes[start + 2] === 0) return this.fail('has a padded length');
    }
    const end = contentStart + contentBytes;
    if (end > bytes.length) return this.fail('is shorter than its length says');
    this.#offset = end;
    return new Element(tag, bytes, start, contentStart, end);
  }

  expect(tag: number, what = this.#what): DerElement {
    if (this.peekTag() !== tag) return this.fail(`has no ${what} where one must be`);
    return this.next();
  }

  /** The next element where it has this tag; undefined, and nothing consumed, otherwise. */
  optional(tag: number): DerElement | undefined {
    return this.peekTag() === tag ? this.next() : undefined;
  }

  /** A reader over the content of the next element, which must have this tag. */
  enter(tag: number, what = this.#what): DerReader {
    return new DerReader(this.expect(tag, what).content, what);
  }

  /** Refuses trailing elements. */
  end(): void {
    if (!this.atEnd) this.fail('has bytes after its last field');
  }

  fail(fault: string): never {
    throw badDer(this.#what, fault);
  }
}

/** Its views are made when they are asked for: most elements are asked for one of the two, and a view costs more than a look. */
class Element implements DerElement {
  constructor(
    readonly tag: number,
    private readonly bytes: Buffer,
    private readonly start: number,
    private readonly contentStart: number,
    private readonly end: number,
  ) {}

  get der(): Buffer {
    return this.bytes.subarray(this.start, this.end);
  }

  get content(): Buffer {
    return this.bytes.subarray(this.contentStart, this.end);
  }
}

/** A reader over the content of `der`, which must be exactly one element with this tag. */
export function readDer(der: Buffer, tag: number, what: string): DerReader {
  const outer = new DerReader(der, what);
  const element = outer.expect(tag, what);
  outer.end();
  return new DerReader(element.content, what);
}

export function badDer(what: string, fault: string): FemtoError {
  return new FemtoError('BAD_REQUEST', `The ${what} ${fault}; send it as strict DER.`, { facts: { what, fault } });
}

/** Content of an INTEGER as a big number. Refuses padding (X.690 section 8.3.2). */
export function integerValue(content: Buffer, what: string): bigint {
  checkMinimalInteger(content, what);
  const unsigned = BigInt(`0x${content.toString('hex')}`);
  return ((content[0] ?? 0) & 0x80) === 0 ? unsigned : unsigned - (1n << BigInt(8 * content.length));
}

/** Content of a small non-negative INTEGER or ENUMERATED. */
export function smallIntegerValue(content: Buffer, what: string): number {
  checkMinimalInteger(content, what);
  if (content.length > 4 || ((content[0] ?? 0) & 0x80) !== 0) throw badDer(what, 'is negative or far too large');
  return content.readUIntBE(0, content.length);
}

export function checkMinimalInteger(content: Buffer, what: string): void {
  const [first, second] = content;
  if (first === undefined) throw badDer(what, 'has an empty INTEGER');
  if (second === undefined) return;
  if ((first === 0 && second < 0x80) || (first === 0xff && second >= 0x80)) throw badDer(what, 'has a padded INTEGER');
}

/**
 * Magnitude of an INTEGER that is not negative, without the sign octet: how we keep serial numbers. Zero, which RFC 5280
 * forbids and makers' own roots have, is one octet 00; our lint asks for sixteen.
 */
export function unsignedMagnitude(content: Buffer, what: string): Buffer {
  checkMinimalInteger(content, what);
  if (((content[0] ?? 0) & 0x80) !== 0) throw badDer(what, 'is negative');
  return content[0] === 0 && content.length > 1 ? content.subarray(1) : content;
}

export function booleanValue(content: Buffer, what: string): boolean {
  if (content.length !== 1 || (content[0] !== 0 && content[0] !== 0xff))
    throw badDer(what, 'has a BOOLEAN not 00 or FF');
  return content[0] === 0xff;
}

export function oidValue(content: Buffer, what: string): string {
  const known = knownOid(content);
  if (known !== undefined) return known;
  if (!isOidContent(content)) throw badDer(what, 'has a malformed OBJECT IDENTIFIER');
  return decodeOid(content);
}

/** Arcs end inside the content, are not padded, and are few and short enough to be real. */
export function isOidContent(content: Uint8Array): boolean {
  const last = content[content.length - 1];
  if (last === undefined || (last & 0x80) !== 0 || content.length > 64) return false;
  let arcStart = true;
  for (const octet of content) {
    if (arcStart && octet === 0x80) return false;
    arcStart = (octet & 0x80) === 0;
  }
  return true;
}

/** Content of a BIT STRING that holds whole octets: keys and signatures. */
export function wholeOctets(content: Buffer, what: string): Buffer {
  if (content[0] !== 0) throw badDer(what, 'has a BIT STRING that is not whole octets');
  return content.subarray(1);
}

/** Set bit numbers of a named-bit BIT STRING, trailing zero bits refused (X.690 section 11.2.2). */
export function namedBitNumbers(content: Buffer, what: string): number[] {
  const unused = content[0];
  const last = content[content.length - 1];
  if (unused === undefined || last === undefined || unused > 7) throw badDer(what, 'has a malformed BIT STRING');
  if (content.length === 1) {
    if (unused !== 0) throw badDer(what, 'has a malformed BIT STRING');
    return [];
  }
  if ((last & ((1 << unused) - 1)) !== 0 || (last & (1 << unused)) === 0) {
    throw badDer(what, 'has padding bits or trailing zero bits in a BIT STRING');
  }
  const bits: number[] = [];
  for (let bit = 0; bit < (content.length - 1) * 8; bit += 1) {
    if (((content[1 + (bit >> 3)] ?? 0) & (0x80 >> (bit & 7))) !== 0) bits.push(bit);
  }
  return bits;
}

const TIME_SHAPE = /^(\d{4})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])([01]\d|2[0-3])([0-5]\d)([0-5]\d)Z$/;

/** UTCTime or GeneralizedTime as X.509 allows them: UTC, seconds present, no fraction, a day that exists. */
export function timeValue(element: DerElement, what: string): Date {
  const text = element.content.toString('latin1');
  let full = text;
  if (element.tag === TAG.UTC_TIME) full = (Number(text.slice(0, 2)) >= 50 ? '19' : '20') + text;
  else if (element.tag !== TAG.GENERALIZED_TIME) throw badDer(what, 'has no time where one must be');
  const match = TIME_SHAPE.exec(full);
  if (match === null) throw badDer(what, 'has a time that is not YYMMDDhhmmssZ or YYYYMMDDhhmmssZ');
  const [, year, month, day, hour, minute, second] = match;
  const at = new Date(`${year}-${month}-${day}T${hour}:${minute}:${second}.000Z`);
  // 31 February parses as a March day; the day must survive the round trip.
  if (Number.isNaN(at.getTime()) || at.getUTCDate() !== Number(day))
    throw badDer(what, 'has a day that does not exist');
  return at;
}
