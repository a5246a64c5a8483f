import { createHash, createHmac, pbkdf2Sync } from 'node:crypto';
import type { MacAlgorithm } from '../../src/x509/cmp/index.js';

/** The MAC a client makes under this algorithm, at once and without our own derivation. */
export function macOf(algorithm: MacAlgorithm, secret: Buffer, data: Buffer): Buffer {
  return createHmac(algorithm.hmac, macKeyOf(algorithm, secret)).update(data).digest();
}

/** What the secret makes under this algorithm. */
export function macKeyOf(algorithm: MacAlgorithm, secret: Buffer): Buffer {
  const { salt, rounds } = algorithm;
  if (algorithm.kind === 'pbmac1') return pbkdf2Sync(secret, salt, rounds, algorithm.keyOctets, algorithm.prf);
  let key: Buffer = Buffer.concat([secret, salt]);
  for (let round = 0; round < rounds; round += 1) key = createHash(algorithm.owf).update(key).digest();
  return key;
}
