import { integer, oid, sequence, set, tlv } from '../../x509/der.js';
import { OID } from '../../x509/oids.js';

/**
 * CMS SignedData that signs nothing: certificates in a bag, in ascending order of their bytes as DER's SET OF wants it.
 * The certificates go in as they are; a schema would read and write them anew, and a byte that changes breaks a signature.
 *
 * @param certificates  DER each
 * @returns DER ContentInfo; encapContentInfo has no eContent
 * @see RFC 7030 section 4.1.3; RFC 5272 section 4.1; RFC 5652 section 5.1
 */
export function certsOnly(certificates: readonly Buffer[]): Buffer {
  const sorted = [...certificates].sort(Buffer.compare);
  const encapContentInfo = sequence(oid(OID.pkcs7Data));
  const signedData = sequence(integer(1), set(), encapContentInfo, tlv(EXPLICIT_0, ...sorted), set());
  return sequence(oid(OID.pkcs7SignedData), tlv(EXPLICIT_0, signedData));
}

/** `[0]`, constructed: EXPLICIT around the content, IMPLICIT SET for the certificates; the octet is the same. */
const EXPLICIT_0 = 0xa0;
