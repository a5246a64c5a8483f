import { request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { bitString, explicitTag, integer, octetString, oid, sequence } from '../../../src/x509/der.js';
import { certIdOf, ocspIssuerHashes, readOcspResponse } from '../../../src/x509/ocsp.js';
import { OID } from '../../../src/x509/oids.js';
import { readSpki } from '../../../src/x509/spki.js';
import { openStatusPort, type StatusPort } from '../../support/status-service.js';
import { type StatusWorld, startStatusWorld } from '../../support/status-world.js';

let world: StatusWorld;
let port: StatusPort;
let good: Buffer;
let certId: Buffer;
let beats: NodeJS.Timeout;
beforeAll(async () => {
  world = await startStatusWorld();
  await world.beat();
  beats = setInterval(() => void world.beat(), 1_000);
  port = await openStatusPort(world);
  const { serial } = await world.issue({});
  const { sha1 } = ocspIssuerHashes(world.deviceCa.subjectDer, readSpki(world.deviceCa.spkiDer));
  certId = certIdOf('sha1', sha1, serial).certIdDer;
  good = sequence(sequence(sequence(sequence(certId))));
});
afterAll(async () => {
  clearInterval(beats);
  await port.close();
  await world.close();
});

interface Answer {
  readonly http: number;
  readonly ocsp: string | undefined;
}

/** node:http, not fetch: a server that answers 413 before the body has come must be heard all the same. */
function post(body: Buffer, headers: Record<string, string> = {}, method = 'POST'): Promise<Answer> {
  return new Promise((done, fail) => {
    const outgoing = request(
      `${port.url}/ocsp`,
      { method, headers: { 'content-type': 'application/ocsp-request', ...headers } },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () => {
          const http = response.statusCode ?? 0;
          const isOcsp = response.headers['content-type'] === 'application/ocsp-response';
          done({ http, ocsp: isOcsp ? readOcspResponse(Buffer.concat(chunks)).status : undefined });
        });
        response.on('error', fail);
      },
    );
    let isAnswered = false;
    outgoing.once('response', () => {
      isAnswered = true;
    });
    outgoing.on('error', (error) => {
      if (!isAnswered) fail(error);
    });
    outgoing.end(body);
  });
}

const withExtensions = (...extensions: Buffer[]) =>
  sequence(sequence(sequence(sequence(certId)), explicitTag(2, sequence(...extensions))));
const nonce = (octets: number) => sequence(oid(OID.ocspNonce), octetString(octetString(Buffer.alloc(octets, 7))));

describe('what is no OCSP request is malformedRequest with HTTP 200 (RFC 6960 section 2.3)', () => {
  const cases: [string, () => Buffer][] = [
    ['nothing', () => Buffer.alloc(0)],
    ['text', () => Buffer.from('hello')],
    ['a cut request', () => good.subarray(0, good.length - 3)],
    ['trailing bytes', () => Buffer.concat([good, Buffer.from([0])])],
    ['a length lie', () => Buffer.from('3084ffffffff', 'hex')],
    ['an indefinite length', () => Buffer.concat([Buffer.from([0x30, 0x80]), good.subarray(2), Buffer.alloc(2)])],
    ['a padded length', () => Buffer.concat([Buffer.from([0x30, 0x81, good.length - 2]), good.subarray(2)])],
    ['deep nesting', () => nested(900)],
    ['an empty list', () => sequence(sequence(sequence()))],
    ['nine questions', () => sequence(sequence(sequence(...Array.from({ length: 9 }, () => sequence(certId)))))],
    ['version 2', () => sequence(sequence(explicitTag(0, integer(1)), sequence(sequence(certId))))],
    ['a nonce of no octets', () => withExtensions(nonce(0))],
    ['a nonce of 129 octets', () => withExtensions(nonce(129))],
    ['a nonce twice', () => withExtensions(nonce(16), nonce(16))],
    [
      'an unknown critical extension',
      () =>
        withExtensions(sequence(oid('1.3.6.1.4.1.99999.1'), Buffer.from([1, 1, 0xff]), octetString(Buffer.alloc(2)))),
    ],
    ['a hash that nobody uses', () => Buffer.from(good.toString('hex').replace('2b0e03021a', '2b0e030219'), 'hex')],
  ];
  test.each(cases)('%s', async (_what, make) => {
    expect(await post(make())).toEqual({ http: 200, ocsp: 'malformedRequest' });
  });
});

describe('what is unusual and allowed', () => {
  const cases: [string, () => Buffer][] = [
    ['a nonce of one octet', () => withExtensions(nonce(1))],
    ['a nonce of 128 octets', () => withExtensions(nonce(128))],
    ['a version spelled out', () => sequence(sequence(explicitTag(0, integer(0)), sequence(sequence(certId))))],
    [
      'signed junk: status is public, nobody gains by signing',
      () =>
        sequence(
          sequence(sequence(sequence(certId))),
          explicitTag(0, sequence(sequence(oid(OID.ecdsaWithSha256)), bitString(Buffer.alloc(64)))),
        ),
    ],
    [
      'the same question eight times',
      () => sequence(sequence(sequence(...Array.from({ length: 8 }, () => sequence(certId))))),
    ],
  ];
  test.each(cases)('%s', async (_what, make) => {
    expect(await post(make())).toEqual({ http: 200, ocsp: 'successful' });
  });
});

describe('limits', () => {
  test('ten megabytes are refused while they are sent, declared or in chunks', async () => {
    const huge = Buffer.alloc(10 * 1024 * 1024, 0x30);
    const before = process.memoryUsage().rss;
    expect((await post(huge)).http).toBe(413);
    expect((await post(huge, { 'transfer-encoding': 'chunked' })).http).toBe(413);
    expect((await post(Buffer.alloc(4_097))).http).toBe(413);
    expect(process.memoryUsage().rss - before).toBeLessThan(80 * 1024 * 1024);
    expect((await post(good)).ocsp).toBe('successful');
  });

  test('another content type is 415, another method 405, another path 404', async () => {
    expect((await post(good, { 'content-type': 'application/json' })).http).toBe(415);
    expect((await post(good, { 'content-type': 'application/ocsp-request; charset=binary' })).http).toBe(200);
    expect((await post(good, {}, 'PUT')).http).toBe(405);
    expect((await fetch(`${port.url}/ocspx`)).status).toBe(404);
    expect((await fetch(`${port.url}/`)).status).toBe(404);
  });

  test('a request cut in two packets is one request', async () => {
    const head = `POST /ocsp HTTP/1.1\r\nHost: x\r\nContent-Type: application/ocsp-request\r\nContent-Length: ${good.length}\r\nConnection: close\r\n\r\n`;
    const socket = connect(port.port, '127.0.0.1');
    const answer = collect(socket);
    socket.write(Buffer.concat([Buffer.from(head), good.subarray(0, 20)]));
    await new Promise((done) => setTimeout(done, 100));
    socket.write(good.subarray(20));
    expect(await answer).toContain('HTTP/1.1 200 OK');
  });

  test('HTTP/1.0 clients, as openssl and ocsptool are, get a whole answer', async () => {
    const head = `POST /ocsp HTTP/1.0\r\nContent-Type: application/ocsp-request\r\nContent-Length: ${good.length}\r\n\r\n`;
    const socket = connect(port.port, '127.0.0.1');
    const answer = collect(socket);
    socket.write(Buffer.concat([Buffer.from(head), good]));
    expect(await answer).toContain('Content-Type: application/ocsp-response');
  });
});

describe('N1: slow and idle clients', () => {
  test('slow headers are cut within six seconds, and another address is served meanwhile', async () => {
    const idle: Socket[] = [];
    for (let index = 0; index < 700; index += 1) {
      const socket = connect(port.port, '127.0.0.1');
      socket.on('error', () => undefined);
      socket.once('connect', () => socket.write('POST /ocsp HTTP/1.1\r\n'));
      idle.push(socket);
    }
    const first = idle[0];
    if (!first) throw new Error('no socket');
    const started = Date.now();
    const ended = new Promise<number>((done) => first.once('close', () => done(Date.now() - started)));
    first.resume();
    const other = connect({ port: port.port, host: '127.0.0.1', localAddress: '127.0.0.2' });
    const answer = collect(other);
    other.write(
      `GET /ocsp/${encodeURIComponent(good.toString('base64'))} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`,
    );
    expect(await answer).toContain('HTTP/1.1 200 OK');
    expect(await ended).toBeLessThan(7_000);
    for (const socket of idle) socket.destroy();
  });
});

describe('mutation', () => {
  test('any bytes changed: always a listed answer, never HTTP 500, never a signature for what was not asked', async () => {
    const one = fc.record({ at: fc.nat(), value: fc.integer({ min: 0, max: 255 }) });
    await fc.assert(
      fc.asyncProperty(fc.array(one, { minLength: 1, maxLength: 4 }), async (edits) => {
        const bytes = Buffer.from(good);
        for (const { at, value } of edits) bytes[at % bytes.length] = value;
        const { http, ocsp } = await post(bytes);
        expect(http).toBe(200);
        expect(['successful', 'malformedRequest', 'unauthorized', 'tryLater']).toContain(ocsp);
      }),
      { numRuns: 300 },
    );
    const foreign = world.signed.filter(({ name }) => !name.startsWith('ocsp:'));
    expect(foreign).toEqual([]);
  });
});

function nested(depth: number): Buffer {
  let bytes = sequence();
  for (let index = 0; index < depth; index += 1) bytes = sequence(bytes);
  return bytes;
}

function collect(socket: Socket): Promise<string> {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  return new Promise((done, fail) => {
    socket.once('error', fail);
    socket.once('close', () => done(Buffer.concat(chunks).toString('latin1')));
  });
}
