/**
 * What reading due markers costs: pages of 5,000 by the key, one after another, from the beginning again at the end. argv: URL.
 * {seconds} → {operations, seconds, cpuSeconds}, the client's CPU and its server process's.
 */
import { readFileSync } from 'node:fs';
import pg from 'pg';

const client = new pg.Client({ connectionString: process.argv[2] });
await client.connect();
const backend = (await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')).rows[0]?.pid;
const ticks = (): string[] => readFileSync(`/proc/${backend}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? [];
const serverSeconds = (): number => (Number(ticks()[11]) + Number(ticks()[12])) / 100;
const types = { getTypeParser: () => (text: string) => text };
const START = ['-infinity', '0'];
let place = START;

async function page(): Promise<number> {
  const { rows } = await client.query({
    name: 'page',
    text: `SELECT due_at, slot_id FROM renewal_due WHERE due_at <= '2100-01-01' AND (due_at, slot_id) > ($1, $2)
      ORDER BY due_at, slot_id LIMIT 5000`,
    values: place,
    rowMode: 'array',
    types: types as never,
  });
  place = (rows.at(-1) as string[] | undefined) ?? START;
  return rows.length;
}
const measure = async ({ seconds }: { seconds: number }): Promise<void> => {
  const before = { own: process.cpuUsage(), server: serverSeconds(), ms: performance.now() };
  let operations = 0;
  while (performance.now() - before.ms < seconds * 1_000) operations += await page();
  const took = (performance.now() - before.ms) / 1_000;
  const { user, system } = process.cpuUsage(before.own);
  process.send?.({ operations, seconds: took, cpuSeconds: (user + system) / 1e6 + serverSeconds() - before.server });
};
process.on('message', (order: { seconds: number }) => void measure(order));
process.on('disconnect', () => process.exit(0));
process.send?.('ready');
