/**
 * The least that a row costs which is there already: one prepared statement over 1,000 of them, found by their keys, in a
 * transaction; the client's CPU and its server process's. argv: URL, JSON SetRows. {seconds} → {operations, cpuSeconds}.
 */
import { randomBytes, randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import pg from 'pg';

interface SetRows {
  /** Makes the table and fills it with keys 1 to `rows`. */
  readonly ddl: string;
  readonly rows: number;
  /** Over $1::bigint[], the keys, and $2::bytea[] where there is a payload. */
  readonly sql: string;
  readonly payloadOctets?: number;
}

const SET = 1_000;
const SETS = 16;
const [url = '', settings = ''] = process.argv.slice(2);
const { ddl, rows, sql: text, payloadOctets } = JSON.parse(settings) as SetRows;
const client = new pg.Client({ connectionString: url });
await client.connect();
await client.query(ddl);
const backend = (await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')).rows[0]?.pid;
const ticks = (): string[] => readFileSync(`/proc/${backend}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? [];
const serverSeconds = (): number => (Number(ticks()[11]) + Number(ticks()[12])) / 100;

/** bytea[] in PostgreSQL's binary form. */
function payloads(octets: number): Buffer {
  const head = Buffer.alloc(20);
  for (const [index, field] of [1, 0, 17, SET, 1].entries()) head.writeInt32BE(field, index * 4);
  const length = Buffer.alloc(4);
  length.writeInt32BE(octets);
  return Buffer.concat([head, ...Array.from({ length: SET }, () => [length, randomBytes(octets)]).flat()]);
}

/** Neighbours in the index, as units that renew at one time are not: spread over the whole table. */
function keys(): number[] {
  const chosen = new Set<number>();
  while (chosen.size < SET) chosen.add(randomInt(1, rows + 1));
  return [...chosen];
}

const sets = Array.from({ length: SETS }, () => [keys(), ...(payloadOctets ? [payloads(payloadOctets)] : [])]);
const measure = async ({ seconds }: { seconds: number }): Promise<void> => {
  const before = { own: process.cpuUsage(), server: serverSeconds() };
  const endMs = performance.now() + seconds * 1_000;
  let operations = 0;
  for (let at = 0; performance.now() < endMs || serverSeconds() - before.server < 0.1; at = (at + 1) % SETS) {
    const { rowCount } = await client.query({ name: 'set', text, values: sets[at] ?? [] });
    if (rowCount !== SET) throw new Error(`the statement met ${rowCount} rows`);
    operations += SET;
  }
  const { user, system } = process.cpuUsage(before.own);
  process.send?.({ operations, cpuSeconds: (user + system) / 1e6 + serverSeconds() - before.server });
};
process.on('message', (order: { seconds: number }) => void measure(order));
process.on('disconnect', () => process.exit(0));
process.send?.('ready');
