import { FemtoError } from '../../platform/errors.js';
import { TAG } from '../der.js';
import { checkDer } from '../der-gate.js';
import { badDer, DerReader, smallIntegerValue, timeValue } from '../der-reader.js';
import { insideTag, readFreeText, readInfoItems, readPartyName, utf8Value } from './cmp-fields.js';
import { INFO_TYPE } from './info-type.js';
import { ID_OCTETS_MAX, PROFILE_CHARACTERS_MAX } from './limits.js';
import type { InfoItem, PkiHeader } from './pki-message.js';

const WHAT = 'PKIHeader';

/** @throws FemtoError BAD_REQUEST */
export function readHeader(headerDer: Buffer): PkiHeader {
  const outer = new DerReader(headerDer, WHAT);
  const fields = outer.enter(TAG.SEQUENCE, WHAT);
  outer.end();
  const pvno = smallIntegerValue(fields.expect(TAG.INTEGER, 'pvno').content, 'pvno');
  const sender = fields.next();
  const recipient = fields.next();
  readPartyName(recipient, 'recipient');
  const messageTime = fields.optional(0xa0);
  const protectionAlg = fields.optional(0xa1);
  const senderKid = octets(fields, 0xa2, 'senderKID');
  octets(fields, 0xa3, 'recipKID');
  const transactionId = octets(fields, 0xa4, 'transactionID');
  const senderNonce = octets(fields, 0xa5, 'senderNonce');
  const recipNonce = octets(fields, 0xa6, 'recipNonce');
  const freeText = fields.optional(0xa7);
  if (freeText !== undefined) {
    readFreeText(new DerReader(insideTag(freeText, TAG.SEQUENCE, 'freeText').content, 'freeText'), 'freeText');
  }
  const general = readGeneralInfo(fields);
  fields.end();
  return {
    pvno,
    sender: readPartyName(sender, 'sender'),
    senderDer: sender.der,
    recipientDer: recipient.der,
    ...(messageTime === undefined
      ? {}
      : { messageTime: timeValue(insideTag(messageTime, TAG.GENERALIZED_TIME, 'messageTime'), 'messageTime') }),
    ...(protectionAlg === undefined
      ? {}
      : { protectionAlgDer: insideTag(protectionAlg, TAG.SEQUENCE, 'protectionAlg').der }),
    ...(senderKid === undefined ? {} : { senderKid }),
    ...(transactionId === undefined ? {} : { transactionId }),
    ...(senderNonce === undefined ? {} : { senderNonce }),
    ...(recipNonce === undefined ? {} : { recipNonce }),
    ...general,
  };
}

function octets(fields: DerReader, tag: number, what: string): Buffer | undefined {
  const element = fields.optional(tag);
  if (element === undefined) return undefined;
  const { content } = insideTag(element, TAG.OCTET_STRING, what);
  if (content.length > ID_OCTETS_MAX) throw badDer(what, `is longer than ${ID_OCTETS_MAX} octets`);
  return content;
}

function readGeneralInfo(fields: DerReader): { asksImplicitConfirm: boolean; certProfile?: string } {
  const element = fields.optional(0xa8);
  if (element === undefined) return { asksImplicitConfirm: false };
  const list = new DerReader(insideTag(element, TAG.SEQUENCE, 'generalInfo').content, 'generalInfo');
  if (list.atEnd) list.fail('is empty');
  const items = readInfoItems(list, 'generalInfo');
  const implicitConfirm = only(items, INFO_TYPE.implicitConfirm);
  // RFC 9810 section 5.1.1.1: its value is NULL; that it stands there is what counts.
  const asksImplicitConfirm = implicitConfirm !== undefined;
  const profile = only(items, INFO_TYPE.certProfile)?.valueDer;
  return profile === undefined ? { asksImplicitConfirm } : { asksImplicitConfirm, certProfile: profileName(profile) };
}

function only(items: readonly InfoItem[], oid: string): InfoItem | undefined {
  const found = items.filter((item) => item.oid === oid);
  if (found.length > 1) throw badDer('generalInfo', `has the entry ${oid} twice`);
  return found[0];
}

/** One name for one request; several would leave the choice to us (RFC 9483 section 3.1). */
function profileName(valueDer: Buffer): string {
  const outer = new DerReader(valueDer, 'certProfile');
  const names = outer.enter(TAG.SEQUENCE, 'certProfile');
  const name = utf8Value(names.expect(TAG.UTF8_STRING, 'certProfile').content, PROFILE_CHARACTERS_MAX, 'certProfile');
  names.end();
  return name;
}

/** A header longer than this is never worth an echo. */
const SALVAGE_LIMITS = { bytesMax: 4_096, depthMax: 16, elementsMax: 200 } as const;

/**
 * The header of a message that cannot be read as a whole: too large, cut off, with a broken body. An error message must
 * name the transaction, or the client throws it away unread.
 *
 * @returns undefined where not even the header is sound
 */
export function salvageHeader(bytes: Buffer): PkiHeader | undefined {
  const lengthOctet = bytes[1] ?? 0;
  const start = 2 + (lengthOctet > 0x80 ? lengthOctet & 0x7f : 0);
  try {
    const header = new DerReader(bytes.subarray(start, start + SALVAGE_LIMITS.bytesMax), WHAT).expect(TAG.SEQUENCE);
    checkDer(header.der, SALVAGE_LIMITS);
    return readHeader(header.der);
  } catch (thrown) {
    if (thrown instanceof FemtoError) return undefined;
    throw thrown;
  }
}
