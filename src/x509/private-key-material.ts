import { FemtoError } from '../platform/errors.js';

/**
 * What every common private key container begins with, inside its outer SEQUENCE. An upload that holds one has exposed
 * the key: it is refused, its bytes are not logged, and the caller blocks the key for ever.
 */
const DER_MARKS: readonly Buffer[] = [
  '0201003013' + '06072a8648ce3d0201', // PKCS#8, EC P-256
  '0201003010' + '06072a8648ce3d0201', // PKCS#8, EC P-384 and P-521
  '020100300d' + '06092a864886f70d010101', // PKCS#8, RSA
  '0201003005' + '06032b65', // PKCS#8, Ed25519, Ed448, X25519
  '0201010420', // SEC1 ECPrivateKey, 256 bits
  '0201010430', // SEC1 ECPrivateKey, 384 bits
  '0201000282', // RSAPrivateKey: version 0, then a modulus of 2048 bits and more
  '020100028181', // RSAPrivateKey, 1024 bits
  '06092a864886f70d01050d', // PBES2: an encrypted PKCS#8 or PKCS#12
  '060b2a864886f70d010c0a01', // PKCS#12 bag types keyBag, pkcs8ShroudedKeyBag
].map((hex) => Buffer.from(hex, 'hex'));

const TEXT_MARK = 'PRIVATE KEY-----';

export function holdsPrivateKey(bytes: Buffer): boolean {
  return bytes.includes(TEXT_MARK, 0, 'latin1') || DER_MARKS.some((mark) => bytes.includes(mark));
}

/**
 * Refuses an upload that holds a private key. `exposedKeys` (exposed-key.ts) names the keys for the block list.
 *
 * @throws FemtoError KEY_BLOCKED; the message says nothing about the key
 */
export function refusePrivateKey(bytes: Buffer): void {
  if (!holdsPrivateKey(bytes)) return;
  throw new FemtoError(
    'KEY_BLOCKED',
    'The upload holds a private key, which is now exposed; destroy it, make a new key in the unit, and send only the request.',
  );
}
