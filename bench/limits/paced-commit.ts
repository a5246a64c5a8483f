/**
 * How long one durable row takes at a rate: one INSERT, committed when it answers. argv: URL, table's DDL, INSERT with $1 for
 * 16 unique bytes. Message {seconds, perSecond} → {p99Ms, cpuSeconds, operations}; the client's CPU alone.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';

const [url = '', ddl = '', insert = ''] = process.argv.slice(2);
const client = new pg.Client({ connectionString: url });
await client.connect();
await client.query(ddl);

const measure = async ({ seconds, perSecond }: { seconds: number; perSecond: number }): Promise<void> => {
  const before = process.cpuUsage();
  const startMs = performance.now();
  const took: number[] = [];
  while (took.length < seconds * perSecond) {
    await sleep(Math.max(0, startMs + (took.length * 1_000) / perSecond - performance.now()));
    const beginMs = performance.now();
    await client.query({ name: 'insert', text: insert, values: [randomBytes(16)] });
    took.push(performance.now() - beginMs);
  }
  const { user, system } = process.cpuUsage(before);
  const p99Ms = took.sort((a, b) => a - b)[Math.floor(took.length * 0.99)];
  process.send?.({ p99Ms, cpuSeconds: (user + system) / 1e6, operations: took.length });
};
process.on('message', (order: { seconds: number; perSecond: number }) => void measure(order));
process.on('disconnect', () => process.exit(0));
process.send?.('ready');
