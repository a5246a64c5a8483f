/**
 * DER encoding helpers: each returns one whole TLV. Used to precompute the byte templates of certificates, CRLs and
 * OCSP answers; {@link DerReader} in der-reader.ts is the other direction.
 *
 * @see ITU-T X.690 (02/2021) sections 8, 10, 11
 */
import { OID } from './oids.js';

export const TAG = {
  BOOLEAN: 0x01,
  INTEGER: 0x02,
  BIT_STRING: 0x03,
  OCTET_STRING: 0x04,
  NULL: 0x05,
  OID: 0x06,
  ENUMERATED: 0x0a,
  UTF8_STRING: 0x0c,
  PRINTABLE_STRING: 0x13,
  T61_STRING: 0x14,
  IA5_STRING: 0x16,
  UTC_TIME: 0x17,
  GENERALIZED_TIME: 0x18,
  UNIVERSAL_STRING: 0x1c,
  BMP_STRING: 0x1e,
  SEQUENCE: 0x30,
  SET: 0x31,
} as const;

/** Last instant that X.509 writes as UTCTime (RFC 5280 section 4.1.2.5). */
const UTC_TIME_YEAR_MAX = 2049;

/** One TLV with a single-byte tag; `parts` are concatenated as its content. */
export function tlv(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  let contentBytes = 0;
  for (const part of parts) contentBytes += part.length;
  const headerBytes = 1 + lengthBytes(contentBytes);
  const out = Buffer.allocUnsafe(headerBytes + contentBytes);
  out[0] = tag;
  writeLength(out, 1, contentBytes);
  let offset = headerBytes;
  for (const part of parts) {
    out.set(part, offset);
    offset += part.length;
  }
  return out;
}

/** How many octets the DER length field of `contentBytes` takes (1 to 5). */
export function lengthBytes(contentBytes: number): number {
  if (contentBytes < 0x80) return 1;
  if (contentBytes < 0x100) return 2;
  if (contentBytes < 0x10000) return 3;
  if (contentBytes < 0x1000000) return 4;
  return 5;
}

/** Writes the DER length field at `offset`; returns the offset behind it. */
export function writeLength(out: Buffer, offset: number, contentBytes: number): number {
  const octets = lengthBytes(contentBytes);
  if (octets === 1) {
    out[offset] = contentBytes;
    return offset + 1;
  }
  out[offset] = 0x80 | (octets - 1);
  return out.writeUIntBE(contentBytes, offset + 1, octets - 1);
}

export function sequence(...parts: readonly Uint8Array[]): Buffer {
  return tlv(TAG.SEQUENCE, ...parts);
}

/** A SET with its members as given. One member, or already sorted: DER's SET OF order is the caller's duty. */
export function set(...parts: readonly Uint8Array[]): Buffer {
  return tlv(TAG.SET, ...parts);
}

/**
 * INTEGER, minimal. A Buffer is taken as an unsigned big-endian number (a serial number, a coordinate): leading zeros
 * are dropped and one is put back where the top bit would make it negative.
 */
export function integer(value: Uint8Array | number | bigint): Buffer {
  return tlv(TAG.INTEGER, integerContent(value));
}

export function enumerated(value: number): Buffer {
  return tlv(TAG.ENUMERATED, integerContent(value));
}

export function integerContent(value: Uint8Array | number | bigint): Buffer {
  if (value instanceof Uint8Array) return unsignedContent(value);
  const big = BigInt(value);
  if (big >= 0n) {
    const hex = big.toString(16);
    return unsignedContent(Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex'));
  }
  let octets = 1;
  while (big < -(1n << BigInt(8 * octets - 1))) octets += 1;
  return Buffer.from(
    BigInt.asUintN(8 * octets, big)
      .toString(16)
      .padStart(2 * octets, '0'),
    'hex',
  );
}

function unsignedContent(bytes: Uint8Array): Buffer {
  let first = 0;
  while (first < bytes.length - 1 && bytes[first] === 0) first += 1;
  if (bytes.length === 0) return Buffer.from([0]);
  const minimal = bytes.subarray(first);
  if (((minimal[0] ?? 0) & 0x80) === 0) return Buffer.from(minimal);
  return Buffer.concat([Buffer.from([0]), minimal]);
}

/** OBJECT IDENTIFIER from its dotted form. The same bytes for the same text: nobody writes into them. */
export function oid(dotted: string): Buffer {
  return KNOWN_OIDS.encoded.get(dotted) ?? encodeOid(dotted);
}

function encodeOid(dotted: string): Buffer {
  const arcs = dotted.split('.').map((arc) => BigInt(arc));
  const [first = 0n, second = 0n, ...rest] = arcs;
  const octets: number[] = [];
  for (const arc of [first * 40n + second, ...rest]) {
    const base128: number[] = [Number(arc & 0x7fn)];
    for (let left = arc >> 7n; left > 0n; left >>= 7n) base128.unshift(Number(left & 0x7fn) | 0x80);
    octets.push(...base128);
  }
  return tlv(TAG.OID, Buffer.from(octets));
}

/** Dotted form of the content octets of an OBJECT IDENTIFIER. The caller has checked them (der-reader, der-gate). */
export function decodeOid(content: Uint8Array): string {
  const arcs: string[] = [];
  let arc = 0n;
  for (const octet of content) {
    arc = (arc << 7n) | BigInt(octet & 0x7f);
    if ((octet & 0x80) !== 0) continue;
    if (arcs.length === 0) {
      const first = arc < 80n ? arc / 40n : 2n;
      arcs.push(first.toString(), (arc - first * 40n).toString());
    } else {
      arcs.push(arc.toString());
    }
    arc = 0n;
  }
  return arcs.join('.');
}

/** Dotted form of the content octets of an OBJECT IDENTIFIER that this product names; undefined for any other. */
export function knownOid(content: Buffer): string | undefined {
  return KNOWN_OIDS.decoded.get(content.toString('latin1'));
}

export function octetString(...parts: readonly Uint8Array[]): Buffer {
  return tlv(TAG.OCTET_STRING, ...parts);
}

export function bitString(bits: Uint8Array, unusedBits = 0): Buffer {
  return tlv(TAG.BIT_STRING, Buffer.from([unusedBits]), bits);
}

/** BIT STRING of named bits: trailing zero bits are cut, as DER wants (X.690 section 11.2.2). */
export function namedBits(bitNumbers: readonly number[]): Buffer {
  if (bitNumbers.length === 0) return bitString(Buffer.alloc(0));
  const highest = Math.max(...bitNumbers);
  const octets = Buffer.alloc(Math.floor(highest / 8) + 1);
  for (const bit of bitNumbers) {
    const index = Math.floor(bit / 8);
    octets[index] = (octets[index] ?? 0) | (0x80 >> (bit % 8));
  }
  return bitString(octets, 7 - (highest % 8));
}

export function utf8String(text: string): Buffer {
  return tlv(TAG.UTF8_STRING, Buffer.from(text, 'utf8'));
}

export function ia5String(text: string): Buffer {
  return tlv(TAG.IA5_STRING, Buffer.from(text, 'latin1'));
}

export function printableString(text: string): Buffer {
  return tlv(TAG.PRINTABLE_STRING, Buffer.from(text, 'latin1'));
}

export function boolean(value: boolean): Buffer {
  return Buffer.from([TAG.BOOLEAN, 1, value ? 0xff : 0x00]);
}

export function nullValue(): Buffer {
  return Buffer.from([TAG.NULL, 0]);
}

/** GeneralizedTime, UTC, whole seconds: a Date's milliseconds are dropped, fractions are forbidden in X.509 and OCSP. */
export function generalizedTime(at: Date): Buffer {
  return tlv(TAG.GENERALIZED_TIME, Buffer.from(`${digits(at, 4)}Z`, 'latin1'));
}

/** Time of a certificate or CRL: UTCTime through 2049, GeneralizedTime after (RFC 5280 section 4.1.2.5). */
export function x509Time(at: Date): Buffer {
  if (at.getUTCFullYear() > UTC_TIME_YEAR_MAX || at.getUTCFullYear() < 1950) return generalizedTime(at);
  return tlv(TAG.UTC_TIME, Buffer.from(`${digits(at, 2)}Z`, 'latin1'));
}

function digits(at: Date, yearDigits: 2 | 4): string {
  const iso = at.toISOString(); // 2026-11-24T23:58:00.000Z; years beyond 9999 have a sign and six digits
  if (iso.length !== 24) throw new RangeError('a certificate time lies between the years 0 and 9999');
  return (
    iso.slice(4 - yearDigits, 4) +
    iso.slice(5, 7) +
    iso.slice(8, 10) +
    iso.slice(11, 13) +
    iso.slice(14, 16) +
    iso.slice(17, 19)
  );
}

/** `[n] EXPLICIT`: constructed context tag round whole TLVs. */
export function explicitTag(tagNumber: number, ...parts: readonly Uint8Array[]): Buffer {
  return tlv(0xa0 | tagNumber, ...parts);
}

/** `[n] IMPLICIT` of a primitive type: context tag round bare content octets. */
export function implicitTag(tagNumber: number, content: Uint8Array): Buffer {
  return tlv(0x80 | tagNumber, content);
}

/** Reading or writing one takes a dozen big numbers, and a certificate has some twenty: those that we name are kept ready. */
const KNOWN_OIDS = ((): { encoded: ReadonlyMap<string, Buffer>; decoded: ReadonlyMap<string, string> } => {
  const encoded = new Map(Object.values(OID).map((dotted) => [dotted, encodeOid(dotted)]));
  const decoded = new Map([...encoded].map(([dotted, der]) => [der.toString('latin1', 2), dotted]));
  return { encoded, decoded };
})();
