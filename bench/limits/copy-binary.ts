/**
 * What PostgreSQL takes in at best: ready bytes by binary COPY, one transaction a flush, so many connections at once. argv:
 * URL, connections. Message {dir, tables, flushes}: files `<flush>-<table>` → {seconds, cpuSeconds} of this process.
 */
import { readFileSync } from 'node:fs';
import pg from 'pg';

const [url = '', connections = ''] = process.argv.slice(2);
const clients = Array.from({ length: Number(connections) }, () => new pg.Client({ connectionString: url }));
await Promise.all(clients.map((client) => client.connect()));
const copy = (client: pg.Client, table: string, bytes: Buffer): Promise<void> =>
  new Promise((done, fail) => {
    const taker = { handleCopyInResponse: send, handleError: fail, handleReadyForQuery: () => done(), callback: fail };
    function send(wire: { sendCopyFromChunk(chunk: Buffer): void; endCopyFrom(): void }): void {
      wire.sendCopyFromChunk(bytes);
      wire.endCopyFrom();
    }
    const submit = (wire: { query(text: string): void }) => wire.query(`COPY ${table} FROM STDIN (FORMAT binary)`);
    client.query({ ...taker, submit, handleCommandComplete: () => undefined } as never);
  });
const load = async ({ dir, tables, flushes }: { dir: string; tables: string[]; flushes: number[] }): Promise<void> => {
  const waiting = flushes.map((flush) =>
    tables.map((table) => ({ table, bytes: readFileSync(`${dir}/${flush}-${table}`) })),
  );
  const before = process.cpuUsage();
  const startMs = performance.now();
  const lane = async (client: pg.Client): Promise<void> => {
    for (let flush = waiting.shift(); flush; flush = waiting.shift()) {
      await client.query('BEGIN');
      for (const { table, bytes } of flush) await copy(client, table, bytes);
      await client.query('COMMIT');
    }
  };
  await Promise.all(clients.map(lane));
  const own = process.cpuUsage(before);
  process.send?.({ seconds: (performance.now() - startMs) / 1_000, cpuSeconds: (own.user + own.system) / 1e6 });
};
process.on('message', (order: Parameters<typeof load>[0]) => void load(order));
process.on('disconnect', () => process.exit(0));
process.send?.('ready');
