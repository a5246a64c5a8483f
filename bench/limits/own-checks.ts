/**
 * The least that a CA does about its own work: hash what it signs, verify what came back with a ready key.
 * Message {seconds} → {operations, cpuSeconds}.
 */
import { generateKeyPairSync, hash, randomBytes, sign, verify } from 'node:crypto';

const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const certificates = Array.from({ length: 512 }, () => {
  const tbs = randomBytes(600);
  return { tbs, signature: sign('sha256', tbs, privateKey) };
});

process.on('message', ({ seconds }: { seconds: number }) => {
  const before = process.cpuUsage();
  const endMs = performance.now() + seconds * 1_000;
  let operations = 0;
  let octets = 0;
  for (; performance.now() < endMs; operations += 1) {
    const { tbs, signature } = certificates[operations & 511] as (typeof certificates)[number];
    octets += hash('sha256', tbs, 'buffer').length;
    if (!verify('sha256', tbs, publicKey, signature)) throw new Error('a good signature was refused');
  }
  const { user, system } = process.cpuUsage(before);
  if (octets !== operations * 32) throw new Error('a hash went missing');
  process.send?.({ operations, cpuSeconds: (user + system) / 1e6 });
});
process.on('disconnect', () => process.exit(0));
process.send?.('ready');
