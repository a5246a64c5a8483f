import { nullValue, octetString, oid, sequence } from '../../x509/der.js';
import type { ocspIssuerHashes } from '../../x509/ocsp.js';
import { OID } from '../../x509/oids.js';

/**
 * Every CertID by which a certificate of one CA can be asked for, DER as latin1: SHA-1 or SHA-256, parameters NULL or
 * absent. Whatever else a reader lets through is answered, and not kept.
 */
export function certIdSpellings(hashes: ReturnType<typeof ocspIssuerHashes>): (serial: Buffer) => readonly string[] {
  const prefixes = (['sha1', 'sha256'] as const).flatMap((name) => {
    const { nameHash, keyHash } = hashes[name];
    const issuer = Buffer.concat([octetString(nameHash), octetString(keyHash)]);
    return [sequence(oid(OID[name]), nullValue()), sequence(oid(OID[name]))].map((algorithm) =>
      Buffer.concat([algorithm, issuer]).toString('latin1'),
    );
  });
  return (serial) => {
    const magnitude = serial.toString('latin1');
    const content = serial.length === 0 || (serial[0] as number) >= 0x80 ? `\0${magnitude}` : magnitude;
    const integer = `\x02${String.fromCharCode(content.length)}${content}`;
    // Both lengths stay below 128: a CertID by SHA-256 and a serial of 21 octets has 106.
    return prefixes.map((prefix) => `\x30${String.fromCharCode(prefix.length + integer.length)}${prefix}${integer}`);
  };
}

/**
 * The CertID of a plain request (one question, no nonce, nothing else), DER as latin1: a slice of its bytes. Undefined for
 * any other request, which is then parsed. Nothing is believed of it: a CertID that is kept was parsed when it was stored.
 */
export function certIdOfPlainRequest(der: Buffer): string | undefined {
  const { length } = der;
  if (length < PLAIN_BYTES_MIN || length >= 130) return undefined;
  for (let level = 0; level < 4; level += 1) {
    if (der[level * 2] !== 0x30 || der[level * 2 + 1] !== length - level * 2 - 2) return undefined;
  }
  return der.toString('latin1', 8);
}

const PLAIN_BYTES_MIN = 60;
