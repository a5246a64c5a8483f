/**
 * What node:https alone can do over mTLS: asks for the client's certificate, reads each request to its end and writes the
 * same headers and bytes, whatever was asked. argv[2]: JSON file {"headers": [name, value, …], "body": base64, "cert",
 * "key"}.
 */
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';

const { headers, body, ...tls } = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8')) as {
  headers: string[];
  body: string;
  cert: string;
  key: string;
};
const answer = Buffer.from(body, 'base64');
const server = createServer(
  { ...tls, requestCert: true, rejectUnauthorized: false, minVersion: 'TLSv1.2' },
  (request, response) => {
    request.on('data', () => undefined);
    request.on('end', () => {
      response.writeHead(200, headers).end(answer);
    });
  },
);
server.listen(0, '127.0.0.1', () => process.send?.({ port: (server.address() as AddressInfo).port }));
process.on('disconnect', () => process.exit(0));
