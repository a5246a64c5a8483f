import { TAG } from './der.js';
import {
  badDer,
  booleanValue,
  checkMinimalInteger,
  DerReader,
  namedBitNumbers,
  oidValue,
  readDer,
  smallIntegerValue,
} from './der-reader.js';
import { type GeneralName, readGeneralName, readGeneralNames } from './general-name.js';
import { OID } from './oids.js';

/** Bit numbers of KeyUsage (RFC 5280 section 4.2.1.3). */
export const KEY_USAGE = [
  'digitalSignature',
  'nonRepudiation',
  'keyEncipherment',
  'dataEncipherment',
  'keyAgreement',
  'keyCertSign',
  'cRLSign',
  'encipherOnly',
  'decipherOnly',
] as const;
export type KeyUsage = (typeof KEY_USAGE)[number];

export interface NameConstraints {
  readonly permitted: readonly GeneralName[];
  readonly excluded: readonly GeneralName[];
}

/** RFC 5280 section 4.2.1.3: at least one bit set. */
export function readKeyUsage(value: Buffer): KeyUsage[] {
  const what = 'key usage';
  const outer = new DerReader(value, what);
  const bits = namedBitNumbers(outer.expect(TAG.BIT_STRING).content, what);
  outer.end();
  if (bits.length === 0) throw badDer(what, 'has no bit set');
  return bits.map((bit) => KEY_USAGE[bit] ?? outer.fail('has an unknown bit'));
}

/** RFC 5280 section 4.2.1.12; dotted OIDs in the order found. */
export function readExtendedKeyUsage(value: Buffer): string[] {
  const what = 'extended key usage';
  const list = readDer(value, TAG.SEQUENCE, what);
  if (list.atEnd) list.fail('is empty');
  const purposes: string[] = [];
  while (!list.atEnd) purposes.push(oidValue(list.expect(TAG.OID).content, what));
  return purposes;
}

/**
 * RFC 5280 section 4.2.1.9; pathLen only beside cA TRUE. `cA FALSE` spelt out is not DER, but stands in many a maker's
 * device certificates and misleads nobody.
 */
export function readBasicConstraints(value: Buffer): { isCa: boolean; pathLen: number | undefined } {
  const what = 'basic constraints';
  const fields = readDer(value, TAG.SEQUENCE, what);
  const ca = fields.optional(TAG.BOOLEAN);
  const isCa = ca !== undefined && booleanValue(ca.content, what);
  const pathLenElement = fields.optional(TAG.INTEGER);
  fields.end();
  if (pathLenElement === undefined) return { isCa, pathLen: undefined };
  if (!isCa) fields.fail('has a path length beside cA FALSE');
  const pathLen = smallIntegerValue(pathLenElement.content, what);
  if (pathLen > PATH_LEN_MAX) fields.fail(`has a path length above ${PATH_LEN_MAX}`);
  return { isCa, pathLen };
}

/** Longer chains exist nowhere; some verifiers keep it in an octet. */
const PATH_LEN_MAX = 255;

/** RFC 5280 section 4.2.1.2. */
export function readSubjectKeyIdentifier(value: Buffer): Buffer {
  const outer = new DerReader(value, 'subject key identifier');
  const { content } = outer.expect(TAG.OCTET_STRING);
  outer.end();
  if (content.length === 0) outer.fail('is empty');
  return content;
}

/** RFC 5280 section 4.2.1.1; issuer and serial come together or not at all. Undefined: no keyIdentifier in it. */
export function readAuthorityKeyIdentifier(value: Buffer): Buffer | undefined {
  const what = 'authority key identifier';
  const fields = readDer(value, TAG.SEQUENCE, what);
  const keyIdentifier = fields.optional(0x80);
  const issuer = fields.optional(0xa1);
  const serial = fields.optional(0x82);
  fields.end();
  if ((issuer === undefined) !== (serial === undefined)) fields.fail('has an issuer without serial, or the reverse');
  if (issuer !== undefined) readGeneralNames(new DerReader(issuer.content, what), what);
  if (serial !== undefined) checkMinimalInteger(serial.content, what);
  return keyIdentifier?.content;
}

/**
 * URIs of all points, RFC 5280 section 4.2.1.13. Other kinds of name are checked and left out. `elsewhere`: some point
 * names another CRL issuer, so that the certificate issuer's own CRL does not speak for this certificate.
 */
export function readCrlPointers(value: Buffer): { urls: string[]; elsewhere: boolean } {
  const what = 'CRL distribution points';
  const points = readDer(value, TAG.SEQUENCE, what);
  if (points.atEnd) points.fail('is empty');
  const urls: string[] = [];
  let elsewhere = false;
  while (!points.atEnd) {
    const point = points.enter(TAG.SEQUENCE, what);
    const name = point.optional(0xa0);
    const reasons = point.optional(0x81);
    const issuer = point.optional(0xa2);
    point.end();
    if (name === undefined && issuer === undefined) point.fail('has a point with neither name nor issuer');
    if (reasons !== undefined) namedBitNumbers(reasons.content, what);
    if (issuer !== undefined) {
      readGeneralNames(new DerReader(issuer.content, what), what);
      elsewhere = true;
    }
    if (name !== undefined) urls.push(...distributionPointUrls(name.content, what));
  }
  return { urls, elsewhere };
}

/** URIs of one DistributionPointName, given the content of its `[0]`. */
export function distributionPointUrls(content: Buffer, what: string): string[] {
  const choice = new DerReader(content, what);
  const fullName = choice.optional(0xa0);
  if (fullName === undefined) {
    choice.expect(0xa1, 'distribution point name');
    choice.end();
    return [];
  }
  choice.end();
  const names = readGeneralNames(new DerReader(fullName.content, what), what);
  return names.filter((name) => name.kind === 'uri').map((name) => name.value);
}

/** RFC 5280 section 4.2.2.1. */
export function readAuthorityInfoAccess(value: Buffer): { ocspUrls: string[]; caUrls: string[] } {
  const what = 'authority information access';
  const list = readDer(value, TAG.SEQUENCE, what);
  if (list.atEnd) list.fail('is empty');
  const ocspUrls: string[] = [];
  const caUrls: string[] = [];
  while (!list.atEnd) {
    const access = list.enter(TAG.SEQUENCE, what);
    const method = oidValue(access.expect(TAG.OID).content, what);
    const location = readGeneralName(access.next(), what);
    access.end();
    if (location.kind !== 'uri') continue;
    if (method === OID.adOcsp) ocspUrls.push(location.value);
    if (method === OID.adCaIssuers) caUrls.push(location.value);
  }
  return { ocspUrls, caUrls };
}

/** RFC 5280 section 4.2.1.10; minimum 0 is the default and left out, maximum is absent. */
export function readNameConstraints(value: Buffer): NameConstraints {
  const what = 'name constraints';
  const fields = readDer(value, TAG.SEQUENCE, what);
  const permitted = fields.optional(0xa0);
  const excluded = fields.optional(0xa1);
  fields.end();
  if (permitted === undefined && excluded === undefined) fields.fail('is empty');
  return { permitted: subtrees(permitted?.content, what), excluded: subtrees(excluded?.content, what) };
}

function subtrees(content: Buffer | undefined, what: string): GeneralName[] {
  if (content === undefined) return [];
  const list = new DerReader(content, what);
  if (list.atEnd) list.fail('has an empty list of subtrees');
  const names: GeneralName[] = [];
  while (!list.atEnd) {
    const subtree = list.enter(TAG.SEQUENCE, what);
    names.push(readGeneralName(subtree.next(), what, [8, 32]));
    subtree.end();
  }
  return names;
}

/** Form only: we give policies no meaning, but a malformed one marks a broken issuer (RFC 5280 section 4.2.1.4). */
export function checkCertificatePolicies(value: Buffer): void {
  const what = 'certificate policies';
  const list = readDer(value, TAG.SEQUENCE, what);
  if (list.atEnd) list.fail('is empty');
  const seen = new Set<string>();
  while (!list.atEnd) {
    const policy = list.enter(TAG.SEQUENCE, what);
    const id = oidValue(policy.expect(TAG.OID).content, what);
    if (seen.has(id)) policy.fail('has one policy twice');
    seen.add(id);
    const qualifiers = policy.optional(TAG.SEQUENCE);
    policy.end();
    if (qualifiers !== undefined) checkQualifiers(new DerReader(qualifiers.content, what));
  }
}

function checkQualifiers(list: DerReader): void {
  if (list.atEnd) list.fail('has an empty list of qualifiers');
  while (!list.atEnd) {
    const qualifier = list.enter(TAG.SEQUENCE);
    oidValue(qualifier.expect(TAG.OID).content, 'policy qualifier');
    qualifier.next();
    qualifier.end();
  }
}

/** RFC 5280 section 4.2.1.11: not empty. */
export function checkPolicyConstraints(value: Buffer): void {
  const what = 'policy constraints';
  const fields = readDer(value, TAG.SEQUENCE, what);
  const skips = [fields.optional(0x80), fields.optional(0x81)];
  fields.end();
  if (skips.every((skip) => skip === undefined)) fields.fail('is empty');
  for (const skip of skips) if (skip !== undefined) smallIntegerValue(skip.content, what);
}

/** RFC 5280 section 4.2.1.14. */
export function checkInhibitAnyPolicy(value: Buffer): void {
  const outer = new DerReader(value, 'inhibit any policy');
  smallIntegerValue(outer.expect(TAG.INTEGER).content, 'inhibit any policy');
  outer.end();
}

/** RFC 6960 section 4.2.2.2.1. */
export function checkOcspNoCheck(value: Buffer): void {
  if (value.length !== 2 || value[0] !== TAG.NULL || value[1] !== 0) throw badDer('ocsp-nocheck', 'is not NULL');
}
