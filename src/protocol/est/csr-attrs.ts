import { oid, sequence, set } from '../../x509/der.js';
import { OID } from '../../x509/oids.js';

/**
 * What a request should look like: an EC key on P-256, signed with SHA-256. No extension is asked for, because names and
 * usages come from registry and profile; no challengePassword, because TLS 1.3 has nothing to put there.
 *
 * @see RFC 7030 section 4.5.2; RFC 8951 section 3.3
 */
export const CSR_ATTRS: Buffer = sequence(
  sequence(oid(OID.ecPublicKey), set(oid(OID.prime256v1))),
  oid(OID.ecdsaWithSha256),
);
