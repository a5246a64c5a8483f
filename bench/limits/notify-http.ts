/** The least that must happen: PostgreSQL tells a process, whose next HTTP answer is another. argv[2]: database URL. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import pg from 'pg';

let told = '0';
const client = new pg.Client({ connectionString: process.argv[2] });
client.on('notification', ({ payload }) => {
  told = payload ?? '';
});
await client.connect();
await client.query('LISTEN bench_told');
const server = createServer((_request, response) => {
  response.writeHead(200, ['Content-Type', 'text/plain', 'Content-Length', String(told.length)]).end(told);
});
server.listen(0, '127.0.0.1', () => process.send?.({ port: (server.address() as AddressInfo).port }));
process.on('disconnect', () => process.exit(0));
