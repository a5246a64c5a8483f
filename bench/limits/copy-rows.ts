/**
 * The least that a durable row costs: COPY of 1,000 rows a transaction, the client's CPU and its server process's. argv: URL,
 * table's DDL, one row as COPY text with ~ for 16 unique bytes in hex, table. {seconds} → {operations, cpuSeconds}.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import pg from 'pg';

const [url = '', ddl = '', row = '', table = ''] = process.argv.slice(2);
const client = new pg.Client({ connectionString: url });
await client.connect();
await client.query(ddl);
const backend = (await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')).rows[0]?.pid;
const ticks = (): string[] => readFileSync(`/proc/${backend}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? [];
const serverSeconds = (): number => (Number(ticks()[11]) + Number(ticks()[12])) / 100;
const copy = (bytes: Buffer): Promise<void> =>
  new Promise((done, fail) => {
    const taker = { handleCopyInResponse: send, handleError: fail, handleReadyForQuery: () => done(), callback: fail };
    function send(wire: { sendCopyFromChunk(chunk: Buffer): void; endCopyFrom(): void }): void {
      wire.sendCopyFromChunk(bytes);
      wire.endCopyFrom();
    }
    const submit = (wire: { query(text: string): void }): void => wire.query(`COPY ${table} FROM STDIN`);
    client.query({ ...taker, submit, handleCommandComplete: () => undefined } as never);
  });
const measure = async ({ seconds }: { seconds: number }): Promise<void> => {
  const before = { own: process.cpuUsage(), server: serverSeconds() };
  const endMs = performance.now() + seconds * 1_000;
  let operations = 0;
  for (; performance.now() < endMs || serverSeconds() - before.server < 0.1; operations += 1_000) {
    const unique = randomBytes(16_000).toString('hex');
    const rows = Array.from({ length: 1_000 }, (_, at) => row.replaceAll('~', unique.slice(at * 32, at * 32 + 32)));
    await copy(Buffer.from(`${rows.join('\n')}\n`));
  }
  const { user, system } = process.cpuUsage(before.own);
  process.send?.({ operations, cpuSeconds: (user + system) / 1e6 + serverSeconds() - before.server });
};
process.on('message', (order: { seconds: number }) => void measure(order));
process.on('disconnect', () => process.exit(0));
process.send?.('ready');
