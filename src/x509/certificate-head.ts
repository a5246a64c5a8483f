import { TAG } from './der.js';
import { readDer, timeValue, unsignedMagnitude } from './der-reader.js';

/** Under which name, number and end a record would hold a certificate. */
export interface CertificateHead {
  /** Magnitude without sign octet. */
  readonly serial: Buffer;
  readonly issuerDer: Buffer;
  readonly notBefore: Date;
  readonly notAfter: Date;
}

/**
 * What stands at the front of a certificate, and nothing else of it: for finding the record of one that is there byte by
 * byte, which was read whole before it was issued. It says nothing about bytes that are not in the record: those go to
 * `readCertificate`.
 *
 * @throws FemtoError BAD_REQUEST where the front is not that of a v3 certificate
 * @see RFC 5280 section 4.1
 */
export function readCertificateHead(der: Buffer): CertificateHead {
  const tbs = readDer(der, TAG.SEQUENCE, WHAT).enter(TAG.SEQUENCE, 'tbsCertificate');
  tbs.expect(VERSION, 'version');
  const serial = unsignedMagnitude(tbs.expect(TAG.INTEGER, 'serialNumber').content, WHAT);
  tbs.expect(TAG.SEQUENCE, 'signature algorithm');
  const issuerDer = tbs.expect(TAG.SEQUENCE, 'issuer').der;
  const validity = tbs.enter(TAG.SEQUENCE, 'validity');
  const notBefore = timeValue(validity.next(), WHAT);
  const notAfter = timeValue(validity.next(), WHAT);
  return { serial, issuerDer, notBefore, notAfter };
}

const WHAT = 'certificate';
/** [0] EXPLICIT */
const VERSION = 0xa0;
