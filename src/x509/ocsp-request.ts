import { type CertId, readCertId } from './cert-id.js';
import { TAG } from './der.js';
import { checkDer } from './der-gate.js';
import { badDer, DerReader, readDer, smallIntegerValue } from './der-reader.js';
import { readExtensions, refuseCriticalExtensions } from './extension.js';
import { OID } from './oids.js';

export interface OcspRequest {
  /** One or more, in order; at most {@link CERT_IDS_MAX}. */
  readonly certIds: readonly CertId[];
  /** 1 to 128 octets, to be echoed. */
  readonly nonce?: Buffer;
}

export const OCSP_REQUEST_BYTES_MAX = 4_096;
/** The profile asks for exactly one; a gateway checking a short chain may ask for a few. Signing is what costs. */
export const CERT_IDS_MAX = 8;
/** RFC 9654 section 2.1: 0 and more than 128 octets must be answered malformedRequest. */
const NONCE_OCTETS_MAX = 128;
const OCSP_DER_LIMITS = { bytesMax: OCSP_REQUEST_BYTES_MAX, depthMax: 20, elementsMax: 500 };
const WHAT = 'OCSP request';

/**
 * Reads an OCSPRequest. A signature on it is allowed and ignored: status is public, and nobody gains by having signed.
 *
 * @throws FemtoError BAD_REQUEST for everything that is answered malformedRequest(1)
 * @see RFC 6960 section 4.1; RFC 9654
 */
export function readOcspRequest(der: Buffer): OcspRequest {
  checkDer(der, OCSP_DER_LIMITS);
  const outer = readDer(der, TAG.SEQUENCE, WHAT);
  const fields = outer.enter(TAG.SEQUENCE, 'tbsRequest');
  outer.optional(0xa0);
  outer.end();

  readVersion(fields);
  fields.optional(0xa1); // requestorName
  const list = fields.enter(TAG.SEQUENCE, 'requestList');
  const extensions = fields.optional(0xa2);
  fields.end();

  const certIds: CertId[] = [];
  if (list.atEnd) list.fail('asks about nothing');
  while (!list.atEnd) {
    if (certIds.length === CERT_IDS_MAX) list.fail(`asks about more than ${CERT_IDS_MAX} certificates`);
    const request = list.enter(TAG.SEQUENCE, 'request');
    certIds.push(readCertId(request.expect(TAG.SEQUENCE, 'CertID')));
    const single = request.optional(0xa0);
    request.end();
    if (single !== undefined) refuseCriticalExtensions(single.content, WHAT);
  }
  const nonce = extensions === undefined ? undefined : readNonce(extensions.content);
  return nonce === undefined ? { certIds } : { certIds, nonce };
}

/** v1 is the default and so left out in DER; a client that spells it out is understood all the same. */
function readVersion(fields: DerReader): void {
  const wrapped = fields.optional(0xa0);
  if (wrapped === undefined) return;
  const inner = new DerReader(wrapped.content, 'version');
  if (smallIntegerValue(inner.expect(TAG.INTEGER).content, 'version') !== 0) fields.fail('is not version 1');
  inner.end();
}

function readNonce(content: Buffer): Buffer | undefined {
  const inner = new DerReader(content, WHAT);
  const extensions = readExtensions(inner, WHAT);
  inner.end();
  let nonce: Buffer | undefined;
  for (const { id, critical, value } of extensions) {
    if (id === OID.ocspNonce) nonce = nonceOctets(value);
    else if (critical) throw badDer(WHAT, `has the unknown critical extension ${id}`);
  }
  return nonce;
}

export function nonceOctets(value: Buffer): Buffer {
  const outer = new DerReader(value, 'nonce');
  const { content } = outer.expect(TAG.OCTET_STRING);
  outer.end();
  if (content.length === 0 || content.length > NONCE_OCTETS_MAX) {
    throw badDer('nonce', `is not 1 to ${NONCE_OCTETS_MAX} octets`);
  }
  return content;
}
