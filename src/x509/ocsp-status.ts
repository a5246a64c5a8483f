import { ocspIssuerHashes, ocspKeyHash } from './cert-id.js';
import { type Certificate, readCertificate } from './certificate.js';
import type { RevocationStatus } from './crl-status.js';
import type { ParsedOcspAnswer } from './ocsp-response.js';
import { OID } from './oids.js';
import type { BasicOcspResponse, OcspResponse } from './read-ocsp-response.js';
import { type SignatureAlgorithm, verifySignature } from './signature-algorithm.js';
import type { Spki } from './spki.js';

export type VerifySignature = (algorithm: SignatureAlgorithm, data: Buffer, spki: Spki, signature: Buffer) => boolean;

/**
 * Was this response made by the issuer, or by a delegate the issuer itself certified for it, about certificates of this
 * issuer and no other?
 *
 * @param verify  replaced only by the corpus test, whose recorded answers are signed with SHA-1
 * @see RFC 6960 sections 3.2 and 4.2.2.2
 */
export function verifyOcspResponse(
  basic: BasicOcspResponse,
  issuer: Certificate,
  now: Date,
  verify: VerifySignature = verifySignature,
): boolean {
  const hashes = ocspIssuerHashes(issuer.subjectDer, issuer.spki);
  const aboutIssuer = basic.responseData.responses.every(
    ({ certId }) =>
      certId.issuerNameHash.equals(hashes[certId.hashAlg].nameHash) &&
      certId.issuerKeyHash.equals(hashes[certId.hashAlg].keyHash),
  );
  if (!aboutIssuer) return false;
  const responder = [issuer, ...delegates(basic, issuer, now, verify)].find((candidate) => isNamed(basic, candidate));
  if (responder === undefined) return false;
  return verify(basic.signatureAlgorithm, basic.responseDataDer, responder.spki, basic.signature);
}

/**
 * What a response says about one certificate. Not successful, not verified, not fresh, or silent about it: `unknown`. Of
 * several answers the worst counts.
 *
 * @param question  `ageMaxSeconds`: oldest thisUpdate accepted, whatever nextUpdate says
 */
export function ocspStatus(question: {
  response: OcspResponse;
  certificate: Certificate;
  issuer: Certificate;
  now: Date;
  ageMaxSeconds: number;
  verify?: VerifySignature;
}): RevocationStatus {
  const { response, certificate, issuer, now, ageMaxSeconds, verify = verifySignature } = question;
  if (response.status !== 'successful' || !certificate.issuerDer.equals(issuer.subjectDer)) return 'unknown';
  const { producedAt, responses } = response.basic.responseData;
  // An answer from outside the certificate's life was made for another certificate, or by a broken clock.
  if (producedAt < certificate.notBefore || producedAt > certificate.notAfter) return 'unknown';
  const answers = responses.filter(({ certId }) => certId.serial.equals(certificate.serial));
  if (answers.length === 0 || !answers.every((answer) => isFresh(answer, now, ageMaxSeconds))) return 'unknown';
  if (!verifyOcspResponse(response.basic, issuer, now, verify)) return 'unknown';
  const kinds = answers.map((answer) => answer.status.kind);
  if (kinds.includes('revoked')) return 'revoked';
  return kinds.includes('unknown') ? 'unknown' : 'good';
}

function delegates(basic: BasicOcspResponse, issuer: Certificate, now: Date, verify: VerifySignature): Certificate[] {
  return basic.certs
    .map(readCertificate)
    .filter(
      (candidate) =>
        candidate.issuerDer.equals(issuer.subjectDer) &&
        candidate.ekus.includes(OID.ocspSigning) &&
        now >= candidate.notBefore &&
        now <= candidate.notAfter &&
        verify(candidate.signatureAlgorithm, candidate.tbsDer, issuer.spki, candidate.signature),
    );
}

function isNamed({ responseData }: BasicOcspResponse, candidate: Certificate): boolean {
  const { responderKeyHash, responderNameDer } = responseData;
  if (responderKeyHash !== undefined) return responderKeyHash.equals(ocspKeyHash(candidate.spki));
  return responderNameDer?.equals(candidate.subjectDer) === true;
}

function isFresh({ thisUpdate, nextUpdate }: ParsedOcspAnswer, now: Date, ageMaxSeconds: number): boolean {
  const age = (now.getTime() - thisUpdate.getTime()) / 1_000;
  if (age < 0 || age > ageMaxSeconds) return false;
  return nextUpdate === undefined || now.getTime() <= nextUpdate.getTime();
}
