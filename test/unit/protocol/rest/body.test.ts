import { once } from 'node:events';
import http from 'node:http';
import net, { type AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { z } from 'zod';
import { asFemtoError } from '../../../../src/platform/errors.js';
import { readBody, readJsonBody } from '../../../../src/protocol/rest/body.js';
import { clientAddress } from '../../../../src/protocol/rest/client-address.js';
import { problemOf, sendProblem, traceIdOf } from '../../../../src/protocol/rest/problem.js';

const Shape = z.strictObject({ name: z.string().max(10) });

test('a caller who went before its body was asked for is refused at once, not waited for', async () => {
  const server = http.createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const socket = net.connect((server.address() as AddressInfo).port, '127.0.0.1');
  socket.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\n');
  const [request] = (await once(server, 'request')) as [http.IncomingMessage];
  socket.destroy();
  await new Promise((gone) => request.on('error', () => undefined).once('close', gone));
  server.close();
  // Longer than any test may take: only the fact that it is gone can end this.
  const body = readBody(request, { bytesMax: 10, mediaType: 'text/plain', timeoutMs: 3_600_000 });
  await expect(body).rejects.toMatchObject({ code: 'BAD_REQUEST', facts: { fault: 'ended early' } });
});

describe('reading a request', () => {
  let server: http.Server;
  let port: number;
  let proxies: string[] = [];
  beforeAll(async () => {
    server = http.createServer((request, response) => {
      const address = clientAddress(request, proxies);
      readJsonBody(request, Shape).then(
        (body) => response.end(JSON.stringify({ body, address })),
        (error: unknown) => sendProblem(response, problemOf(asFemtoError(error), 'factory', traceIdOf(request))),
      );
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    port = (server.address() as AddressInfo).port;
  });
  afterAll(() => {
    server.close();
  });

  const post = (body: string | Buffer, headers: Record<string, string> = {}) =>
    fetch(`http://127.0.0.1:${port}/`, {
      method: 'POST',
      body,
      headers: { 'content-type': 'application/json', ...headers },
    });

  test('a well-formed body arrives in its shape', async () => {
    expect(await (await post('{"name":"x"}')).json()).toEqual({ body: { name: 'x' }, address: '127.0.0.1' });
  });

  test.each([
    ['an unknown member', '{"name":"x","more":1}', {}, 400],
    ['another type', '{"name":1}', {}, 400],
    ['a body over 64 KiB', `{"name":"${'x'.repeat(70_000)}"}`, {}, 413],
    ['another media type', '{"name":"x"}', { 'content-type': 'text/plain' }, 415],
    ['a compressed body', '{"name":"x"}', { 'content-encoding': 'gzip' }, 415],
  ])('%s is refused with its own status', async (_, body, headers, status) => {
    const response = await post(body, headers as Record<string, string>);
    expect(response.status).toBe(status);
    const problem = (await response.json()) as { code: string; traceId: string };
    expect(problem.code).toBe('BAD_REQUEST');
    expect(problem.traceId).toMatch(/^[0-9a-f]{32}$/);
  });

  test('the faults are named by pointer, without the values sent', async () => {
    const problem = (await (await post('{"name":"much-too-long-secret"}')).json()) as { errors: string[] };
    expect(problem.errors).toEqual(['/name: too_big']);
  });

  test('a chunked body that lies about nothing but never ends at the limit is cut at 64 KiB', async () => {
    const socket = net.connect(port, '127.0.0.1');
    socket.write('POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n');
    const chunk = 'x'.repeat(16_384);
    for (let i = 0; i < 5; i++) socket.write(`4000\r\n${chunk}\r\n`);
    const [answer] = (await once(socket, 'data')) as [Buffer];
    expect(answer.toString()).toMatch(/^HTTP\/1.1 413 /);
    socket.destroy();
  });

  test.each([
    ['a spoofed header from anybody', [], '203.0.113.9', '127.0.0.1'],
    ['one listed proxy', ['127.0.0.0/8'], '203.0.113.9', '203.0.113.9'],
    ['a spoofed left end behind a listed proxy', ['127.0.0.0/8'], '10.0.0.1, 203.0.113.9', '203.0.113.9'],
    ['two listed proxies', ['127.0.0.0/8', '10.0.0.0/8'], '203.0.113.9, 10.0.0.1', '203.0.113.9'],
    ['a mapped address', ['127.0.0.0/8'], '::ffff:203.0.113.9', '203.0.113.9'],
    ['the word unknown', ['127.0.0.0/8'], 'unknown', '127.0.0.1'],
    ['an address with a port', ['127.0.0.0/8'], '203.0.113.9:4711', '127.0.0.1'],
    ['a list of a thousand', ['127.0.0.0/8'], `${'10.9.9.9, '.repeat(1000)}203.0.113.9`, '203.0.113.9'],
  ])('the true address behind %s', async (_, trusted, forwarded, expected) => {
    proxies = trusted;
    const response = await post('{"name":"x"}', { 'x-forwarded-for': forwarded, 'x-real-ip': '6.6.6.6' });
    expect(((await response.json()) as { address: string }).address).toBe(expected);
  });
});
