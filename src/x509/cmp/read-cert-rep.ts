import { TAG } from '../der.js';
import { badDer, type DerElement, DerReader } from '../der-reader.js';
import { insideTag, readMembers, shortInteger } from './cmp-fields.js';
import type { CertResponseView } from './pki-message.js';
import { readStatusInfo } from './status-info.js';

/**
 * CertRepMessage of an ip, cp or kup.
 *
 * @param fields  inside its SEQUENCE
 * @throws FemtoError BAD_REQUEST
 * @see RFC 9810 section 5.3.4
 */
export function readCertRep(fields: DerReader): { caPubs: Buffer[]; responses: CertResponseView[] } {
  const caPubs = fields.optional(0xa1);
  const response = fields.enter(TAG.SEQUENCE, 'response');
  fields.end();
  return {
    caPubs:
      caPubs === undefined
        ? []
        : readMembers(
            new DerReader(insideTag(caPubs, TAG.SEQUENCE, 'caPubs').content, 'caPubs'),
            (list) => list.expect(TAG.SEQUENCE).der,
          ),
    responses: readMembers(response, (list) => readCertResponse(list.enter(TAG.SEQUENCE, 'CertResponse'))),
  };
}

function readCertResponse(fields: DerReader): CertResponseView {
  const certReqId = shortInteger(fields.expect(TAG.INTEGER, 'certReqId').content, 'certReqId');
  const status = readStatusInfo(fields.expect(TAG.SEQUENCE, 'status'));
  const keyPair = fields.optional(TAG.SEQUENCE);
  fields.optional(TAG.OCTET_STRING); // rspInfo
  fields.end();
  const certificateDer = keyPair === undefined ? undefined : readCertificateOf(keyPair);
  return certificateDer === undefined ? { certReqId, status } : { certReqId, status, certificateDer };
}

/** The certificate of a CertifiedKeyPair; an encrypted one, which nobody here asks for, is none. */
function readCertificateOf(element: DerElement): Buffer | undefined {
  const fields = new DerReader(element.content, 'certifiedKeyPair');
  const certOrEncCert = fields.next();
  fields.optional(0xa0); // privateKey
  fields.optional(0xa1); // publicationInfo
  fields.end();
  if (certOrEncCert.tag === 0xa0) return insideTag(certOrEncCert, TAG.SEQUENCE, 'certificate').der;
  if (certOrEncCert.tag === 0xa1) return undefined;
  throw badDer('certifiedKeyPair', 'has neither certificate nor encryptedCert');
}
