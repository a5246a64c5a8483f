import { FemtoError } from '../platform/errors.js';
import { TAG } from './der.js';
import { checkDer } from './der-gate.js';
import { badDer, DerReader, oidValue, readDer, smallIntegerValue, wholeOctets } from './der-reader.js';
import { directoryString, nameAttributes, onlyAttribute } from './distinguished-name.js';
import { type Extension, readExtensions } from './extension.js';
import { readBasicConstraints, readExtendedKeyUsage, readKeyUsage } from './extension-values.js';
import { readAltNames } from './general-name.js';
import { OID } from './oids.js';
import { bytesOfBase64, pemBlocks } from './pem.js';
import { refusePrivateKey } from './private-key-material.js';
import { requireSignatureAlgorithm, type SignatureAlgorithm, verifySignature } from './signature-algorithm.js';
import { readSpki, type Spki } from './spki.js';

export const CSR_BYTES_MAX = 16_384;
/** Base64 of the largest CSR with line breaks and armour. */
const CSR_TEXT_BYTES_MAX = 24_576;
const CSR_DER_LIMITS = { bytesMax: CSR_BYTES_MAX, depthMax: 24, elementsMax: 2_000 };
const ATTRIBUTES_MAX = 16;
const WHAT = 'certificate request';

/** A PKCS#10 request, read strictly. What it asks for is a wish: names and extensions come from registry and profile. */
export interface Csr {
  readonly der: Buffer;
  /** certificationRequestInfo as received: what the signature covers. */
  readonly criDer: Buffer;
  readonly spki: Spki;
  readonly subjectDer: Buffer;
  readonly commonName?: string;
  readonly challengePassword?: string;
  /** dNSName entries of the requested subjectAltName, as sent. */
  readonly sanDns: readonly string[];
  readonly asksFor: CsrWishes;
  readonly signatureAlgorithm: SignatureAlgorithm;
  /** Content of the signature BIT STRING. */
  readonly signature: Buffer;
}

export interface CsrWishes {
  readonly ca: boolean;
  readonly keyUsageCertSign: boolean;
  /** Other subjectAltName entries as `kind:value`, for the record only. */
  readonly otherNames: readonly string[];
  readonly extensionOids: readonly string[];
}

/**
 * Reads a request in the order of cost: size, private key scan, DER gate, structure, key bytes, algorithm. The signature
 * is not checked here: key policy comes first, then {@link verifyCsr}.
 *
 * @param der      DER PKCS#10, at most CSR_BYTES_MAX
 * @param options  `allowRsa`: legacy import only (default false)
 * @throws FemtoError BAD_REQUEST form; KEY_WEAK key or algorithm; KEY_BLOCKED a private key inside
 * @see RFC 2986 section 4; RFC 2985 section 5.4
 */
export function readCsr(der: Buffer, options: { allowRsa?: boolean } = {}): Csr {
  if (der.length > CSR_BYTES_MAX) throw badDer(WHAT, `is larger than ${CSR_BYTES_MAX} bytes`);
  refusePrivateKey(der);
  checkDer(der, CSR_DER_LIMITS);

  const outer = readDer(der, TAG.SEQUENCE, WHAT);
  const criDer = outer.expect(TAG.SEQUENCE, 'certificationRequestInfo').der;
  const algorithmDer = outer.expect(TAG.SEQUENCE, 'signature algorithm').der;
  const signature = wholeOctets(outer.expect(TAG.BIT_STRING, 'signature').content, WHAT);
  outer.end();

  const fields = readDer(criDer, TAG.SEQUENCE, WHAT);
  if (smallIntegerValue(fields.expect(TAG.INTEGER, 'version').content, 'version') !== 0)
    fields.fail('is not version 0');
  const subjectDer = fields.expect(TAG.SEQUENCE, 'subject').der;
  const commonName = onlyAttribute(nameAttributes(subjectDer, 'subject'), OID.commonName, 'subject');
  const spkiDer = fields.expect(TAG.SEQUENCE, 'public key').der;
  // RFC 2986 wants an empty set where there is nothing; some clients leave the field out, which hurts nobody.
  const attributes = fields.optional(0xa0);
  fields.end();
  const { challengePassword, extensions } = readAttributes(attributes?.content);
  const { sanDns, asksFor } = readWishes(extensions);

  const spki = readSpki(spkiDer, options);
  const signatureAlgorithm = requireSignatureAlgorithm(algorithmDer, WHAT);
  return {
    der,
    criDer,
    spki,
    subjectDer,
    ...(commonName === undefined ? {} : { commonName }),
    ...(challengePassword === undefined ? {} : { challengePassword }),
    sanDns,
    asksFor,
    signatureAlgorithm,
    signature,
  };
}

/** Proof of possession: is the request signed by the key it carries? */
export function verifyCsr(csr: Csr): boolean {
  return verifySignature(csr.signatureAlgorithm, csr.criDer, csr.spki, csr.signature);
}

/**
 * Refuses a request whose wishes contradict the unit it is for. An empty subject, and a CN that is no host name (a unit
 * serial), are fine: neither is copied.
 *
 * @param expected  `fqdn`: the unit's name from the registry, lower case
 * @throws FemtoError ID_MISMATCH another name, wildcard, CA or keyCertSign; BAD_REQUEST a name nobody could have meant
 */
export function checkCsrRequests(csr: Csr, { fqdn }: { fqdn: string }): void {
  for (const name of csr.sanDns) {
    if (!HOST_TEXT.test(name)) throw badDer(WHAT, 'asks for a name with characters no host name has');
    if (name.toLowerCase() !== fqdn) throw mismatch('asks for another name than the unit has');
  }
  const { commonName } = csr;
  if (commonName !== undefined) {
    // A look-alike letter is never an accident in a name that is ASCII by standard.
    if (/[^\x20-\x7e]/.test(commonName)) throw badDer(WHAT, 'has a commonName outside ASCII');
    if (HOST_LIKE.test(commonName) && commonName.toLowerCase() !== fqdn) {
      throw mismatch('has a commonName of another unit');
    }
  }
  if (csr.asksFor.ca) throw mismatch('asks to be a CA');
  if (csr.asksFor.keyUsageCertSign) throw mismatch('asks for the right to sign certificates');
}

/**
 * DER of a request sent as DER, PEM or base64 with line breaks.
 *
 * @throws FemtoError BAD_REQUEST; KEY_BLOCKED when a private key is inside
 * @see RFC 7468 section 7; RFC 8951 section 3
 */
export function csrBytesFromText(input: string | Buffer): Buffer {
  if (input.length > CSR_TEXT_BYTES_MAX) throw badDer(WHAT, `is larger than ${CSR_TEXT_BYTES_MAX} characters`);
  const bytes = typeof input === 'string' ? Buffer.from(input, 'utf8') : input;
  refusePrivateKey(bytes);
  if (bytes[0] === TAG.SEQUENCE) return bytes; // base64 of a SEQUENCE begins with M, PEM with a dash or a letter
  if (bytes.some((octet) => octet > 0x7e || (octet < 0x20 && octet !== 0x0a && octet !== 0x0d && octet !== 0x09))) {
    throw badDer(WHAT, 'is neither DER nor plain text');
  }
  const text = bytes.toString('latin1');
  const der = text.includes('-----BEGIN ') ? onlyRequestBlock(text) : bytesOfBase64(text, WHAT);
  refusePrivateKey(der);
  return der;
}

function onlyRequestBlock(text: string): Buffer {
  const [block, ...others] = pemBlocks(text);
  if (block === undefined || others.length > 0) throw badDer(WHAT, 'must be exactly one PEM block');
  if (block.label !== 'CERTIFICATE REQUEST' && block.label !== 'NEW CERTIFICATE REQUEST') {
    throw badDer(WHAT, 'is a PEM block of another kind than CERTIFICATE REQUEST');
  }
  return block.der;
}

function readAttributes(content: Buffer | undefined): { challengePassword?: string; extensions: Extension[] } {
  const found: { challengePassword?: string; extensions: Extension[] } = { extensions: [] };
  if (content === undefined) return found;
  const seen = new Set<string>();
  const list = new DerReader(content, WHAT);
  while (!list.atEnd) {
    const attribute = list.enter(TAG.SEQUENCE, 'attribute');
    const type = oidValue(attribute.expect(TAG.OID).content, 'attribute');
    const values = attribute.enter(TAG.SET, 'attribute');
    attribute.end();
    if (seen.has(type)) list.fail(`has attribute ${type} twice`);
    seen.add(type);
    if (seen.size > ATTRIBUTES_MAX) list.fail(`has more than ${ATTRIBUTES_MAX} attributes`);
    if (values.atEnd) list.fail('has an attribute without value');
    if (type === OID.extensionRequest) {
      found.extensions = readExtensions(values, 'extensionRequest');
      values.end();
    } else if (type === OID.challengePassword) {
      found.challengePassword = directoryString(values.next(), 'challengePassword');
      values.end();
    }
  }
  return found;
}

/** Extensions whose wish we understand well enough to answer; any other may be asked for, but not as critical. */
const UNDERSTOOD: ReadonlySet<string> = new Set([
  OID.subjectKeyIdentifier,
  OID.keyUsage,
  OID.subjectAltName,
  OID.basicConstraints,
  OID.extendedKeyUsage,
]);

function readWishes(extensions: readonly Extension[]): { sanDns: string[]; asksFor: CsrWishes } {
  let ca = false;
  let keyUsageCertSign = false;
  const sanDns: string[] = [];
  const otherNames: string[] = [];
  for (const { id, critical, value } of extensions) {
    if (critical && !UNDERSTOOD.has(id)) throw badDer(WHAT, `asks for the unknown critical extension ${id}`);
    if (id === OID.basicConstraints) ca = readBasicConstraints(value).isCa;
    if (id === OID.keyUsage) keyUsageCertSign = readKeyUsage(value).some((usage) => SIGNING_USAGES.has(usage));
    if (id === OID.extendedKeyUsage) readExtendedKeyUsage(value);
    if (id !== OID.subjectAltName) continue;
    for (const name of readAltNames(value, 'requested subjectAltName')) {
      if (name.kind === 'dns') sanDns.push(name.value);
      else otherNames.push(`${name.kind}:${name.value}`);
    }
  }
  return { sanDns, asksFor: { ca, keyUsageCertSign, otherNames, extensionOids: extensions.map(({ id }) => id) } };
}

const SIGNING_USAGES: ReadonlySet<string> = new Set(['keyCertSign', 'cRLSign']);
const HOST_TEXT = /^[A-Za-z0-9*._-]{1,253}$/;
const HOST_LIKE = /^[A-Za-z0-9*_-]+(\.[A-Za-z0-9*_-]+)+\.?$/;

function mismatch(fault: string): FemtoError {
  return new FemtoError('ID_MISMATCH', `The request ${fault}; ask only for the name on the unit's manifest row.`, {
    facts: { fault },
  });
}
