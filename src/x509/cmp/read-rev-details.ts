import { TAG } from '../der.js';
import { badDer, DerReader, smallIntegerValue } from '../der-reader.js';
import { type Extension, readExtensions } from '../extension.js';
import { OID } from '../oids.js';
import { readCrmfTemplate } from './crmf-template.js';
import type { RevDetailsView } from './pki-message.js';

/**
 * One RevDetails of an rr: which certificate, and why. Whether the reason is one a unit may give is the listener's.
 *
 * @throws FemtoError BAD_REQUEST
 * @see RFC 9810 section 5.3.9; RFC 9483 section 4.2
 */
export function readRevDetails(fields: DerReader): RevDetailsView {
  const { issuerDer, serial } = readCrmfTemplate(fields.enter(TAG.SEQUENCE, 'certDetails'));
  const extensions = fields.atEnd ? [] : readExtensions(fields, 'crlEntryDetails');
  fields.end();
  const reasonCode = readReasonCode(extensions);
  return {
    ...(issuerDer === undefined || serial === undefined ? {} : { certId: { issuerDer, serial } }),
    ...(reasonCode === undefined ? {} : { reasonCode }),
  };
}

function readReasonCode(extensions: readonly Extension[]): number | undefined {
  let reasonCode: number | undefined;
  for (const { id, critical, value } of extensions) {
    if (id === OID.reasonCode) {
      const outer = new DerReader(value, 'reasonCode');
      reasonCode = smallIntegerValue(outer.expect(TAG.ENUMERATED).content, 'reasonCode');
      outer.end();
    } else if (critical) {
      throw badDer('crlEntryDetails', `has the unknown critical extension ${id}`);
    }
  }
  return reasonCode;
}
