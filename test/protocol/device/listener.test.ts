import { execFile } from 'node:child_process';
import { createPublicKey, generateKeyPairSync, randomUUID, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { type AddressInfo, type Socket, connect as tcpConnect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type TLSSocket, connect as tlsConnect } from 'node:tls';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createTlsListener, renewTlsIdentity } from '../../../src/protocol/device/tls-listener.js';
import { assembleCertificate } from '../../../src/x509/certificate.js';
import { readSpki } from '../../../src/x509/spki.js';
import { curlUnit } from '../../support/curl-unit.js';
import { type DeviceWorld, startDeviceWorld } from '../../support/device-world.js';
import { servicesLeaf } from '../../support/services-leaf.js';
import { leafRequest } from '../../support/tbs.js';

const run = promisify(execFile);
let world: DeviceWorld;
let unit: ReturnType<typeof curlUnit>;

beforeAll(async () => {
  world = await startDeviceWorld();
  unit = curlUnit(world.dir, world.port);
});
afterAll(() => world.close());

const connected = (from: string): Promise<TLSSocket> =>
  new Promise((done, fail) => {
    const socket = tlsConnect(
      {
        socket: tcpConnect({ host: '127.0.0.1', port: world.port, localAddress: from }),
        servername: 'localhost',
        rejectUnauthorized: false,
      },
      () => done(socket),
    );
    socket.once('error', fail);
  });

/** Milliseconds until the server ends the connection, and what it said. */
const ended = (socket: Socket): Promise<{ ms: number; text: string }> =>
  new Promise((done) => {
    const started = performance.now();
    let text = '';
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
    });
    socket.on('error', () => undefined);
    socket.once('close', () => done({ ms: performance.now() - started, text }));
  });

describe('the TLS listener', () => {
  test('no session is ever resumed, by ticket or id, in TLS 1.2 and 1.3 (openssl)', async () => {
    for (const version of ['-tls1_2', '-tls1_3']) {
      const target = ['s_client', '-connect', `127.0.0.1:${world.port}`, version, '-servername', 'localhost'];
      const session = join(world.dir, `session${version}`);
      await run('sh', [
        '-c',
        `printf 'GET /v1/ca HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' | openssl "$@" -ign_eof -sess_out ${session}`,
        'sh',
        ...target,
      ]);
      const again = await run('sh', [
        '-c',
        `if [ -s ${session} ]; then openssl "$@" -sess_in ${session} </dev/null; else echo 'New, no session to reuse'; fi`,
        'sh',
        ...target,
      ]);
      expect(again.stdout).toMatch(/^New, /m);
      expect(again.stdout).not.toMatch(/^Reused, /m);
    }
  });

  test('TLS 1.1 is refused', async () => {
    const args = ['s_client', '-connect', `127.0.0.1:${world.port}`, '-tls1_1', '-cipher', 'ALL:@SECLEVEL=0'];
    await expect(run('openssl', args)).rejects.toThrow();
  });

  test('N1: slow headers, a slow body and a silent socket are cut off; others are served meanwhile', async () => {
    const silent = await connected('127.0.0.2');
    const slow = await connected('127.0.0.2');
    const trickled = await connected('127.0.0.2');
    slow.write('GET /v1/ca HTTP/1.1\r\nHost: x\r\nX-Slow: ');
    trickled.write(
      'POST /v1/confirm HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{',
    );
    const handshakeless = tcpConnect({ host: '127.0.0.1', port: world.port, localAddress: '127.0.0.2' });
    const ends = [ended(silent), ended(slow), ended(handshakeless)];
    const body = ended(trickled);
    const idle = await Promise.all(Array.from({ length: 200 }, () => connected('127.0.0.3')));
    expect((await unit.call('GET', '/v1/ca')).status).toBe(200);
    for (const { ms } of await Promise.all(ends)) expect(ms).toBeLessThan(7_500);
    expect((await body).ms).toBeLessThan(17_000);
    for (const socket of idle) socket.destroy();
  }, 30_000);

  test('one address cannot take every connection; another is served', async () => {
    const server = createTlsListener(
      { identity: world.identity, connectionsPerAddressMax: 5 },
      (_request, response) => {
        response.end('served');
      },
    );
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    const { port } = server.address() as AddressInfo;
    const greedy = Array.from({ length: 12 }, () => {
      const socket = tcpConnect({ host: '127.0.0.1', port, localAddress: '127.0.0.4' });
      return socket.on('error', () => undefined).resume();
    });
    const cutOff = () => greedy.filter((socket) => socket.destroyed).length;
    for (let tries = 0; tries < 40 && cutOff() < 7; tries++) await sleep(50);
    expect(cutOff()).toBe(7);
    const { stdout } = await run('curl', ['-sSk', '--interface', '127.0.0.5', `https://127.0.0.1:${port}/`]);
    expect(stdout).toBe('served');
    for (const socket of greedy) socket.destroy();
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  });

  test('junk instead of TLS or HTTP ends the connection and nothing else', async () => {
    const raw = tcpConnect({ host: '127.0.0.1', port: world.port });
    raw.on('error', () => undefined);
    raw.write('GET / HTTP/1.0\r\n\r\n');
    await new Promise((done) => raw.once('close', done));
    const inside = await connected('127.0.0.1');
    const end = ended(inside);
    inside.write('\u0000\u0001 not http\r\n\r\n');
    expect((await end).text).toContain('400 Bad Request');
    expect((await unit.call('GET', '/v1/ca')).status).toBe(200);
  });

  test('a new certificate is served without a restart', async () => {
    const { server, port } = await world.addReplica();
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const der = await servicesLeaf(world.token, { profile: 'services-server', commonName: 'localhost', publicKey });
    const certificate = new X509Certificate(der);
    renewTlsIdentity(server, {
      cert: certificate.toString() + world.token.entry('services-ca').certificatePem,
      key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    });
    const { stdout } = await run('sh', [
      '-c',
      `openssl s_client -connect 127.0.0.1:${port} </dev/null 2>/dev/null | openssl x509 -noout -serial`,
    ]);
    expect(stdout.trim().toLowerCase()).toBe(`serial=${certificate.serialNumber.toLowerCase()}`);
    expect((await curlUnit(world.dir, port).call('GET', '/v1/ca')).status).toBe(200);
  });
});

describe('bad input gets one of four words and changes nothing', () => {
  test('without a certificate, with a station’s, with a stranger’s: DENIED', async () => {
    const none = await unit.call('GET', '/v1/nonce');
    expect([none.status, none.body.code]).toEqual([403, 'DENIED']);
    const keyFile = await unit.newKey();
    const pemFile = unit.file('self.pem');
    await unit.openssl('req', '-x509', '-new', '-key', keyFile, '-subj', '/CN=x', '-days', '2', '-out', pemFile);
    const stranger = await unit.call('GET', '/v1/nonce', { as: { keyFile, pemFile } });
    expect([stranger.status, stranger.body.code]).toEqual([403, 'DENIED']);
    await world.rooms.refusals.flush();
    const { rows } = await world.db.pool.query(`SELECT code, sum(count)::int AS n FROM refusal_count GROUP BY code`);
    expect(rows.map(({ code }) => code)).toEqual(expect.arrayContaining(['UNREGISTERED', 'UNKNOWN_ISSUER']));
  });

  test('a certificate that our CA signed and nobody recorded is NOT_RECORDED, alarmed and revoked', async () => {
    const who = await world.addUnit();
    const issuer = world.token.entry('device-ca-1');
    const keyFile = await unit.newKey();
    const publicKey = createPublicKey(readFileSync(keyFile));
    const request = leafRequest({ issuer, commonName: who.fqdn, publicKey });
    const [result] = await world.token.connect('enrol').sign([request]);
    if (!result?.ok) throw new Error('no certificate');
    const der = assembleCertificate(request.tbs, 'ecdsa-with-SHA256', result.signature);
    const pemFile = unit.store('forged.pem', new X509Certificate(der).toString());
    expect((await unit.call('GET', '/v1/nonce', { as: { keyFile, pemFile } })).status).toBe(403);
    expect(world.alarms.map(({ what }) => what)).toContain('a certificate that chains to us is in no record');
    const { rows } = await world.db.pool.query('SELECT state FROM revoked_certificate WHERE serial = $1', [
      Buffer.from(request.name, 'hex'),
    ]);
    expect(rows).toEqual([{ state: 'revoked' }]);
  });

  test('a private key in the request is refused, blocked for ever, and in no log', async () => {
    const who = await world.addUnit();
    const exposed = readFileSync(await unit.newKey(), 'utf8');
    const answer = await unit.call('POST', '/v1/activate', {
      as: who,
      json: { csr: exposed, code: 'x' },
      headers: [`Idempotency-Key: ${randomUUID()}`],
    });
    expect([answer.status, answer.body.code]).toEqual([403, 'DENIED']);
    const spki = readSpki(createPublicKey(exposed).export({ type: 'spki', format: 'der' }));
    const { rows } = await world.db.pool.query('SELECT count(*)::int AS n FROM blocked_key WHERE spki_hash = $1', [
      spki.spkiHash,
    ]);
    expect(rows[0].n).toBe(1);
    const inside = await world.db.pool.query(`SELECT body FROM ledger_inbox WHERE body LIKE '%PRIVATE KEY%'`);
    expect(inside.rows).toEqual([]);
  });

  test.each<[string, string[], number]>([
    ['1 MB of JSON', ['big'], 413],
    ['another content type', ['-H', 'Content-Type: text/plain', '--data-binary', 'x'], 415],
    [
      'a compressed body',
      ['-H', 'Content-Encoding: gzip', '-H', 'Content-Type: application/json', '--data-binary', 'x'],
      415,
    ],
    ['truncated JSON', ['-H', 'Content-Type: application/json', '--data-binary', '{"csr":'], 400],
    ['a prototype name', ['-H', 'Content-Type: application/json', '--data-binary', '{"__proto__":{},"csr":"x"}'], 400],
    [
      'an unknown member',
      ['-H', 'Content-Type: application/json', '--data-binary', '{"csr":"AAAA","admin":true}'],
      400,
    ],
    ['no base64', ['-H', 'Content-Type: application/json', '--data-binary', '{"csr":"%%%%"}'], 400],
    ['not DER', ['-H', 'Content-Type: application/json', '--data-binary', '{"csr":"AAAA"}'], 400],
  ])('%s', async (_name, flags, status) => {
    const who = await world.addUnit();
    const big = unit.store('big.json', `{"csr":"${'A'.repeat(1_000_000)}"}`);
    const sent = flags[0] === 'big' ? ['-H', 'Content-Type: application/json', '--data-binary', `@${big}`] : flags;
    const answer = await unit.call('POST', '/v1/activate', {
      as: who,
      headers: [`Idempotency-Key: ${randomUUID()}`],
      flags: sent,
    });
    expect([answer.status, answer.body.code]).toEqual([status, 'BAD_REQUEST']);
    expect(answer.body.traceId).toMatch(/^[0-9a-f]{32}$/);
  });

  test('paths that are not public are 404, wrong methods 405, whoever asks', async () => {
    expect((await unit.call('GET', '/v1/units')).status).toBe(404);
    expect((await unit.call('GET', '/v1/constructor')).status).toBe(404);
    expect((await unit.call('GET', '/')).status).toBe(404);
    expect((await unit.call('POST', '/v1/nonce')).status).toBe(405);
  });

  test('without the token: 503 with a Retry-After under 2 s, and the same request succeeds afterwards', async () => {
    const who = await world.addUnit();
    const code = await world.grant(who);
    const keyFile = await unit.newKey();
    const idempotencyKey = randomUUID();
    const activate = async () => {
      const csr = await unit.csr(keyFile, await unit.nonce(who));
      return unit.call('POST', '/v1/activate', {
        as: who,
        json: { csr: await unit.base64(csr), code },
        headers: [`Idempotency-Key: ${idempotencyKey}`],
      });
    };
    await world.token.stopSigner();
    const dark = await activate();
    expect([dark.status, dark.body.code]).toEqual([503, 'RETRY_LATER']);
    expect(Number(/retry-after: (\d+)/i.exec(dark.headers)?.[1])).toBeLessThan(2);
    await world.token.startSigner();
    let light = await activate();
    for (let tries = 0; tries < 20 && light.status === 503; tries++) {
      await sleep(500);
      light = await activate();
    }
    expect(light.status).toBe(200);
  }, 60_000);
});
