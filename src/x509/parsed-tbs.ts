import { TAG } from './der.js';
import {
  badDer,
  type DerElement,
  DerReader,
  readDer,
  smallIntegerValue,
  timeValue,
  unsignedMagnitude,
} from './der-reader.js';
import { isEmptyName, nameAttributes, onlyAttribute } from './distinguished-name.js';
import { type Extension, readExtensions } from './extension.js';
import {
  checkCertificatePolicies,
  checkInhibitAnyPolicy,
  checkOcspNoCheck,
  checkPolicyConstraints,
  type KeyUsage,
  type NameConstraints,
  readAuthorityInfoAccess,
  readAuthorityKeyIdentifier,
  readBasicConstraints,
  readCrlPointers,
  readExtendedKeyUsage,
  readKeyUsage,
  readNameConstraints,
  readSubjectKeyIdentifier,
} from './extension-values.js';
import { type GeneralName, readAltNames } from './general-name.js';
import { OID } from './oids.js';
import { requireSignatureAlgorithm, type SignatureAlgorithm } from './signature-algorithm.js';
import { readSpki, type Spki } from './spki.js';

export { certificateName } from './distinguished-name.js';

/** A TBSCertificate read strictly. Absent extensions are undefined or empty. */
export interface ParsedTbs {
  /** The bytes it was read from: what a signature is checked over. */
  readonly tbsDer: Buffer;
  /** Magnitude without sign octet; `serialHex` writes it. */
  readonly serial: Buffer;
  readonly signatureAlgorithm: SignatureAlgorithm;
  readonly issuerDer: Buffer;
  readonly subjectDer: Buffer;
  readonly commonName: string | undefined;
  readonly organization: string | undefined;
  readonly organizationalUnit: string | undefined;
  readonly notBefore: Date;
  /** Last second of validity, inclusive (RFC 5280 section 4.1.2.5). */
  readonly notAfter: Date;
  readonly spki: Spki;
  /** dNSName entries in order. */
  readonly sanDns: readonly string[];
  /** Every other subjectAltName entry. */
  readonly sanOther: readonly GeneralName[];
  /** Content of subjectKeyIdentifier. */
  readonly ski: Buffer | undefined;
  /** keyIdentifier of authorityKeyIdentifier. */
  readonly aki: Buffer | undefined;
  readonly keyUsage: readonly KeyUsage[];
  /** Dotted OIDs of extendedKeyUsage. */
  readonly ekus: readonly string[];
  readonly isCa: boolean;
  readonly pathLen: number | undefined;
  readonly hasNoCheck: boolean;
  readonly crlUrls: readonly string[];
  /** Some CRL distribution point names another CRL issuer. */
  readonly crlElsewhere: boolean;
  readonly ocspUrls: readonly string[];
  readonly caUrls: readonly string[];
  readonly nameConstraints: NameConstraints | undefined;
  readonly extensions: readonly Extension[];
  readonly extensionOids: readonly string[];
}

/** A real certificate of ours is under 1 KiB; vendors' with long policy texts stay under this. */
const TBS_BYTES_MAX = 16_384;
const SERIAL_OCTETS_MAX = 20;
const WHAT = 'certificate';

/**
 * Reads a TBSCertificate: v3 only, strict DER, our algorithms and keys only (RSA keys allowed, for vendor chains),
 * every known extension by its own rule, unknown critical extensions refused.
 *
 * @throws FemtoError BAD_REQUEST for form; KEY_WEAK for an algorithm or key we refuse
 * @see RFC 5280 section 4.1
 */
export function parseTbsCertificate(tbsDer: Buffer): ParsedTbs {
  if (tbsDer.length > TBS_BYTES_MAX) throw badDer(WHAT, `is larger than ${TBS_BYTES_MAX} bytes`);
  const fields = readDer(tbsDer, TAG.SEQUENCE, WHAT);
  readVersion(fields);
  const serial = readSerial(fields.expect(TAG.INTEGER, 'serial number'));
  const signatureAlgorithm = requireSignatureAlgorithm(fields.expect(TAG.SEQUENCE, 'signature algorithm').der, WHAT);
  const issuerDer = fields.expect(TAG.SEQUENCE, 'issuer').der;
  nameAttributes(issuerDer, 'issuer');
  if (isEmptyName(issuerDer)) fields.fail('has an empty issuer');
  const validity = fields.enter(TAG.SEQUENCE, 'validity');
  const notBefore = timeValue(validity.next(), 'notBefore');
  const notAfter = timeValue(validity.next(), 'notAfter');
  validity.end();
  if (notBefore.getTime() > notAfter.getTime()) fields.fail('ends before it begins');
  const subjectDer = fields.expect(TAG.SEQUENCE, 'subject').der;
  const subject = nameAttributes(subjectDer, 'subject');
  const spki = readSpki(fields.expect(TAG.SEQUENCE, 'public key').der, { allowRsa: true });
  // issuerUniqueID and subjectUniqueID: CAs must not use them (RFC 5280 section 4.1.2.8).
  const extensions = readTbsExtensions(fields);
  fields.end();

  const known = readKnownExtensions(extensions);
  const san = extensions.find((entry) => entry.id === OID.subjectAltName);
  if (isEmptyName(subjectDer) && san?.critical !== true) {
    throw badDer(WHAT, 'has an empty subject without a critical subjectAltName');
  }
  return {
    tbsDer,
    serial,
    signatureAlgorithm,
    issuerDer,
    subjectDer,
    commonName: onlyAttribute(subject, OID.commonName, 'subject'),
    organization: onlyAttribute(subject, OID.organization, 'subject'),
    organizationalUnit: onlyAttribute(subject, OID.organizationalUnit, 'subject'),
    notBefore,
    notAfter,
    spki,
    ...known,
    extensions,
    extensionOids: extensions.map((entry) => entry.id),
  };
}

const V3 = 2;

function readVersion(fields: DerReader): void {
  const wrapped = fields.optional(0xa0);
  if (wrapped === undefined) throw badDer(WHAT, 'is not version 3');
  const inner = new DerReader(wrapped.content, 'version');
  const version = smallIntegerValue(inner.expect(TAG.INTEGER).content, 'version');
  inner.end();
  if (version !== V3) fields.fail('is not version 3');
}

function readSerial(element: DerElement): Buffer {
  const serial = unsignedMagnitude(element.content, 'serial number');
  if (element.content.length > SERIAL_OCTETS_MAX) {
    throw badDer('serial number', `is longer than ${SERIAL_OCTETS_MAX} octets`);
  }
  return serial;
}

function readTbsExtensions(fields: DerReader): Extension[] {
  const wrapped = fields.optional(0xa3);
  if (wrapped === undefined) return [];
  const inner = new DerReader(wrapped.content, 'extensions');
  const extensions = readExtensions(inner, 'extensions');
  inner.end();
  return extensions;
}

type KnownExtensions = Omit<
  ParsedTbs,
  | 'tbsDer'
  | 'serial'
  | 'signatureAlgorithm'
  | 'issuerDer'
  | 'subjectDer'
  | 'commonName'
  | 'organization'
  | 'organizationalUnit'
  | 'notBefore'
  | 'notAfter'
  | 'spki'
  | 'extensions'
  | 'extensionOids'
>;

function readKnownExtensions(extensions: readonly Extension[]): KnownExtensions {
  const encodedValue = (id: string): Buffer | undefined => extensions.find((entry) => entry.id === id)?.value;
  const read = <T>(id: string, reader: (value: Buffer) => T): T | undefined => {
    const value = encodedValue(id);
    return value === undefined ? undefined : reader(value);
  };
  for (const { id, critical } of extensions) {
    if (critical && !UNDERSTOOD.has(id)) throw badDer(WHAT, `has the unknown critical extension ${id}`);
  }
  read(OID.certificatePolicies, checkCertificatePolicies);
  read(OID.policyConstraints, checkPolicyConstraints);
  read(OID.inhibitAnyPolicy, checkInhibitAnyPolicy);
  read(OID.ocspNoCheck, checkOcspNoCheck);
  const altNames = read(OID.subjectAltName, (value) => readAltNames(value, 'subjectAltName')) ?? [];
  const access = read(OID.authorityInfoAccess, readAuthorityInfoAccess);
  const pointers = read(OID.crlDistributionPoints, readCrlPointers);
  const basic = read(OID.basicConstraints, readBasicConstraints);
  return {
    sanDns: altNames.filter((name) => name.kind === 'dns').map((name) => name.value),
    sanOther: altNames.filter((name) => name.kind !== 'dns'),
    ski: read(OID.subjectKeyIdentifier, readSubjectKeyIdentifier),
    aki: read(OID.authorityKeyIdentifier, readAuthorityKeyIdentifier),
    keyUsage: read(OID.keyUsage, readKeyUsage) ?? [],
    ekus: read(OID.extendedKeyUsage, readExtendedKeyUsage) ?? [],
    isCa: basic?.isCa ?? false,
    pathLen: basic?.pathLen,
    hasNoCheck: encodedValue(OID.ocspNoCheck) !== undefined,
    crlUrls: pointers?.urls ?? [],
    crlElsewhere: pointers?.elsewhere ?? false,
    ocspUrls: access?.ocspUrls ?? [],
    caUrls: access?.caUrls ?? [],
    nameConstraints: read(OID.nameConstraints, readNameConstraints),
  };
}

/**
 * Critical extensions whose meaning somebody here enforces: OpenSSL on the path, or the profile rules. A critical one
 * that nobody enforces must not be waved through.
 */
const UNDERSTOOD: ReadonlySet<string> = new Set([
  OID.keyUsage,
  OID.subjectAltName,
  OID.basicConstraints,
  OID.nameConstraints,
  OID.extendedKeyUsage,
  OID.certificatePolicies,
  OID.policyConstraints,
  OID.inhibitAnyPolicy,
  OID.policyMappings,
  OID.crlDistributionPoints,
]);
