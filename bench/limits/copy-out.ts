/**
 * The least that reading a column costs: a binary COPY OUT of all of it, its bytes counted, the client's CPU and its server
 * process's. argv: URL, table, column. Any message → {seconds, cpuSeconds, bytes}.
 */
import { readFileSync } from 'node:fs';
import pg from 'pg';

const [url = '', table = '', column = ''] = process.argv.slice(2);
const client = new pg.Client({ connectionString: url });
await client.connect();
const backend = (await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')).rows[0]?.pid;
const ticks = (): string[] => readFileSync(`/proc/${backend}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? [];
const serverSeconds = (): number => (Number(ticks()[11]) + Number(ticks()[12])) / 100;
const copy = (): Promise<number> =>
  new Promise((done, fail) => {
    let bytes = 0;
    const taker = {
      handleCopyData: ({ chunk }: { chunk: Buffer }) => {
        bytes += chunk.length;
      },
      handleCopyOutResponse: () => undefined,
      handleCommandComplete: () => undefined,
      handleError: fail,
      handleReadyForQuery: () => done(bytes),
      callback: fail,
    };
    const statement = `COPY ${table} (${column}) TO STDOUT (FORMAT binary)`;
    client.query({ ...taker, submit: (wire: { query(text: string): void }) => wire.query(statement) } as never);
  });
process.on('message', () => {
  const [own, server, startMs] = [process.cpuUsage(), serverSeconds(), performance.now()];
  void copy().then((bytes) => {
    const { user, system } = process.cpuUsage(own);
    const cpuSeconds = (user + system) / 1e6 + serverSeconds() - server;
    process.send?.({ seconds: (performance.now() - startMs) / 1_000, cpuSeconds, bytes });
  });
});
process.on('disconnect', () => process.exit(0));
process.send?.('ready');
