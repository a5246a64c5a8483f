import { integer, sequence, TAG } from './der.js';
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
  const r = rs.subarray(0, rs.length / 2);
  const s = rs.subarray(rs.length / 2);
  if (isZero(r) || isZero(s)) throw badDer('raw signature', 'has an r or s of zero');
  return sequence(integer(r), integer(s));
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

function isZero(bytes: Buffer): boolean {
  return bytes.every((octet) => octet === 0);
}
