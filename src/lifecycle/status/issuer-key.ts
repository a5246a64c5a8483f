import { readCertificate } from '../../x509/certificate.js';

/** SubjectPublicKeyInfo of a CA or responder certificate of ours. */
export function spkiOfCertificate(certificateDer: Buffer): Buffer {
  return readCertificate(certificateDer).spki.spkiDer;
}
