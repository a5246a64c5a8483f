/**
 * The least that protecting an answer costs: one ECDSA signature by a software key over a message's bytes.
 * Message {seconds} → {operations, cpuSeconds}.
 */
import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';

const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const answers = Array.from({ length: 512 }, () => randomBytes(900));

process.on('message', ({ seconds }: { seconds: number }) => {
  const before = process.cpuUsage();
  const endMs = performance.now() + seconds * 1_000;
  let operations = 0;
  let octets = 0;
  for (; performance.now() < endMs; operations += 1) {
    octets += sign('sha256', answers[operations & 511] as Buffer, privateKey).length;
  }
  const { user, system } = process.cpuUsage(before);
  if (octets < operations * 66) throw new Error('a signature went missing');
  process.send?.({ operations, cpuSeconds: (user + system) / 1e6 });
});
process.on('disconnect', () => process.exit(0));
process.send?.('ready');
