import { sequence, TAG } from '../der.js';
import { DerReader, unsignedMagnitude } from '../der-reader.js';
import { type NameAttribute, nameAttributes } from '../distinguished-name.js';
import { type Extension, readExtensions } from '../extension.js';
import { insideTag } from './cmp-fields.js';

/** CertTemplate as far as anybody here looks at it. Version, signingAlg, validity and unique ids are passed over: wishes at most. */
export interface CrmfTemplate {
  /** Magnitude without sign octet; means something in rr only. */
  readonly serial?: Buffer;
  /** Whole Name, unread: OpenSSL puts the maker's CA here when nobody told it better. */
  readonly issuerDer?: Buffer;
  readonly subject?: { readonly der: Buffer; readonly attributes: readonly NameAttribute[] };
  /** Whole SubjectPublicKeyInfo, unread. */
  readonly spkiDer?: Buffer;
  readonly extensions: readonly Extension[];
}

/**
 * @param fields  inside the CertTemplate's SEQUENCE
 * @throws FemtoError BAD_REQUEST
 * @see RFC 4211 section 5; the tags are those of crmf-schema.ts
 */
export function readCrmfTemplate(fields: DerReader): CrmfTemplate {
  fields.optional(0x80); // version
  const serial = fields.optional(0x81);
  fields.optional(0xa2); // signingAlg
  const issuer = fields.optional(0xa3);
  fields.optional(0xa4); // validity
  const subject = fields.optional(0xa5);
  const publicKey = fields.optional(0xa6);
  fields.optional(0x87); // issuerUID
  fields.optional(0x88); // subjectUID
  const extensions = fields.optional(0xa9);
  fields.end();
  const subjectDer = subject === undefined ? undefined : insideTag(subject, TAG.SEQUENCE, 'subject').der;
  return {
    ...(serial === undefined ? {} : { serial: unsignedMagnitude(serial.content, 'serialNumber') }),
    ...(issuer === undefined ? {} : { issuerDer: insideTag(issuer, TAG.SEQUENCE, 'issuer').der }),
    ...(subjectDer === undefined
      ? {}
      : { subject: { der: subjectDer, attributes: nameAttributes(subjectDer, 'subject') } }),
    // Implicit tags: the universal SEQUENCE tag goes back in front, as every other reader wants it.
    ...(publicKey === undefined ? {} : { spkiDer: sequence(publicKey.content) }),
    extensions:
      extensions === undefined
        ? []
        : readExtensions(new DerReader(sequence(extensions.content), 'requested extensions'), 'requested extensions'),
  };
}
