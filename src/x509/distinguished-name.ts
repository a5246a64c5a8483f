import { oid, sequence, set, TAG, utf8String } from './der.js';
import { badDer, type DerElement, DerReader, oidValue, readDer } from './der-reader.js';
import { OID } from './oids.js';

export interface NameParts {
  readonly organization: string;
  readonly organizationalUnit?: string;
  readonly commonName: string;
}

export interface NameAttribute {
  /** Dotted OID of the attribute type. */
  readonly type: string;
  readonly value: string;
}

/** RFC 5280 appendix A.1 upper bounds of the three attributes we write. */
const NAME_CHARACTERS_MAX = 64;
/** A name from outside holds at most this much; ten real ones have under ten attributes. */
const ATTRIBUTES_MAX = 32;
const ATTRIBUTE_BYTES_MAX = 256;

/**
 * DER Name `O=…[, OU=…], CN=…`, each a UTF8String in an RDN of its own, in this order. Certificates chain by bytes: the
 * ceremony builds a CA's name once with this and everybody else copies it.
 *
 * @throws FemtoError BAD_REQUEST for an empty or over-long part, or one that {@link checkNameText} refuses
 */
export function certificateName({ organization, organizationalUnit, commonName }: NameParts): Buffer {
  const rdns = [relativeName(OID.organization, organization)];
  if (organizationalUnit !== undefined) rdns.push(relativeName(OID.organizationalUnit, organizationalUnit));
  rdns.push(relativeName(OID.commonName, commonName));
  return sequence(...rdns);
}

/** One RDN with one UTF8String attribute. */
export function relativeName(type: string, value: string): Buffer {
  if (value.length === 0 || value.length > NAME_CHARACTERS_MAX) {
    throw badDer('name', `has a part that is empty or longer than ${NAME_CHARACTERS_MAX} characters`);
  }
  checkNameText(value, 'name');
  return set(sequence(oid(type), utf8String(value)));
}

/**
 * Attributes of a whole DER Name, in order. Character sets are enforced: PrintableString, IA5String and UTF8String as
 * their standards say; T61String, BMPString and UniversalString are refused because two readers disagree about them.
 *
 * @throws FemtoError BAD_REQUEST
 */
export function nameAttributes(nameDer: Buffer, what: string): NameAttribute[] {
  const attributes: NameAttribute[] = [];
  const rdns = readDer(nameDer, TAG.SEQUENCE, what);
  while (!rdns.atEnd) {
    const rdn = rdns.enter(TAG.SET, what);
    if (rdn.atEnd) rdns.fail('has an empty RDN');
    while (!rdn.atEnd) {
      const pair = rdn.enter(TAG.SEQUENCE, what);
      const type = oidValue(pair.expect(TAG.OID).content, what);
      const value = directoryString(pair.next(), what);
      pair.end();
      attributes.push({ type, value });
      if (attributes.length > ATTRIBUTES_MAX) rdns.fail(`has more than ${ATTRIBUTES_MAX} attributes`);
    }
  }
  return attributes;
}

/** The one value of this type; undefined when absent; BAD_REQUEST when there are several, so nobody picks. */
export function onlyAttribute(attributes: readonly NameAttribute[], type: string, what: string): string | undefined {
  const found = attributes.filter((attribute) => attribute.type === type);
  if (found.length > 1) throw badDer(what, `has several values of attribute ${type}`);
  return found[0]?.value;
}

const PRINTABLE = /^[A-Za-z0-9 '()+,\-./:=?]*$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;
// Marks that reorder or hide text on a screen: what a person approves must be what the bytes say.
const INVISIBLE = /[\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/;
const utf8Decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export function directoryString(element: DerElement, what: string): string {
  const { tag, content } = element;
  if (content.length > ATTRIBUTE_BYTES_MAX) throw badDer(what, `has a value longer than ${ATTRIBUTE_BYTES_MAX} bytes`);
  const text = decodeText(tag, content, what);
  checkNameText(text, what);
  return text;
}

/** @throws FemtoError BAD_REQUEST for NUL, control, direction and invisible characters */
export function checkNameText(text: string, what: string): void {
  if (CONTROL.test(text)) throw badDer(what, 'has a control character');
  if (INVISIBLE.test(text)) throw badDer(what, 'has an invisible or direction-changing character');
}

function decodeText(tag: number, content: Buffer, what: string): string {
  switch (tag) {
    case TAG.UTF8_STRING:
      try {
        return utf8Decoder.decode(content);
      } catch (cause) {
        const refusal = badDer(what, 'has a UTF8String that is not UTF-8');
        refusal.cause = cause;
        throw refusal;
      }
    case TAG.PRINTABLE_STRING: {
      const text = content.toString('latin1');
      if (!PRINTABLE.test(text)) throw badDer(what, 'has a PrintableString with other characters');
      return text;
    }
    case TAG.IA5_STRING:
      return asciiText(content, what);
    default:
      throw badDer(what, 'has a string type other than UTF8String, PrintableString and IA5String');
  }
}

/** Text of an IA5String's content: ASCII only. */
export function asciiText(content: Buffer, what: string): string {
  if (content.some((octet) => octet > 0x7f)) throw badDer(what, 'has a character outside ASCII');
  return content.toString('latin1');
}

/** A whole Name where only its shape matters, e.g. an issuer compared by bytes. */
export function checkName(element: DerElement, what: string): Buffer {
  nameAttributes(element.der, what);
  return element.der;
}

export function isEmptyName(nameDer: Buffer): boolean {
  return new DerReader(nameDer, 'name').next().content.length === 0;
}
