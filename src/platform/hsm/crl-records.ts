/** The entries of a CRL as records of one size. No objects: there may be a million. */
import { CrlEntryCursor } from '../../x509/crl-entries.js';
import { RECORD_BYTES } from './crl-memory.js';
import { deny } from './refusal.js';

/** SEQUENCE { INTEGER of one octet, UTCTime }. */
const ENTRY_BYTES_MIN = 20;

export const REASON_HOLD = 6;
export const REASON_REMOVE = 8;

export interface CrlRecords {
  /** {@link RECORD_BYTES} an entry, in the order of the CRL: serial magnitudes, left-padded. */
  readonly serials: Buffer;
  /** One octet an entry; 0 where none is written. */
  readonly reasons: Buffer;
}

/** @throws FemtoError BAD_REQUEST at an entry that is not strict DER; Refusal at a serial longer than any of ours */
export function crlRecords(content: Buffer): CrlRecords {
  const countMax = Math.ceil(content.length / ENTRY_BYTES_MIN);
  const serials = Buffer.alloc(countMax * RECORD_BYTES);
  const reasons = Buffer.alloc(countMax);
  const cursor = new CrlEntryCursor(content);
  let count = 0;
  for (; cursor.next(); count += 1) {
    const { serialStart, serialEnd } = cursor;
    if (serialEnd - serialStart > RECORD_BYTES) deny('A revoked entry has no proper serial number.');
    content.copy(serials, (count + 1) * RECORD_BYTES - (serialEnd - serialStart), serialStart, serialEnd);
    reasons[count] = cursor.reasonCode;
  }
  return { serials: serials.subarray(0, count * RECORD_BYTES), reasons: reasons.subarray(0, count) };
}

/** Do the serials rise, each standing once? Only such lists can be compared in one walk. */
export function isInOrder(serials: Buffer): boolean {
  for (let at = RECORD_BYTES; at < serials.length; at += RECORD_BYTES) {
    if (compareRecords(serials, at - RECORD_BYTES, serials, at) >= 0) return false;
  }
  return true;
}

/** Calls with the offset of each record that only one of two lists in order has. */
export function compareLists(
  left: Buffer,
  right: Buffer,
  { onlyLeft, onlyRight }: { onlyLeft: (at: number) => void; onlyRight: (at: number) => void },
): void {
  let [l, r] = [0, 0];
  while (l < left.length || r < right.length) {
    const order = l >= left.length ? 1 : r >= right.length ? -1 : compareRecords(left, l, right, r);
    if (order < 0) onlyLeft(l);
    if (order > 0) onlyRight(r);
    if (order <= 0) l += RECORD_BYTES;
    if (order >= 0) r += RECORD_BYTES;
  }
}

/** By octets without the padding, as our lists are in order: a shorter serial before a longer one that begins with it. */
function compareRecords(left: Buffer, l: number, right: Buffer, r: number): number {
  const [fromLeft, fromRight] = [l + padding(left, l), r + padding(right, r)];
  return left.compare(right, fromRight, r + RECORD_BYTES, fromLeft, l + RECORD_BYTES);
}

function padding(records: Buffer, at: number): number {
  let octets = 0;
  while (octets < RECORD_BYTES && records[at + octets] === 0) octets += 1;
  return octets;
}
