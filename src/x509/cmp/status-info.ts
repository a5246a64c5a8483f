import { integer, namedBits, sequence, TAG, utf8String } from '../der.js';
import { badDer, type DerElement, DerReader, namedBitNumbers, smallIntegerValue } from '../der-reader.js';
import { readFreeText } from './cmp-fields.js';
import { FAIL_INFO, type FailInfo, PKI_STATUS, type PkiStatus } from './fail-info.js';
import type { StatusInfo } from './pki-message.js';

const WHAT = 'PKIStatusInfo';
const STATUS_NAMES = Object.keys(PKI_STATUS) as PkiStatus[];
const FAIL_OCTETS_MAX = 17;
const FAIL_NAMES = Object.keys(FAIL_INFO) as FailInfo[];

/** PKIStatusInfo from its SEQUENCE. Bits of failInfo that the standard has not named are passed over. */
export function readStatusInfo(element: DerElement): StatusInfo {
  const fields = new DerReader(element.content, WHAT);
  const number = smallIntegerValue(fields.expect(TAG.INTEGER, 'status').content, WHAT);
  const text = fields.optional(TAG.SEQUENCE);
  const failInfo = fields.optional(TAG.BIT_STRING);
  fields.end();
  return statusInfoOf(
    number,
    text === undefined ? [] : readFreeText(new DerReader(text.content, 'statusString'), 'statusString'),
    failInfo?.content,
  );
}

/**
 * The names of the numbers on the wire.
 *
 * @param failContent  content of the failInfo BIT STRING, its unused-bits octet in front
 */
export function statusInfoOf(status: number, text: readonly string[], failContent: Buffer | undefined): StatusInfo {
  const name = STATUS_NAMES[status];
  if (name === undefined) throw badDer(WHAT, `has the unknown status ${status}`);
  if (failContent === undefined) return { status: name, text, failInfo: [] };
  // Every bit becomes a list entry: bounded before it does.
  if (failContent.length > FAIL_OCTETS_MAX) throw badDer('failInfo', 'has more bits than anybody named');
  const failInfo = namedBitNumbers(failContent, 'failInfo').flatMap((bit) => FAIL_NAMES[bit] ?? []);
  return { status: name, text, failInfo };
}

/** @see RFC 9810 section 5.2.3 */
export function statusInfoDer(status: PkiStatus, text: string | undefined, failInfo: FailInfo | undefined): Buffer {
  return sequence(
    integer(PKI_STATUS[status]),
    text === undefined ? NOTHING : sequence(utf8String(text)),
    failInfo === undefined ? NOTHING : namedBits([FAIL_INFO[failInfo]]),
  );
}

const NOTHING = Buffer.alloc(0);
