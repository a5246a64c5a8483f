import { TAG } from './der.js';
import { checkDer } from './der-gate.js';
import { badDer, DerReader, oidValue, readDer, smallIntegerValue, wholeOctets } from './der-reader.js';
import { type ParsedResponseData, parseResponseData } from './ocsp-response.js';
import { OID } from './oids.js';
import { requireSignatureAlgorithm, type SignatureAlgorithm } from './signature-algorithm.js';

/** An answer taken apart; its signature and its signer's right are the verifier's business. */
export type OcspResponse =
  | { readonly status: 'successful'; readonly basic: BasicOcspResponse }
  | { readonly status: 'malformedRequest' | 'internalError' | 'tryLater' | 'sigRequired' | 'unauthorized' };

export interface BasicOcspResponse {
  /** What the signature covers. */
  readonly responseDataDer: Buffer;
  readonly responseData: ParsedResponseData;
  readonly signatureAlgorithm: SignatureAlgorithm;
  readonly signature: Buffer;
  /** Certificates as sent, DER, unread. */
  readonly certs: readonly Buffer[];
}

const OCSP_RESPONSE_DER_LIMITS = { bytesMax: 32_768, depthMax: 24, elementsMax: 4_000 };
const CERTS_MAX = 8;
const WHAT = 'OCSP response';
const ERRORS = {
  1: 'malformedRequest',
  2: 'internalError',
  3: 'tryLater',
  5: 'sigRequired',
  6: 'unauthorized',
} as const;

/**
 * @throws FemtoError BAD_REQUEST form; KEY_WEAK an algorithm we refuse
 * @see RFC 6960 section 4.2.1
 */
export function readOcspResponse(der: Buffer): OcspResponse {
  checkDer(der, OCSP_RESPONSE_DER_LIMITS);
  const outer = readDer(der, TAG.SEQUENCE, WHAT);
  const code = smallIntegerValue(outer.expect(TAG.ENUMERATED, 'responseStatus').content, 'responseStatus');
  const wrapped = outer.optional(0xa0);
  outer.end();
  if (code === 0 && wrapped !== undefined) return { status: 'successful', basic: readResponseBytes(wrapped.content) };
  const status = ERRORS[code as keyof typeof ERRORS];
  if (status === undefined || wrapped !== undefined) throw badDer(WHAT, 'has a status that does not fit its content');
  return { status };
}

function readResponseBytes(content: Buffer): BasicOcspResponse {
  const wrapper = new DerReader(content, WHAT);
  const bytes = wrapper.enter(TAG.SEQUENCE, 'responseBytes');
  wrapper.end();
  if (oidValue(bytes.expect(TAG.OID).content, WHAT) !== OID.ocspBasic) bytes.fail('is not a basic response');
  const basicDer = bytes.expect(TAG.OCTET_STRING).content;
  bytes.end();
  checkDer(basicDer, OCSP_RESPONSE_DER_LIMITS);

  const basic = readDer(basicDer, TAG.SEQUENCE, 'BasicOCSPResponse');
  const responseDataDer = basic.expect(TAG.SEQUENCE, 'tbsResponseData').der;
  const algorithmDer = basic.expect(TAG.SEQUENCE, 'signature algorithm').der;
  const signature = wholeOctets(basic.expect(TAG.BIT_STRING, 'signature').content, WHAT);
  const certs = basic.optional(0xa0);
  basic.end();
  return {
    responseDataDer,
    responseData: parseResponseData(responseDataDer),
    signatureAlgorithm: requireSignatureAlgorithm(algorithmDer, WHAT),
    signature,
    certs: certs === undefined ? [] : readCerts(certs.content),
  };
}

function readCerts(content: Buffer): Buffer[] {
  const inner = new DerReader(content, WHAT);
  const list = inner.enter(TAG.SEQUENCE, 'certs');
  inner.end();
  const certs: Buffer[] = [];
  while (!list.atEnd) {
    certs.push(list.expect(TAG.SEQUENCE, 'certificate').der);
    if (certs.length > CERTS_MAX) list.fail(`carries more than ${CERTS_MAX} certificates`);
  }
  return certs;
}
