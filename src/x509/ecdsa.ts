import { TAG } from './der.js';
import { badDer, checkMinimalInteger, readDer } from './der-reader.js';

/** Bytes of r or s on each curve: the `size` of {@link derToRaw}. */
export const COORDINATE_BYTES = { 'P-256': 32, 'P-384': 48 } as const;

/**
 * DER Ecdsa-Sig-Value from a token's raw r‖s (PKCS#11 CKM_ECDSA, IEEE P1363). The one adapter behind every HSM
 * signature.
 *
 * @throws FemtoError BAD_REQUEST for a length no curve of ours gives, and for r or s of zero
 * @see RFC 3279 section 2.2.3
 */
export function rawToDer(rs: Buffer): Buffer {
  if (rs.length !== 64 && rs.length !== 96) throw badDer('raw signature', `has ${rs.length} bytes, not 64 or 96`);
  // Written straight into one buffer: this runs for every signature of the token.
  const size = rs.length / 2;
  const rStart = firstOctet(rs, 0, size);
  const sStart = firstOctet(rs, size, rs.length);
  const rBytes = size - rStart + signOctet(rs, rStart);
  const sBytes = rs.length - sStart + signOctet(rs, sStart);
  // Two integers of at most 49 octets: every length fits into one byte.
  const out = Buffer.allocUnsafe(2 + 2 + rBytes + 2 + sBytes);
  out[0] = TAG.SEQUENCE;
  out[1] = out.length - 2;
  writeInteger(out, 2, rBytes, rs, rStart, size);
  writeInteger(out, 4 + rBytes, sBytes, rs, sStart, rs.length);
  return out;
}

/**
 * Raw r‖s from a DER Ecdsa-Sig-Value.
 *
 * @param size  bytes of one coordinate: 32 for P-256, 48 for P-384
 * @throws FemtoError BAD_REQUEST for anything but two minimal positive integers of at most that size
 */
export function derToRaw(der: Buffer, size: number): Buffer {
  const reader = readDer(der, TAG.SEQUENCE, 'signature');
  const raw = Buffer.alloc(2 * size);
  for (const start of [0, size]) {
    const content = reader.expect(TAG.INTEGER, 'signature integer').content;
    checkMinimalInteger(content, 'signature');
    const magnitude = content[0] === 0 ? content.subarray(1) : content;
    if (((content[0] ?? 0) & 0x80) !== 0 || magnitude.length > size || magnitude.length === 0) {
      throw badDer('signature', 'has an r or s outside its curve');
    }
    magnitude.copy(raw, start + size - magnitude.length);
  }
  reader.end();
  return raw;
}

/** Offset of the first octet that is not zero. */
function firstOctet(rs: Buffer, start: number, end: number): number {
  for (let at = start; at < end; at += 1) if (rs[at] !== 0) return at;
  throw badDer('raw signature', 'has an r or s of zero');
}

/** One where DER wants a zero octet before a high bit, else none. */
function signOctet(rs: Buffer, at: number): 0 | 1 {
  return ((rs[at] ?? 0) & 0x80) === 0 ? 0 : 1;
}

function writeInteger(out: Buffer, at: number, bytes: number, rs: Buffer, start: number, end: number): void {
  out[at] = TAG.INTEGER;
  out[at + 1] = bytes;
  out[at + 2] = 0;
  rs.copy(out, at + 2 + bytes - (end - start), start, end);
}
