import { type CrlReason, crlReasonOf } from './crl-reason.js';
import { TAG } from './der.js';
import { badDer, DerReader, smallIntegerValue, timeValue, unsignedMagnitude } from './der-reader.js';
import { readExtensions } from './extension.js';
import { OID } from './oids.js';

export interface CrlEntry {
  /** The whole entry as it stands. */
  readonly der: Buffer;
  /** Magnitude without sign octet. */
  readonly serial: Buffer;
  readonly revokedAt: Date;
  readonly reason: CrlReason;
  /** False: no reasonCode, which means `unspecified`. */
  readonly reasonWritten: boolean;
  readonly invalidSince: Date | undefined;
}

/** The next entry of a list. @throws FemtoError BAD_REQUEST for its form, and for critical entry extensions */
export function readCrlEntry(list: DerReader): CrlEntry {
  const { der, content } = list.expect(TAG.SEQUENCE, 'entry');
  const fields = new DerReader(content, 'CRL entry');
  const serial = unsignedMagnitude(fields.expect(TAG.INTEGER, 'serial number').content, 'CRL entry serial');
  const revokedAt = timeValue(fields.next(), 'revocationDate');
  let reason: CrlReason | undefined;
  let invalidSince: Date | undefined;
  if (!fields.atEnd) {
    for (const { id, critical, value } of readExtensions(fields, 'CRL entry extensions')) {
      // Both known ones must not be critical (sections 5.3.1, 5.3.2). certificateIssuer is critical and would make this
      // entry another issuer's: indirect CRLs are not for us.
      if (critical || id === OID.certificateIssuer) throw badDer('CRL entry', `has extension ${id} as critical`);
      if (id === OID.reasonCode) reason = readReason(value);
      if (id === OID.invalidityDate) invalidSince = readInvalidityDate(value);
    }
  }
  fields.end();
  return {
    der,
    serial,
    revokedAt,
    reason: reason ?? 'unspecified',
    reasonWritten: reason !== undefined,
    invalidSince,
  };
}

function readReason(value: Buffer): CrlReason {
  const outer = new DerReader(value, 'reasonCode');
  const reason = crlReasonOf(smallIntegerValue(outer.expect(TAG.ENUMERATED).content, 'reasonCode'));
  outer.end();
  if (reason === undefined) throw badDer('reasonCode', 'is not in the list');
  return reason;
}

function readInvalidityDate(value: Buffer): Date {
  const outer = new DerReader(value, 'invalidityDate');
  const at = timeValue(outer.expect(TAG.GENERALIZED_TIME), 'invalidityDate');
  outer.end();
  return at;
}
