import { TAG } from '../der.js';
import { badDer, checkMinimalInteger, type DerElement, DerReader, oidValue, unsignedMagnitude } from '../der-reader.js';
import { isEmptyName, nameAttributes } from '../distinguished-name.js';
import { BODY_ITEMS_MAX, INFO_ITEMS_MAX, TEXT_CHARACTERS_MAX } from './limits.js';
import type { CertIdView, GeneralNameView, InfoItem } from './pki-message.js';

/** The one element inside an EXPLICIT tag. */
export function insideTag(element: DerElement, innerTag: number, what: string): DerElement {
  const inner = new DerReader(element.content, what);
  const value = inner.expect(innerTag, what);
  inner.end();
  return value;
}

/** Members of a SEQUENCE OF. An empty list is let through: the listener refuses any number but one. */
export function readMembers<T>(list: DerReader, read: (list: DerReader) => T): T[] {
  const members: T[] = [];
  while (!list.atEnd) {
    if (members.length === BODY_ITEMS_MAX) list.fail(`has more than ${BODY_ITEMS_MAX} members`);
    members.push(read(list));
  }
  return members;
}

/** INTEGER of at most 32 bits, also below zero: certReqId is -1 where nothing has a number. */
export function shortInteger(content: Buffer, what: string): number {
  checkMinimalInteger(content, what);
  if (content.length > 4) throw badDer(what, 'is far too large');
  return content.readIntBE(0, content.length);
}

const DIRECTORY_NAME = 0xa4;
const GENERAL_NAME_TAGS: ReadonlySet<number> = new Set([
  0xa0,
  0x81,
  0x82,
  0xa3,
  DIRECTORY_NAME,
  0xa5,
  0x86,
  0x87,
  0x88,
]);

/** Sender or recipient: only a directoryName says anything here, the other kinds are let through unread. */
export function readPartyName(element: DerElement, what: string): GeneralNameView {
  if (!GENERAL_NAME_TAGS.has(element.tag)) throw badDer(what, 'is not a GeneralName');
  if (element.tag !== DIRECTORY_NAME) return { kind: 'other' };
  const nameDer = insideTag(element, TAG.SEQUENCE, what).der;
  return { kind: 'directoryName', nameDer, isNull: isEmptyName(nameDer) };
}

/** The content of a CertId: RFC 4211's, not OCSP's. */
export function readCmpCertId(fields: DerReader, what: string): CertIdView {
  const issuer = fields.expect(DIRECTORY_NAME, `${what} issuer`);
  const issuerDer = insideTag(issuer, TAG.SEQUENCE, what).der;
  nameAttributes(issuerDer, what);
  const serial = unsignedMagnitude(fields.expect(TAG.INTEGER, `${what} serialNumber`).content, what);
  fields.end();
  return { issuerDer, serial };
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export function utf8Value(content: Buffer, charactersMax: number, what: string): string {
  // At most four octets a character: refused before anything is decoded.
  if (content.length > 4 * charactersMax) throw badDer(what, `is longer than ${charactersMax} characters`);
  let text: string;
  try {
    text = utf8.decode(content);
  } catch (cause) {
    const refusal = badDer(what, 'has a UTF8String that is not UTF-8');
    refusal.cause = cause;
    throw refusal;
  }
  if (text.length > charactersMax) throw badDer(what, `is longer than ${charactersMax} characters`);
  return text;
}

/** Members of a PKIFreeText, one or more. */
export function readFreeText(list: DerReader, what: string): string[] {
  const texts: string[] = [];
  do {
    if (texts.length === INFO_ITEMS_MAX) list.fail(`has more than ${INFO_ITEMS_MAX} texts`);
    texts.push(utf8Value(list.expect(TAG.UTF8_STRING, what).content, TEXT_CHARACTERS_MAX, what));
  } while (!list.atEnd);
  return texts;
}

/** Members of a SEQUENCE OF InfoTypeAndValue, values still encoded. */
export function readInfoItems(list: DerReader, what: string): InfoItem[] {
  const items: InfoItem[] = [];
  while (!list.atEnd) {
    if (items.length === INFO_ITEMS_MAX) list.fail(`has more than ${INFO_ITEMS_MAX} entries`);
    const fields = list.enter(TAG.SEQUENCE, what);
    const oid = oidValue(fields.expect(TAG.OID, 'infoType').content, what);
    if (fields.atEnd) {
      items.push({ oid });
      continue;
    }
    const valueDer = fields.next().der;
    fields.end();
    items.push({ oid, valueDer });
  }
  return items;
}
