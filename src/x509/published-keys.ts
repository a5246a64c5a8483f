import { createECDH } from 'node:crypto';
import type { NamedCurve } from './ec-point.js';
import type { Spki } from './spki.js';

/**
 * Is the private half of this key in a standard, or so small that anybody guesses it? Example keys are shipped by
 * somebody every year; private keys 1 to 16 (and their negatives) come from broken random sources and forgotten tests.
 */
export function isPublishedKey(spki: Spki): boolean {
  if (PUBLISHED.has(spki.spkiHash.toString('hex'))) return true;
  if (spki.algorithm === 'RSA') return false;
  const coordinateBytes = (spki.keyBits.length - 1) / 2;
  return guessableCoordinates(spki.algorithm).has(spki.keyBits.toString('hex', 1, 1 + coordinateBytes));
}

/** SHA-256 of the SPKI, hex, and where the private key is printed. */
const PUBLISHED: ReadonlyMap<string, string> = new Map([
  ['5a7a78cca4a0f420d9bc62bb669c3c2759e39f723d3ae10dcbe0f0815a07ecd4', 'RFC 6979 appendix A.2.5, P-256'],
  ['2f95601fa82060b909bfc6b979dbd303d34d34e0afb27ea496beac362f242a4b', 'RFC 6979 appendix A.2.6, P-384'],
  ['2bd1bb0c44a897c30a7aa0991cde38d8062fe441de50da0f46825344f602e827', 'RFC 7515 appendix A.3, P-256'],
  ['51b944cdfa544d4c3273aa6bf350625a7dd53bbb6a71723274f538b19a207760', 'RFC 7517 appendix A.2, P-256'],
  ['ad32320cf6c596d884b05381ba573aba8ddd5749b4de8f4a23a79f9a89ddaeb2', 'RFC 7517 appendix A.2, RSA'],
  ['cd543d56f646059af4890457776dfdce49314088cd092b1274f62b5d4a595736', 'RFC 8946, P-256'],
  ['b2b04340cfaee616ec9c2c62d261b208e54bb197498df52e8cadede23ac0ba5e', 'RFC 9500 section 2.3, P-256'],
]);

const GUESSABLE_MAX = 16;
const OPENSSL_CURVE = { 'P-256': 'prime256v1', 'P-384': 'secp384r1' } as const;
const coordinatesByCurve = new Map<NamedCurve, ReadonlySet<string>>();

/** x of k·G for k up to 16; -k has the same x. Computed at first use, about three milliseconds. */
function guessableCoordinates(curve: NamedCurve): ReadonlySet<string> {
  const known = coordinatesByCurve.get(curve);
  if (known !== undefined) return known;
  const octets = curve === 'P-256' ? 32 : 48;
  const coordinates = new Set<string>();
  for (let k = 1; k <= GUESSABLE_MAX; k += 1) {
    const privateKey = Buffer.alloc(octets);
    privateKey[octets - 1] = k;
    const ecdh = createECDH(OPENSSL_CURVE[curve]);
    ecdh.setPrivateKey(privateKey);
    coordinates.add(ecdh.getPublicKey().toString('hex', 1, 1 + octets));
  }
  coordinatesByCurve.set(curve, coordinates);
  return coordinates;
}
