import { CrlEntryCursor } from './crl-entries.js';
import { TAG } from './der.js';
import {
  badDer,
  booleanValue,
  DerReader,
  integerValue,
  namedBitNumbers,
  readDer,
  smallIntegerValue,
  timeValue,
  wholeOctets,
} from './der-reader.js';
import { isEmptyName, nameAttributes } from './distinguished-name.js';
import { type Extension, readExtensions } from './extension.js';
import { distributionPointUrls, readAuthorityKeyIdentifier, readCrlPointers } from './extension-values.js';
import { OID } from './oids.js';
import {
  requireSignatureAlgorithm,
  type SignatureAlgorithm,
  signatureAlgorithmOf,
  verifySignature,
} from './signature-algorithm.js';
import type { Spki } from './spki.js';

/** Everything but the entries, which nobody has looked at. */
export interface CrlHead {
  readonly der: Buffer;
  readonly tbsDer: Buffer;
  readonly signature: Buffer;
  readonly signatureAlgorithm: SignatureAlgorithm;
  readonly issuerDer: Buffer;
  readonly number: bigint | undefined;
  /** Number of the complete CRL that a delta builds on; undefined for a complete CRL. */
  readonly deltaBase: bigint | undefined;
  readonly thisUpdate: Date;
  readonly nextUpdate: Date | undefined;
  readonly aki: Buffer | undefined;
  readonly distributionPoint: IssuingDistributionPoint | undefined;
  /** Where a complete CRL says its deltas are; empty where it says nothing. */
  readonly freshestCrlUrls: readonly string[];
  readonly extensionOids: readonly string[];
  /** Content of revokedCertificates. */
  readonly entriesDer: Buffer;
}

/** A CRL read strictly, its entries too. They are walked, not stored: ten million units make a list of many megabytes. */
export interface Crl extends CrlHead {
  readonly entryCount: number;
}

export interface IssuingDistributionPoint {
  readonly urls: readonly string[];
  readonly hasName: boolean;
  readonly onlyUserCerts: boolean;
  readonly onlyCaCerts: boolean;
  readonly onlySomeReasons: boolean;
  readonly indirect: boolean;
  readonly onlyAttributeCerts: boolean;
}

/** The signer takes a TBS of at most 64 MiB; a CRL is one of those and a signature. */
export const CRL_BYTES_MAX = 64 * 1_048_576 + 1_024;
const NUMBER_OCTETS_MAX = 20;
const WHAT = 'CRL';

/**
 * Reads a whole CRL, or a bare TBSCertList when `tbsOnly` (what the signer is asked to sign).
 *
 * @throws FemtoError BAD_REQUEST form, unknown critical extensions, an empty list; KEY_WEAK for its algorithm
 * @see RFC 5280 section 5
 */
export function readCrl(der: Buffer, options: { tbsOnly?: boolean } = {}): Crl {
  const head = readCrlHead(der, options);
  const cursor = new CrlEntryCursor(head.entriesDer);
  let entryCount = 0;
  while (cursor.next()) entryCount += 1;
  return { ...head, entryCount };
}

/**
 * The same without a look at the entries: for those who wrote them, and for those who only pass a list on and have others
 * to answer meanwhile. A file that was cut short is refused here already.
 */
export function readCrlHead(der: Buffer, options: { tbsOnly?: boolean } = {}): CrlHead {
  if (der.length > CRL_BYTES_MAX) throw badDer(WHAT, `is larger than ${CRL_BYTES_MAX} bytes`);
  if (options.tbsOnly === true) return readTbs(der, der, Buffer.alloc(0));
  const outer = readDer(der, TAG.SEQUENCE, WHAT);
  const tbsDer = outer.expect(TAG.SEQUENCE, 'tbsCertList').der;
  const algorithmDer = outer.expect(TAG.SEQUENCE, 'signature algorithm').der;
  const signature = wholeOctets(outer.expect(TAG.BIT_STRING, 'signature').content, WHAT);
  outer.end();
  const crl = readTbs(tbsDer, der, signature);
  if (signatureAlgorithmOf(algorithmDer) !== crl.signatureAlgorithm) {
    throw badDer(WHAT, 'names two different signature algorithms');
  }
  return crl;
}

export function verifyCrlSignature(crl: CrlHead, issuerSpki: Spki): boolean {
  return verifySignature(crl.signatureAlgorithm, crl.tbsDer, issuerSpki, crl.signature);
}

function readTbs(tbsDer: Buffer, der: Buffer, signature: Buffer): CrlHead {
  const fields = readDer(tbsDer, TAG.SEQUENCE, WHAT);
  const version = fields.expect(TAG.INTEGER, 'version 2');
  if (smallIntegerValue(version.content, 'CRL version') !== 1) fields.fail('is not version 2');
  const signatureAlgorithm = requireSignatureAlgorithm(fields.expect(TAG.SEQUENCE, 'signature algorithm').der, WHAT);
  const issuerDer = fields.expect(TAG.SEQUENCE, 'issuer').der;
  nameAttributes(issuerDer, 'CRL issuer');
  if (isEmptyName(issuerDer)) fields.fail('has an empty issuer');
  const thisUpdate = timeValue(fields.next(), 'thisUpdate');
  const nextTag = fields.peekTag();
  const hasNextUpdate = nextTag === TAG.UTC_TIME || nextTag === TAG.GENERALIZED_TIME;
  const nextUpdate = hasNextUpdate ? timeValue(fields.next(), 'nextUpdate') : undefined;
  const list = fields.optional(TAG.SEQUENCE);
  if (list !== undefined && list.content.length === 0) fields.fail('has an empty list; leave it out');
  const wrapped = fields.optional(0xa0);
  fields.end();

  return {
    der,
    tbsDer,
    signature,
    signatureAlgorithm,
    issuerDer,
    thisUpdate,
    nextUpdate,
    entriesDer: list?.content ?? Buffer.alloc(0),
    ...readCrlExtensions(wrapped?.content),
  };
}

type CrlExtensions = Pick<
  Crl,
  'number' | 'deltaBase' | 'aki' | 'distributionPoint' | 'freshestCrlUrls' | 'extensionOids'
>;

function readCrlExtensions(content: Buffer | undefined): CrlExtensions {
  const extensions: Extension[] = [];
  if (content !== undefined) {
    const inner = new DerReader(content, 'CRL extensions');
    extensions.push(...readExtensions(inner, 'CRL extensions'));
    inner.end();
  }
  const read = <T>(id: string, reader: (value: Buffer) => T): T | undefined => {
    const found = extensions.find((entry) => entry.id === id);
    return found === undefined ? undefined : reader(found.value);
  };
  for (const { id, critical } of extensions) {
    if (critical && !UNDERSTOOD.has(id)) throw badDer(WHAT, `has extension ${id} as critical`);
  }
  return {
    number: read(OID.crlNumber, (value) => readNumber(value, 'CRL number')),
    deltaBase: read(OID.deltaCrlIndicator, (value) => readNumber(value, 'base CRL number')),
    aki: read(OID.authorityKeyIdentifier, readAuthorityKeyIdentifier),
    distributionPoint: read(OID.issuingDistributionPoint, readDistributionPoint),
    freshestCrlUrls: read(OID.freshestCrl, readCrlPointers)?.urls ?? [],
    extensionOids: extensions.map((entry) => entry.id),
  };
}

/** Must be critical where they stand (sections 5.2.4, 5.2.5); CRLNumber and AKI must not (5.2.1, 5.2.3). */
const UNDERSTOOD: ReadonlySet<string> = new Set([OID.deltaCrlIndicator, OID.issuingDistributionPoint]);

function readNumber(value: Buffer, what: string): bigint {
  const outer = new DerReader(value, what);
  const { content } = outer.expect(TAG.INTEGER);
  outer.end();
  const number = integerValue(content, what);
  if (number < 0n || content.length > NUMBER_OCTETS_MAX) throw badDer(what, 'is negative or longer than 20 octets');
  return number;
}

export function readDistributionPoint(value: Buffer): IssuingDistributionPoint {
  const what = 'issuing distribution point';
  const fields = readDer(value, TAG.SEQUENCE, what);
  if (fields.atEnd) fields.fail('is empty');
  const name = fields.optional(0xa0);
  const flag = (tag: number): boolean => {
    const element = fields.optional(tag);
    if (element !== undefined && !booleanValue(element.content, what)) fields.fail('spells out a default FALSE');
    return element !== undefined;
  };
  const onlyUserCerts = flag(0x81);
  const onlyCaCerts = flag(0x82);
  const someReasons = fields.optional(0x83);
  const indirect = flag(0x84);
  const onlyAttributeCerts = flag(0x85);
  fields.end();
  if (someReasons !== undefined) namedBitNumbers(someReasons.content, what);
  if ([onlyUserCerts, onlyCaCerts, onlyAttributeCerts].filter(Boolean).length > 1) {
    fields.fail('limits itself to two kinds of certificate at once');
  }
  return {
    urls: name === undefined ? [] : distributionPointUrls(name.content, what),
    hasName: name !== undefined,
    onlyUserCerts,
    onlyCaCerts,
    onlySomeReasons: someReasons !== undefined,
    indirect,
    onlyAttributeCerts,
  };
}
