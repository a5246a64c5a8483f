import { type CertId, readCertId } from './cert-id.js';
import { CRL_REASONS, type CrlReason, crlReasonOf } from './crl-reason.js';
import { enumerated, nullValue, oid, sequence, TAG } from './der.js';
import { badDer, type DerElement, DerReader, readDer, smallIntegerValue, timeValue } from './der-reader.js';
import { DerWriter } from './der-writer.js';
import { checkName } from './distinguished-name.js';
import { extension, readExtensions, refuseCriticalExtensions } from './extension.js';
import { nonceOctets } from './ocsp-request.js';
import { OID } from './oids.js';
import { algorithmIdentifier, type IssuerSignature } from './signature-algorithm.js';

export type OcspStatus =
  | { readonly kind: 'good' }
  | { readonly kind: 'revoked'; readonly at: Date; readonly reason?: CrlReason | number }
  | { readonly kind: 'unknown' };

export interface OcspAnswer {
  /** CertID as received. */
  readonly certIdDer: Buffer;
  readonly status: OcspStatus;
  readonly thisUpdate: Date;
  readonly nextUpdate?: Date;
}

export interface ResponseDataFields {
  /** SHA-1 of the responder's key bits, 20 octets: see ocspKeyHash. */
  readonly responderKeyHash: Buffer;
  readonly producedAt: Date;
  readonly responses: readonly OcspAnswer[];
  readonly nonce?: Buffer;
  /** Says that this responder answers `revoked` for serials never issued (RFC 6960 section 4.4.8). */
  readonly extendedRevoke?: boolean;
}

export interface ParsedOcspAnswer extends OcspAnswer {
  readonly certId: CertId;
}

export interface ParsedResponseData {
  readonly responderKeyHash?: Buffer;
  readonly responderNameDer?: Buffer;
  readonly producedAt: Date;
  readonly responses: readonly ParsedOcspAnswer[];
  readonly nonce?: Buffer;
  readonly extendedRevoke: boolean;
}

/**
 * ResponseData DER, ready for the signer: byKey responder, whole seconds, v1 left out.
 *
 * @see RFC 6960 section 4.2.1
 */
export function buildResponseData(fields: ResponseDataFields): Buffer {
  const out = WRITER.restart();
  writeResponseData(out, fields);
  return out.toBuffer();
}

export interface OcspResponseParts {
  /** ResponseData: DER as it was signed, or what it was made of. */
  readonly responseData: Buffer | ResponseDataFields;
  readonly alg: IssuerSignature;
  /** Ecdsa-Sig-Value over it, DER. */
  readonly signature: Buffer;
  /** The delegate's certificate, DER. */
  readonly certs: readonly Buffer[];
}

/** Whole OCSPResponse, successful. */
export function assembleOcspResponse(parts: OcspResponseParts): Buffer {
  return responseOf(parts).toBuffer();
}

/** The same, one character an octet: what node:http writes together with its headers. */
export function ocspResponseText(parts: OcspResponseParts): string {
  return responseOf(parts).toLatin1();
}

function responseOf({ responseData, alg, signature, certs }: OcspResponseParts): DerWriter {
  const out = WRITER.restart();
  const end = out.position;
  if (certs.length > 0) {
    for (const cert of certs.toReversed()) out.bytes(cert);
    out.wrap(TAG.SEQUENCE, end);
    out.wrap(0xa0, end);
  }
  const signatureEnd = out.position;
  out.bytes(signature);
  out.byte(0); // unused bits
  out.wrap(TAG.BIT_STRING, signatureEnd);
  out.bytes(algorithmIdentifier(alg));
  if (responseData instanceof Uint8Array) out.bytes(responseData);
  else writeResponseData(out, responseData);
  out.wrap(TAG.SEQUENCE, end);
  out.wrap(TAG.OCTET_STRING, end);
  out.bytes(BASIC_RESPONSE);
  out.wrap(TAG.SEQUENCE, end);
  out.wrap(0xa0, end);
  out.bytes(SUCCESSFUL);
  out.wrap(TAG.SEQUENCE, end);
  return out;
}

function writeResponseData(out: DerWriter, fields: ResponseDataFields): void {
  const end = out.position;
  const { nonce, extendedRevoke, responses, responderKeyHash, producedAt } = fields;
  if (extendedRevoke === true) out.bytes(EXTENDED_REVOKE);
  if (nonce !== undefined) {
    const nonceEnd = out.position;
    out.bytes(nonce);
    out.wrap(TAG.OCTET_STRING, nonceEnd);
    out.wrap(TAG.OCTET_STRING, nonceEnd);
    out.bytes(NONCE);
    out.wrap(TAG.SEQUENCE, nonceEnd);
  }
  if (out.position !== end) {
    out.wrap(TAG.SEQUENCE, end);
    out.wrap(0xa1, end);
  }
  const responsesEnd = out.position;
  for (let index = responses.length - 1; index >= 0; index -= 1)
    writeSingleResponse(out, responses[index] as OcspAnswer);
  out.wrap(TAG.SEQUENCE, responsesEnd);
  out.time(secondOf(producedAt));
  const responderEnd = out.position;
  out.bytes(responderKeyHash);
  out.wrap(TAG.OCTET_STRING, responderEnd);
  out.wrap(0xa2, responderEnd);
  out.wrap(TAG.SEQUENCE, end);
}

/** Whole seconds: fractions are forbidden in OCSP as in X.509. */
function secondOf(at: Date): number {
  return Math.floor(at.getTime() / 1_000);
}

/** Unsigned error answer: 1 malformedRequest, 2 internalError, 3 tryLater, 6 unauthorized. */
export function ocspError(status: 1 | 2 | 3 | 6): Buffer {
  return sequence(enumerated(status));
}

/**
 * Reads a ResponseData strictly: what the signer does before it signs one, and a verifier after.
 *
 * @throws FemtoError BAD_REQUEST
 */
export function parseResponseData(der: Buffer): ParsedResponseData {
  if (der.length > RESPONSE_DATA_BYTES_MAX) throw badDer(WHAT, `is larger than ${RESPONSE_DATA_BYTES_MAX} bytes`);
  const fields = readDer(der, TAG.SEQUENCE, WHAT);
  const responder = fields.next();
  const responderId = readResponderId(responder);
  const producedAt = generalizedTimeOf(fields.next(), 'producedAt');
  const list = fields.enter(TAG.SEQUENCE, 'responses');
  if (list.atEnd) list.fail('holds no answer');
  const responses: ParsedOcspAnswer[] = [];
  while (!list.atEnd) responses.push(readSingleResponse(list.enter(TAG.SEQUENCE, 'answer')));
  const wrapped = fields.optional(0xa1);
  fields.end();
  return { ...responderId, producedAt, responses, ...readResponseExtensions(wrapped?.content) };
}

const RESPONSE_DATA_BYTES_MAX = 16_384;
const WHAT = 'OCSP answer';

/** Eight answers of the longest kind, the longest nonce and the certificates: some 8 KiB. */
const WRITER = new DerWriter(64 * 1024);
const BASIC_RESPONSE = oid(OID.ocspBasic);
const NONCE = oid(OID.ocspNonce);
const EXTENDED_REVOKE = extension(OID.ocspExtendedRevoke, false, nullValue());
const SUCCESSFUL = enumerated(0);

function writeSingleResponse(out: DerWriter, { certIdDer, status, thisUpdate, nextUpdate }: OcspAnswer): void {
  const end = out.position;
  if (nextUpdate !== undefined) {
    out.time(secondOf(nextUpdate));
    out.wrap(0xa0, end);
  }
  out.time(secondOf(thisUpdate));
  writeCertStatus(out, status);
  out.bytes(certIdDer);
  out.wrap(TAG.SEQUENCE, end);
}

function writeCertStatus(out: DerWriter, status: OcspStatus): void {
  const end = out.position;
  switch (status.kind) {
    case 'good':
      out.wrap(0x80, end);
      break;
    case 'unknown':
      out.wrap(0x82, end);
      break;
    case 'revoked': {
      const code = typeof status.reason === 'string' ? CRL_REASONS[status.reason] : (status.reason ?? 0);
      // unspecified is said by leaving the reason out, as in CRLs.
      if (code !== 0) {
        out.byte(code);
        out.wrap(TAG.ENUMERATED, end);
        out.wrap(0xa0, end);
      }
      out.time(secondOf(status.at));
      out.wrap(0xa1, end);
    }
  }
}

function readResponderId(element: DerElement): Pick<ParsedResponseData, 'responderKeyHash' | 'responderNameDer'> {
  const inner = new DerReader(element.content, 'responderID');
  if (element.tag === 0xa2) {
    const responderKeyHash = inner.expect(TAG.OCTET_STRING).content;
    inner.end();
    if (responderKeyHash.length !== 20) inner.fail('has a key hash that is not 20 octets');
    return { responderKeyHash };
  }
  if (element.tag !== 0xa1) throw badDer(WHAT, 'has no responderID (an explicit version 1 is not DER)');
  const responderNameDer = checkName(inner.expect(TAG.SEQUENCE), 'responder name');
  inner.end();
  return { responderNameDer };
}

function readSingleResponse(fields: DerReader): ParsedOcspAnswer {
  const certId = readCertId(fields.expect(TAG.SEQUENCE, 'CertID'));
  const status = readCertStatus(fields.next());
  const thisUpdate = generalizedTimeOf(fields.next(), 'thisUpdate');
  const wrapped = fields.optional(0xa0);
  const extensions = fields.optional(0xa1);
  fields.end();
  if (extensions !== undefined) refuseCriticalExtensions(extensions.content, WHAT);
  const answer = { certId, certIdDer: certId.certIdDer, status, thisUpdate };
  if (wrapped === undefined) return answer;
  const inner = new DerReader(wrapped.content, 'nextUpdate');
  const nextUpdate = generalizedTimeOf(inner.next(), 'nextUpdate');
  inner.end();
  return { ...answer, nextUpdate };
}

function readCertStatus({ tag, content }: DerElement): OcspStatus {
  if ((tag === 0x80 || tag === 0x82) && content.length === 0) return { kind: tag === 0x80 ? 'good' : 'unknown' };
  if (tag !== 0xa1) throw badDer(WHAT, 'has an unknown certStatus');
  const fields = new DerReader(content, 'revokedInfo');
  const at = generalizedTimeOf(fields.next(), 'revocationTime');
  const wrapped = fields.optional(0xa0);
  fields.end();
  if (wrapped === undefined) return { kind: 'revoked', at };
  const inner = new DerReader(wrapped.content, 'revocationReason');
  const reason = crlReasonOf(smallIntegerValue(inner.expect(TAG.ENUMERATED).content, 'revocationReason'));
  inner.end();
  if (reason === undefined) throw badDer(WHAT, 'has an unknown revocationReason');
  return { kind: 'revoked', at, reason };
}

function readResponseExtensions(content: Buffer | undefined): { nonce?: Buffer; extendedRevoke: boolean } {
  if (content === undefined) return { extendedRevoke: false };
  const inner = new DerReader(content, WHAT);
  const extensions = readExtensions(inner, WHAT);
  inner.end();
  const extendedRevoke = extensions.some(({ id }) => id === OID.ocspExtendedRevoke);
  for (const { id, critical } of extensions) {
    if (critical && id !== OID.ocspNonce) throw badDer(WHAT, `has the unknown critical extension ${id}`);
  }
  const nonce = extensions.find(({ id }) => id === OID.ocspNonce);
  return nonce === undefined ? { extendedRevoke } : { extendedRevoke, nonce: nonceOctets(nonce.value) };
}

/** OCSP knows GeneralizedTime only, in every year (RFC 6960 section 4.2.2.1). */
function generalizedTimeOf(element: DerElement, what: string): Date {
  if (element.tag !== TAG.GENERALIZED_TIME) throw badDer(what, 'is not a GeneralizedTime');
  return timeValue(element, what);
}
