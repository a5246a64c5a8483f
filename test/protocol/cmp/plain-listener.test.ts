import { execFile } from 'node:child_process';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createPlainListener, type PlainListenerOptions } from '../../../src/protocol/cmp/plain-listener.js';

const run = promisify(execFile);
const faults: unknown[] = [];

/** Answers what it was sent, with its length, as the CMP router does; paths that end in a word misbehave. */
async function echo(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  if (request.url?.endsWith('/broken')) throw new Error('a fault of ours');
  if (request.url?.endsWith('/streamed')) {
    response.write('in ');
    response.end('parts');
    return;
  }
  const body = Buffer.concat(parts);
  response.writeHead(200, { 'content-type': 'application/pkixcmp', 'content-length': body.length }).end(body);
}

async function open(options: Partial<PlainListenerOptions> = {}): Promise<{ server: Server; port: number }> {
  const server = createPlainListener({ onFault: (error) => faults.push(error), ...options }, echo);
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return { server, port: (server.address() as AddressInfo).port };
}

async function close(server: Server): Promise<void> {
  server.closeAllConnections();
  await new Promise((done) => server.close(done));
}

/** Sends text and reads until the server ends the connection, or until `enough` holds. */
function talk(
  port: number,
  text: string,
  options: { from?: string; enough?: (said: string) => boolean; next?: string } = {},
): Promise<{ said: string; ms: number; open: boolean }> {
  return new Promise((done) => {
    const started = performance.now();
    const socket: Socket = connect({ host: '127.0.0.1', port, localAddress: options.from ?? '127.0.0.1' });
    let said = '';
    const finish = (isOpen: boolean): void => {
      socket.destroy();
      done({ said, ms: performance.now() - started, open: isOpen });
    };
    let next = options.next;
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      said += chunk;
      if (options.enough?.(said) !== true) return;
      if (next === undefined) return finish(true);
      socket.write(next);
      next = undefined;
    });
    socket.on('error', () => undefined).once('close', () => finish(false));
    socket.write(text);
  });
}

describe('the plain CMP listener', () => {
  let server: Server;
  let port: number;
  beforeAll(async () => {
    ({ server, port } = await open());
  });
  afterAll(() => close(server));

  test.each(['/', '/v1/ca', '/.well-known/est/cacerts', '/.well-known/cmpx', '/.well-known/', '//.well-known/cmp'])(
    '%s is 404: nothing but CMP is answered without TLS',
    async (path) => {
      const { stdout } = await run('curl', [
        '-s',
        '--path-as-is',
        '-o',
        '/dev/null',
        '-w',
        '%{http_code}',
        `http://127.0.0.1:${port}${path}`,
      ]);
      expect(stdout).toBe('404');
    },
  );

  test('CMP paths with a profile, an operation and a query reach their handler', async () => {
    for (const path of ['/.well-known/cmp', '/.well-known/cmp/p/fc-200/initialization', '/.well-known/cmp?x=1']) {
      const { stdout } = await run('curl', ['-s', '--data-binary', 'pki', `http://127.0.0.1:${port}${path}`]);
      expect(stdout).toBe('pki');
    }
  });

  test('an HTTP/1.0 client that asks to keep the connection sends its second message on it', async () => {
    const post = (body: string): string =>
      `POST /.well-known/cmp HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    const { said } = await talk(port, post('first'), {
      enough: (so) => so.endsWith('first') || so.endsWith('second'),
      next: post('second'),
    });
    expect(said.match(/HTTP\/1\.1 200 OK/g)).toHaveLength(2);
    expect(said).toMatch(/Connection: keep-alive/i);
    expect(said).not.toMatch(/chunked/i);
  });

  test('an HTTP/1.0 client that asks for nothing sees the connection closed behind its answer', async () => {
    const { said, open: stays } = await talk(port, 'POST /.well-known/cmp HTTP/1.0\r\nContent-Length: 1\r\n\r\nx');
    expect(said).toMatch(/200 OK[\s\S]*\r\n\r\nx$/);
    expect(stays).toBe(false);
  });

  test('no answer is chunked, whatever its handler does', async () => {
    const { said } = await talk(port, 'GET /.well-known/cmp/streamed HTTP/1.1\r\nHost: x\r\n\r\n');
    expect(said).not.toMatch(/chunked/i);
    expect(said.endsWith('\r\n\r\nin parts')).toBe(true);
  });

  test('a handler that throws costs its own connection', async () => {
    const { said } = await talk(port, 'GET /.well-known/cmp/broken HTTP/1.1\r\nHost: x\r\n\r\n');
    expect(said).toBe('');
    expect(faults).toHaveLength(1);
  });

  test('what is not HTTP gets a short 400, headers without end 431', async () => {
    expect((await talk(port, '\u0000\u0001 not http\r\n\r\n')).said).toContain('400 Bad Request');
    const long = `GET /.well-known/cmp HTTP/1.1\r\nX-Long: ${'a'.repeat(16_384)}\r\n\r\n`;
    expect((await talk(port, long)).said).toContain('431 ');
  });

  test('a body that nobody wants is not heard to its end', async () => {
    const head = 'POST /elsewhere HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n';
    const { said, ms } = await talk(port, head + 'a'.repeat(65_536));
    expect(said).toContain('404 Not Found');
    expect(ms).toBeLessThan(3_000);
  });

  test('slow headers, a slow body and silence are cut off; others are served meanwhile', async () => {
    const slow = [
      talk(port, 'POST /.well-known/cmp HTTP/1.1\r\nHost: x\r\nX-Slow: ', { from: '127.0.0.2' }),
      talk(port, '', { from: '127.0.0.2' }),
    ];
    const body = talk(port, 'POST /.well-known/cmp HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n0', {
      from: '127.0.0.2',
    });
    const { stdout } = await run('curl', ['-s', '--data-binary', 'pki', `http://127.0.0.1:${port}/.well-known/cmp`]);
    expect(stdout).toBe('pki');
    for (const { ms, said } of await Promise.all(slow)) {
      expect(ms).toBeLessThan(8_000);
      expect(said).toContain('408 Request Timeout');
    }
    const late = await body;
    expect(late.ms).toBeLessThan(18_000);
    expect(late.said).toContain('408 Request Timeout');
  }, 30_000);
});

describe('connections of the plain CMP listener', () => {
  test('one address cannot take all of them; another address, and a proxy, are served', async () => {
    const { server, port } = await open({ connectionsPerAddressMax: 3, exempt: (address) => address === '127.0.0.6' });
    const sockets = ['127.0.0.4', '127.0.0.6'].map((localAddress) =>
      Array.from({ length: 8 }, () => {
        const socket = connect({ host: '127.0.0.1', port, localAddress });
        return socket.on('error', () => undefined).resume();
      }),
    );
    const cut = (): number[] => sockets.map((group) => group.filter(({ destroyed }) => destroyed).length);
    for (let tries = 0; tries < 40 && (cut()[0] ?? 0) < 5; tries++) await sleep(50);
    expect(cut()).toEqual([5, 0]);
    const { stdout } = await run('curl', [
      '-s',
      '--interface',
      '127.0.0.5',
      '--data-binary',
      'pki',
      `http://127.0.0.1:${port}/.well-known/cmp`,
    ]);
    expect(stdout).toBe('pki');
    for (const socket of sockets.flat()) socket.destroy();
    await close(server);
  });

  test('beyond the limit in all, a connection is closed unheard', async () => {
    const { server, port } = await open({ connectionsMax: 2 });
    const held = [0, 1].map(() => connect({ host: '127.0.0.1', port }));
    await Promise.all(held.map((socket) => new Promise((done) => socket.once('connect', done))));
    const { said } = await talk(port, 'GET /.well-known/cmp HTTP/1.1\r\nHost: x\r\n\r\n');
    expect(said).toBe('');
    for (const socket of held) socket.destroy();
    await close(server);
  });
});
