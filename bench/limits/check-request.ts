/**
 * The least that a request costs: one key object out of its coordinates, one verification with it. Every turn another key.
 * Message {seconds} → {operations, cpuSeconds}.
 */
import { createPublicKey, generateKeyPairSync, randomBytes, sign, verify } from 'node:crypto';

// Not by export as JWK: Node.js 20 makes strings under the key's lock, and a collection just then, which ends the job that
// generated the key, waits for that lock for ever.
const requests = Array.from({ length: 512 }, () => {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const point = publicKey.export({ format: 'der', type: 'spki' }).subarray(-64);
  const x = point.subarray(0, 32).toString('base64url');
  const y = point.subarray(32).toString('base64url');
  const info = randomBytes(200);
  return { jwk: { kty: 'EC', crv: 'P-256', x, y }, info, signature: sign('sha256', info, privateKey) };
});

process.on('message', ({ seconds }: { seconds: number }) => {
  const before = process.cpuUsage();
  const endMs = performance.now() + seconds * 1_000;
  let operations = 0;
  for (; performance.now() < endMs; operations += 1) {
    const { jwk, info, signature } = requests[operations & 511] as (typeof requests)[number];
    const key = createPublicKey({ format: 'jwk', key: jwk });
    if (!verify('sha256', info, key, signature)) throw new Error('a good signature was refused');
  }
  const { user, system } = process.cpuUsage(before);
  process.send?.({ operations, cpuSeconds: (user + system) / 1e6 });
});
process.on('disconnect', () => process.exit(0));
process.send?.('ready');
