import { FemtoError } from '../../platform/errors.js';
import { type Certificate, readCertificate, verifyCertificateSignature } from '../../x509/certificate.js';
import { nameAttributes } from '../../x509/distinguished-name.js';
import { checkKeyPolicy } from '../../x509/key-policy.js';
import { OID } from '../../x509/oids.js';
import type { Issuer } from '../model/index.js';

export const INTERMEDIATES_MAX = 10;

export interface CheckedAnchor {
  readonly root: Certificate;
  readonly intermediates: readonly Certificate[];
}

/**
 * What a maker's CA must be before anybody believes it: a root that signs itself, its CAs below it, all of them strong,
 * valid now and clearly CAs, and none of them with a name or a key of ours (rules 1.2).
 *
 * @param given.certificateDer  the root; `intermediates`: CAs below it, at most {@link INTERMEDIATES_MAX}
 * @param issuers  all our CAs, of every kind and state
 * @throws FemtoError BAD_REQUEST; KEY_WEAK; CERT_EXPIRED, CERT_NOT_YET_VALID; KEY_IN_USE (it is ours)
 */
export function checkVendorAnchor(
  given: { readonly certificateDer: Buffer; readonly intermediates: readonly Buffer[] },
  issuers: readonly Issuer[],
  at: Date,
): CheckedAnchor {
  if (given.intermediates.length > INTERMEDIATES_MAX) {
    throw unfit(`${given.intermediates.length} intermediate CAs are given`, `at most ${INTERMEDIATES_MAX} are kept`);
  }
  const root = readCertificate(given.certificateDer);
  checkCa(root, 'anchor', issuers, at);
  if (!root.subjectDer.equals(root.issuerDer) || !verifyCertificateSignature(root, root.spki)) {
    throw unfit(
      'the anchor is not self-signed',
      'give the root of the maker as anchor, and CAs below it as intermediates',
    );
  }
  const intermediates = given.intermediates.map((der, index) => {
    const certificate = readCertificate(der);
    checkCa(certificate, `intermediate ${index + 1}`, issuers, at);
    return certificate;
  });
  return { root, intermediates };
}

function checkCa(certificate: Certificate, what: string, issuers: readonly Issuer[], at: Date): void {
  checkNotOurs(certificate, what, issuers);
  if (!certificate.isCa) throw unfit(`the ${what} is no CA certificate`, 'give the certificate of the CA itself');
  if (!certificate.keyUsage.includes('keyCertSign')) {
    throw unfit(`the ${what} may not sign certificates (no keyCertSign)`, 'ask the maker for its CA certificate');
  }
  // OpenSSL's strict reading asks for both in every CA of a path; without them no unit would ever lead here.
  const isMarked = certificate.extensions.some(({ id, critical }) => id === OID.basicConstraints && critical);
  if (!isMarked || certificate.ski === undefined) {
    const fault = isMarked ? 'has no subjectKeyIdentifier' : 'does not mark basicConstraints critical';
    throw unfit(
      `the ${what} ${fault}`,
      'RFC 5280 section 4.2.1 asks for it; ask the maker for a CA certificate that has it',
    );
  }
  if (certificate.notBefore > at) {
    throw new FemtoError('CERT_NOT_YET_VALID', `The ${what} begins at ${certificate.notBefore.toISOString()}.`);
  }
  if (certificate.notAfter < at) {
    throw new FemtoError('CERT_EXPIRED', `The ${what} ended at ${certificate.notAfter.toISOString()}.`);
  }
  checkKeyPolicy(certificate.spki);
}

/** Names are compared as verifiers compare them: without case, without runs of spaces, whatever the string type. */
function checkNotOurs(certificate: Certificate, what: string, issuers: readonly Issuer[]): void {
  const name = foldedName(certificate.subjectDer);
  const { spkiDer } = certificate.spki;
  const twin = issuers.find((issuer) => foldedName(issuer.subjectDer) === name || issuer.spkiDer.equals(spkiDer));
  if (twin === undefined) return;
  throw new FemtoError(
    'KEY_IN_USE',
    `The ${what} has the name or the key of our own CA ${twin.label}; no maker’s CA may be mistaken for one of ours.`,
    { facts: { issuer: twin.label } },
  );
}

function foldedName(nameDer: Buffer): string {
  return JSON.stringify(
    nameAttributes(nameDer, 'name').map(({ type, value }) => [
      type,
      value.normalize('NFKC').toLowerCase().replaceAll(/\s+/g, ' ').trim(),
    ]),
  );
}

function unfit(fault: string, next: string): FemtoError {
  return new FemtoError('BAD_REQUEST', `It cannot be an anchor: ${fault}; ${next}.`, { facts: { fault } });
}
