import { TAG } from '../der.js';
import { type SignatureAlgorithm, signatureAlgorithmOf } from '../signature-algorithm.js';

/**
 * Our own list, as everywhere, and ECDSA with NULL parameters: OpenSSL's CMP code wrote those before it became part of
 * OpenSSL (its recorded messages show it), and firmware still carries that code. The parameters say nothing, so nobody is
 * misled; certificates and PKCS#10 stay strict.
 *
 * @param der  whole AlgorithmIdentifier of a protection or a proof of possession
 */
export function cmpSignatureAlgorithmOf(der: Buffer): SignatureAlgorithm | undefined {
  const algorithm = signatureAlgorithmOf(der);
  if (algorithm !== undefined || der[0] !== TAG.SEQUENCE || der.at(-2) !== TAG.NULL || der.at(-1) !== 0)
    return algorithm;
  const bare = Buffer.from(der.subarray(0, -2));
  bare[1] = bare.length - 2;
  return signatureAlgorithmOf(bare);
}
