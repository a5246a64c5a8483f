/**
 * What node:http alone can do: reads each request to its end and writes the same headers and bytes, whatever was asked.
 * argv[2]: JSON file {"headers": [name, value, …], "body": base64}.
 */
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

const answer = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8')) as { headers: string[]; body: string };
const body = Buffer.from(answer.body, 'base64');

const server = createServer((request, response) => {
  request.on('data', () => undefined);
  request.on('end', () => {
    response.writeHead(200, answer.headers).end(body);
  });
});
server.listen(0, '127.0.0.1', () => process.send?.({ port: (server.address() as AddressInfo).port }));
process.on('disconnect', () => process.exit(0));
