import { TAG } from './der.js';
import { badDer, isOidContent } from './der-reader.js';

/** Bounds of one upload. All three are hard: the walk stops at the first that is passed. */
export interface DerLimits {
  readonly bytesMax: number;
  readonly depthMax: number;
  readonly elementsMax: number;
}

/**
 * Walks the whole TLV tree once and refuses whatever is BER but not DER, before any other parser sees the bytes:
 * indefinite and padded lengths, padded INTEGER and OID, BOOLEAN not 00/FF, BIT STRING padding, universal types in the
 * wrong form, multi-byte tags, bytes after the end. O(n) time, no recursion, memory bound by `depthMax`.
 *
 * Deliberately absent: the order of SET OF members, which deployed makers' names break and no decision of ours rests on,
 * and the inside of OCTET STRINGs, which the reader of each extension checks with the same strictness.
 *
 * @throws FemtoError BAD_REQUEST
 * @see ITU-T X.690 sections 8, 10, 11
 */
export function checkDer(bytes: Buffer, limits: DerLimits): void {
  const { bytesMax, depthMax, elementsMax } = limits;
  if (bytes.length > bytesMax) throw badDer(WHAT, `is larger than ${bytesMax} bytes`);
  if (bytes.length < 2) throw badDer(WHAT, 'is empty');
  const ends = new Int32Array(depthMax + 1);
  let depth = 0;
  ends[0] = bytes.length;
  let offset = 0;
  let elements = 0;

  while (offset < bytes.length) {
    while (depth > 0 && offset === ends[depth]) depth -= 1;
    const limit = ends[depth] ?? 0;
    if (depth === 0 && offset > 0) throw badDer(WHAT, 'has bytes after its end');
    elements += 1;
    if (elements > elementsMax) throw badDer(WHAT, `has more than ${elementsMax} elements`);

    const tag = bytes[offset] ?? 0;
    if (tag === 0 || (tag & 0x1f) === 0x1f) throw badDer(WHAT, 'has a tag that X.509 does not use');
    const first = bytes[offset + 1];
    if (first === undefined || offset + 2 > limit) throw badDer(WHAT, 'ends in the middle of an element');
    let contentStart = offset + 2;
    let contentBytes = first;
    if (first >= 0x80) {
      const octets = first & 0x7f;
      if (octets === 0 || octets > 4) throw badDer(WHAT, 'has an indefinite or oversized length');
      contentStart += octets;
      if (contentStart > limit) throw badDer(WHAT, 'ends in the middle of a length');
      contentBytes = bytes.readUIntBE(offset + 2, octets);
      if (contentBytes < 0x80 || bytes[offset + 2] === 0) throw badDer(WHAT, 'has a padded length');
    }
    const end = contentStart + contentBytes;
    if (end > limit) throw badDer(WHAT, 'has an element longer than what holds it');

    if ((tag & 0xc0) === 0) checkUniversal(tag, bytes, contentStart, end);
    if ((tag & 0x20) !== 0) {
      if (depth === depthMax) throw badDer(WHAT, `nests deeper than ${depthMax}`);
      depth += 1;
      ends[depth] = end;
      offset = contentStart;
    } else {
      offset = end;
    }
  }
}

const WHAT = 'message';
const PRIMITIVE_SEQUENCE = 0x10;
const PRIMITIVE_SET = 0x11;

/** X.690 fixes the form of each universal type; DER forbids the constructed string forms of BER (section 10.2). */
function checkUniversal(tag: number, bytes: Buffer, start: number, end: number): void {
  const contentBytes = end - start;
  const first = bytes[start] ?? 0;
  switch (tag) {
    case TAG.SEQUENCE:
    case TAG.SET:
      return;
    case TAG.BOOLEAN:
      if (contentBytes !== 1 || (first !== 0 && first !== 0xff)) throw badDer(WHAT, 'has a BOOLEAN not 00 or FF');
      return;
    case TAG.INTEGER:
    case TAG.ENUMERATED: {
      const second = bytes[start + 1] ?? 0;
      if (contentBytes === 0) throw badDer(WHAT, 'has an empty INTEGER');
      if (contentBytes > 1 && ((first === 0 && second < 0x80) || (first === 0xff && second >= 0x80))) {
        throw badDer(WHAT, 'has a padded INTEGER');
      }
      return;
    }
    case TAG.BIT_STRING:
      if (contentBytes === 0 || first > 7 || (contentBytes === 1 && first !== 0)) {
        throw badDer(WHAT, 'has a malformed BIT STRING');
      }
      if (((bytes[end - 1] ?? 0) & ((1 << first) - 1)) !== 0 && contentBytes > 1) {
        throw badDer(WHAT, 'has padding bits set in a BIT STRING');
      }
      return;
    case TAG.NULL:
      if (contentBytes !== 0) throw badDer(WHAT, 'has a NULL with content');
      return;
    case TAG.OID:
      if (!isOidContent(bytes.subarray(start, end))) throw badDer(WHAT, 'has a malformed OBJECT IDENTIFIER');
      return;
    case PRIMITIVE_SEQUENCE:
    case PRIMITIVE_SET:
      throw badDer(WHAT, 'has a constructed type in primitive form');
    default:
      if ((tag & 0x20) !== 0) throw badDer(WHAT, 'has a primitive type in constructed form');
  }
}
