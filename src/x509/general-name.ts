import { explicitTag, implicitTag, sequence, TAG } from './der.js';
import { badDer, type DerElement, DerReader, oidValue, readDer } from './der-reader.js';
import { asciiText, nameAttributes } from './distinguished-name.js';

export type GeneralNameKind =
  | 'otherName'
  | 'email'
  | 'dns'
  | 'x400'
  | 'directory'
  | 'ediParty'
  | 'uri'
  | 'ip'
  | 'registeredId';

export interface GeneralName {
  readonly kind: GeneralNameKind;
  /** Text of dns, uri, email; dotted OID of otherName and registeredId; hex of the rest. */
  readonly value: string;
}

const NAMES_MAX = 64;
const NAME_BYTES_MAX = 1_024;

const BY_TAG: Readonly<Record<number, GeneralNameKind>> = {
  160: 'otherName',
  129: 'email',
  130: 'dns',
  163: 'x400',
  164: 'directory',
  165: 'ediParty',
  134: 'uri',
  135: 'ip',
  136: 'registeredId',
};

/** `ipOctets`: 4 and 16 in a name; 8 and 32 in a name constraint, where the mask follows the address. */
export function readGeneralName(element: DerElement, what: string, ipOctets: readonly number[] = [4, 16]): GeneralName {
  const kind = BY_TAG[element.tag];
  if (kind === undefined) throw badDer(what, 'has an unknown kind of name');
  if (element.content.length > NAME_BYTES_MAX) throw badDer(what, `has a name longer than ${NAME_BYTES_MAX} bytes`);
  return { kind, value: nameValue(kind, element.content, what, ipOctets) };
}

function nameValue(kind: GeneralNameKind, content: Buffer, what: string, ipOctets: readonly number[]): string {
  switch (kind) {
    case 'dns':
    case 'uri':
    case 'email': {
      const text = asciiText(content, what);
      if (/[^\x21-\x7e]/.test(text)) throw badDer(what, 'has a name with a blank or control character');
      return text;
    }
    case 'ip':
      if (!ipOctets.includes(content.length)) throw badDer(what, 'has an address of the wrong length');
      return content.toString('hex');
    case 'directory': {
      nameAttributes(content, what);
      return content.toString('hex');
    }
    case 'otherName': {
      const reader = new DerReader(content, what);
      const type = oidValue(reader.expect(TAG.OID).content, what);
      reader.expect(0xa0);
      reader.end();
      return type;
    }
    case 'registeredId':
      return oidValue(content, what);
    default:
      return content.toString('hex');
  }
}

/** Content of a GeneralNames (one or more); `reader` stands inside its SEQUENCE or implicit tag. */
export function readGeneralNames(reader: DerReader, what: string): GeneralName[] {
  if (reader.atEnd) reader.fail('has an empty list of names');
  const names: GeneralName[] = [];
  while (!reader.atEnd) {
    names.push(readGeneralName(reader.next(), what));
    if (names.length > NAMES_MAX) reader.fail(`has more than ${NAMES_MAX} names`);
  }
  return names;
}

/** Whole GeneralNames value of a subjectAltName extension. */
export function readAltNames(value: Buffer, what: string): GeneralName[] {
  return readGeneralNames(readDer(value, TAG.SEQUENCE, what), what);
}

export function dnsName(name: string): Buffer {
  return implicitTag(2, Buffer.from(name, 'latin1'));
}

export function uriName(uri: string): Buffer {
  return implicitTag(6, Buffer.from(uri, 'latin1'));
}

/** DistributionPointName with one URI: `[0] { fullName [0] { [6] uri } }`, the same bytes in a CDP and in an IDP. */
export function distributionPointName(uri: string): Buffer {
  return explicitTag(0, explicitTag(0, uriName(uri)));
}

/** CRLDistributionPoints with one point with one URI (RFC 5280 section 4.2.1.13). */
export function crlDistributionPoints(uri: string): Buffer {
  return sequence(sequence(distributionPointName(uri)));
}

/** Four or sixteen octets. */
export function ipName(address: Buffer): Buffer {
  return implicitTag(7, address);
}
