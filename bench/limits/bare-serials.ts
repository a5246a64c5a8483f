/**
 * What the serials alone weigh: 16 octets each, one after another, as a file of them would. argv[2]: how many.
 * Says {"residentBytes", "cpuSeconds"}.
 */
import { randomFillSync } from 'node:crypto';

const count = Number(process.argv[2]);
const before = process.memoryUsage().rss;
const cpuBefore = process.cpuUsage();
const serials = Buffer.alloc(16 * count);
for (let at = 0; at < serials.length; at += 65_536) randomFillSync(serials, at, Math.min(65_536, serials.length - at));
const { user, system } = process.cpuUsage(cpuBefore);
const residentBytes = process.memoryUsage().rss - before;
process.send?.({ residentBytes, cpuSeconds: (user + system) / 1e6, first: serials[0] });
process.on('disconnect', () => process.exit(0));
