import { nullValue, octetString, oid, sequence, TAG } from '../../x509/der.js';
import type { ocspIssuerHashes } from '../../x509/ocsp.js';
import { OID } from '../../x509/oids.js';
import { SERIAL_OCTETS } from './packed-answers.js';

/**
 * How a certificate of one CA can be asked for: SHA-1 or SHA-256, parameters NULL or absent. Each as what stands in the CertID
 * before the serial number: algorithm and both hashes, DER as latin1. Whatever else a reader lets through is answered, and
 * not kept.
 */
export function certIdSpellings(hashes: ReturnType<typeof ocspIssuerHashes>): readonly string[] {
  return (['sha1', 'sha256'] as const).flatMap((name) => {
    const { nameHash, keyHash } = hashes[name];
    const issuer = Buffer.concat([octetString(nameHash), octetString(keyHash)]);
    return [sequence(oid(OID[name]), nullValue()), sequence(oid(OID[name]))].map((algorithm) =>
      Buffer.concat([algorithm, issuer]).toString('latin1'),
    );
  });
}

/** Header of a CertID, and its INTEGER's: what stands round the spelling. */
const HEAD_BYTES = 2;
const SERIAL_HEAD_BYTES = 2;

/**
 * The spelling of a CertID with a serial as long as ours; undefined for any other. Nothing is checked: a spelling that is one
 * of a CA's says by itself that the CertID is what it seems.
 */
export function spellingOf(certIdDer: Buffer): string | undefined {
  const end = certIdDer.length - SERIAL_OCTETS - SERIAL_HEAD_BYTES;
  const isOurLength = end > HEAD_BYTES && certIdDer[end] === TAG.INTEGER && certIdDer[end + 1] === SERIAL_OCTETS;
  // One octet gives the length of the whole; a first octet of 0 or of 0x80 and more is padding or a negative number.
  const isWhole = certIdDer[0] === TAG.SEQUENCE && certIdDer[1] === certIdDer.length - HEAD_BYTES;
  const first = certIdDer[end + SERIAL_HEAD_BYTES] ?? 0;
  if (!isOurLength || !isWhole || first === 0 || first >= 0x80) return undefined;
  return certIdDer.toString('latin1', HEAD_BYTES, end);
}

/** The CertID whose {@link spellingOf} it is. */
export function certIdBySpelling(spelling: string, serial: Buffer): Buffer {
  const head = Buffer.from(spelling, 'latin1');
  return sequence(head, Buffer.from([TAG.INTEGER, SERIAL_OCTETS]), serial);
}

/**
 * The CertID of a plain request (one question, no nonce, nothing else), DER: a slice of its bytes. Undefined for any other
 * request, which is then parsed. Nothing is believed of it: a CertID that is kept was parsed when it was stored.
 */
export function certIdOfPlainRequest(der: Buffer): Buffer | undefined {
  const { length } = der;
  if (length < PLAIN_BYTES_MIN || length >= 130) return undefined;
  for (let level = 0; level < 4; level += 1) {
    if (der[level * 2] !== TAG.SEQUENCE || der[level * 2 + 1] !== length - level * 2 - 2) return undefined;
  }
  return der.subarray(8);
}

const PLAIN_BYTES_MIN = 60;
