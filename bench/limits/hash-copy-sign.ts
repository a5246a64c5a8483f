/**
 * The least that a CRL costs: its bytes copied once, hashed once, and one signature. argv[2]: bytes. {operations} → {seconds,
 * cpuSeconds}.
 */
import { createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto';

const list = randomBytes(Number(process.argv[2]));
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });

process.on('message', ({ operations }: { operations: number }) => {
  const [own, startMs] = [process.cpuUsage(), performance.now()];
  for (let count = 0; count < operations; count += 1) {
    const digest = createHash('sha256').update(Buffer.from(list)).digest();
    sign('sha256', digest, privateKey);
  }
  const { user, system } = process.cpuUsage(own);
  process.send?.({ seconds: (performance.now() - startMs) / 1_000, cpuSeconds: (user + system) / 1e6 });
});
process.on('disconnect', () => process.exit(0));
process.send?.('ready');
