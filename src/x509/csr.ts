import { TAG } from './der.js';
import { checkDer } from './der-gate.js';
import { badDer, DerReader, oidValue, readDer, smallIntegerValue, wholeOctets } from './der-reader.js';
import { directoryString, nameAttributes, onlyAttribute } from './distinguished-name.js';
import { type Extension, readExtensions } from './extension.js';
import { type KeyRequest, readWishes } from './key-request.js';
import { OID } from './oids.js';
import { bytesOfBase64, pemBlocks } from './pem.js';
import { refusePrivateKey } from './private-key-material.js';
import { requireSignatureAlgorithm } from './signature-algorithm.js';
import { readSpki } from './spki.js';

export const CSR_BYTES_MAX = 16_384;
/** Base64 of the largest CSR with line breaks and armour. */
const CSR_TEXT_BYTES_MAX = 24_576;
const CSR_DER_LIMITS = { bytesMax: CSR_BYTES_MAX, depthMax: 24, elementsMax: 2_000 };
const ATTRIBUTES_MAX = 16;
const WHAT = 'certificate request';

/**
 * Reads a request in the order of cost: size, private key scan, DER gate, structure, key bytes, algorithm. The signature
 * is not checked here: key policy comes first, then {@link verifyPossession}.
 *
 * @param der      DER PKCS#10, at most CSR_BYTES_MAX
 * @param options  `allowRsa`: legacy import only (default false)
 * @throws FemtoError BAD_REQUEST form; KEY_WEAK key or algorithm; KEY_BLOCKED a private key inside
 * @see RFC 2986 section 4; RFC 2985 section 5.4
 */
export function readCsr(der: Buffer, options: { allowRsa?: boolean } = {}): KeyRequest {
  if (der.length > CSR_BYTES_MAX) throw badDer(WHAT, `is larger than ${CSR_BYTES_MAX} bytes`);
  refusePrivateKey(der);
  checkDer(der, CSR_DER_LIMITS);

  const outer = readDer(der, TAG.SEQUENCE, WHAT);
  const signedDer = outer.expect(TAG.SEQUENCE, 'certificationRequestInfo').der;
  const algorithmDer = outer.expect(TAG.SEQUENCE, 'signature algorithm').der;
  const signature = wholeOctets(outer.expect(TAG.BIT_STRING, 'signature').content, WHAT);
  outer.end();

  const fields = readDer(signedDer, TAG.SEQUENCE, WHAT);
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
    signedDer,
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

/** The request itself, or what it was read to by another reader. @throws FemtoError as csrBytesFromText and readCsr */
export function keyRequestOf(csr: string | Buffer | KeyRequest): KeyRequest {
  return typeof csr === 'string' || Buffer.isBuffer(csr) ? readCsr(csrBytesFromText(csr)) : csr;
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
