import { bitString, explicitTag, integer, oid, printableString, sequence, set } from './der.js';
import { relativeName } from './distinguished-name.js';
import { OID } from './oids.js';
import { algorithmIdentifier, type SignatureAlgorithm } from './signature-algorithm.js';

/**
 * The part of a PKCS#10 request that its key signs (RFC 2986 section 4.1).
 *
 * @param options.commonName         null = an empty subject: the CA takes names from its own registry anyway
 * @param options.challengePassword  carries our nonce, so that the proof of possession is fresh (RFC 2985 section 5.4.1)
 */
export function certificationRequestInfo(options: {
  commonName: string | null;
  spkiDer: Buffer;
  challengePassword?: string;
}): Buffer {
  const { commonName, spkiDer, challengePassword } = options;
  const attribute =
    challengePassword === undefined
      ? Buffer.alloc(0)
      : sequence(oid(OID.challengePassword), set(printableString(challengePassword)));
  return sequence(
    integer(0),
    commonName === null ? sequence() : sequence(relativeName(OID.commonName, commonName)),
    spkiDer,
    explicitTag(0, attribute),
  );
}

/** @param signature  DER Ecdsa-Sig-Value by the key in the info */
export function assembleCsr(info: Buffer, algorithm: SignatureAlgorithm, signature: Buffer): Buffer {
  return sequence(info, algorithmIdentifier(algorithm), bitString(signature));
}
