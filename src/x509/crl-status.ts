import type { Certificate } from './certificate.js';
import { crlEntries } from './crl-entries.js';
import { type Crl, verifyCrlSignature } from './read-crl.js';

export type RevocationStatus = 'good' | 'revoked' | 'unknown';

/**
 * What one CRL says about one certificate. Everything that keeps it from speaking for the certificate is `unknown`, which
 * no caller may take for good: another issuer or key, a bad signature, an issuer that may not sign CRLs, a time outside
 * the window, a delta, and a scope that leaves the certificate out.
 *
 * @param question  `issuers`: certificates whose key may have signed the CRL (more than one while a key rolls over);
 *                  `ageMaxSeconds`: oldest thisUpdate accepted, whatever nextUpdate says
 * @see RFC 5280 section 6.3.3
 */
export function crlStatus(question: {
  crl: Crl;
  certificate: Certificate;
  issuers: readonly Certificate[];
  now: Date;
  ageMaxSeconds: number;
}): RevocationStatus {
  const { crl, certificate, issuers, now, ageMaxSeconds } = question;
  if (!crl.issuerDer.equals(certificate.issuerDer) || certificate.crlElsewhere) return 'unknown';
  if (!isFresh(crl, now, ageMaxSeconds)) return 'unknown';
  if (!speaksFor(crl, certificate)) return 'unknown';
  const signer = issuers.find((issuer) => maySignCrl(issuer, crl) && verifyCrlSignature(crl, issuer.spki));
  if (signer === undefined) return 'unknown';
  for (const { serial, reason } of crlEntries(crl)) {
    if (serial.equals(certificate.serial) && reason !== 'removeFromCRL') return 'revoked';
  }
  return 'good';
}

function isFresh(crl: Crl, now: Date, ageMaxSeconds: number): boolean {
  const age = (now.getTime() - crl.thisUpdate.getTime()) / 1_000;
  if (age < 0 || age > ageMaxSeconds) return false;
  return crl.nextUpdate === undefined || now.getTime() <= crl.nextUpdate.getTime();
}

function speaksFor({ deltaBase, distributionPoint: point }: Crl, certificate: Certificate): boolean {
  if (deltaBase !== undefined) return false;
  if (point === undefined) return true;
  if (point.indirect || point.onlySomeReasons || point.onlyAttributeCerts) return false;
  if (certificate.isCa ? point.onlyUserCerts : point.onlyCaCerts) return false;
  return !point.hasName || point.urls.some((url) => certificate.crlUrls.includes(url));
}

function maySignCrl(issuer: Certificate, crl: Crl): boolean {
  if (!issuer.subjectDer.equals(crl.issuerDer)) return false;
  return issuer.keyUsage.length === 0 || issuer.keyUsage.includes('cRLSign');
}
