import { createPublicKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Agent, request as httpsRequest } from 'node:https';
import { connect, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { certsOnly } from '../../../src/protocol/est/certs-only.js';
import { readSpki } from '../../../src/x509/spki.js';
import { run, runClient } from '../../support/command.js';
import type { CurlCredential } from '../../support/curl-unit.js';
import { type DeviceWorld, startDeviceWorld, type WorldUnit } from '../../support/device-world.js';
import { estUnit } from '../../support/est-unit.js';

let world: DeviceWorld;
let unit: ReturnType<typeof estUnit>;
let who: WorldUnit;

beforeAll(async () => {
  world = await startDeviceWorld();
  unit = estUnit(world.dir, world.port);
  who = await world.addUnit();
});
afterAll(() => world.close());

const refusals = async (of: WorldUnit) => (await world.ledger(of, 'request.refused')).map(({ code }) => code);
const grantOf = async (of: WorldUnit) =>
  (await world.db.pool.query('SELECT state, tries FROM activation_grant WHERE unit_id = $1 ORDER BY id DESC', [of.id]))
    .rows[0];

describe('operations that are not there', () => {
  test('serverkeygen is refused on purpose, with the reason (KEY-6), whoever asks and however', async () => {
    const body = await unit.request(await unit.newKey());
    for (const options of [{ body, as: who }, { body }, {}]) {
      const { status, text } = await unit.call('serverkeygen', options);
      expect(status).toBe(404);
      expect(text).toMatch(/^BAD_REQUEST: Keys are made in the unit and never travel \(KEY-6\)/);
    }
    expect((await unit.call('fullcmc', { body, as: who })).status).toBe(404);
    expect((await unit.call('toString', { body, as: who })).status).toBe(404);
  });

  test('the whole address in the request line is served (RFC 9112 section 3.2.2)', async () => {
    const flags = ['--request-target', 'https://pki.hanbit.example/.well-known/est/cacerts'];
    expect((await unit.call('cacerts', { flags })).status).toBe(200);
  });

  test.each([
    ['cacerts', ['-X', 'POST'], 'GET'],
    ['csrattrs', ['-X', 'PUT'], 'GET'],
    ['simpleenroll', [], 'POST'],
    ['simplereenroll', ['-X', 'DELETE'], 'POST'],
  ])('%s by another method is 405 and names the right one', async (path, flags, allow) => {
    const answer = await unit.call(path, { flags });
    expect(answer.status).toBe(405);
    expect(answer.headers).toMatch(new RegExp(`^allow: ${allow}\\r$`, 'im'));
  });
});

describe('bodies that are none', () => {
  test.each<[string, () => string | Promise<string>, string, number]>([
    ['1 MB', () => 'A'.repeat(1_000_000), 'application/pkcs10', 413],
    ['a form, which is what curl says unless told', async () => csrText(), 'application/x-www-form-urlencoded', 415],
    ['JSON', () => '{"csr":"AAAA"}', 'application/json', 415],
    ['truncated base64', async () => (await csrText()).slice(0, -7), 'application/pkcs10', 400],
    ['a truncated request', async () => (await csrText()).slice(0, -40), 'application/pkcs10', 400],
    ['no base64', () => '%%%%', 'application/pkcs10', 400],
    ['nothing', () => '', 'application/pkcs10', 400],
    ['a certificate', () => readFileSync(who.pemFile, 'utf8'), 'application/pkcs10', 400],
  ])('%s', async (_name, content, contentType, status) => {
    const answer = await unit.call('simpleenroll', {
      as: who,
      body: unit.store('body', await content()),
      contentType,
    });
    expect(answer.status).toBe(status);
    expect(answer.text).toMatch(/^BAD_REQUEST: [^\n]+ \(traceId [0-9a-f]{32}\)\n$/);
    expect(answer.headers).toMatch(/^content-type: text\/plain; charset=utf-8\r$/im);
  });

  const csrText = async (): Promise<string> => readFileSync(await unit.request(await unit.newKey()), 'utf8');

  test('a compressed one', async () => {
    const body = await unit.request(await unit.newKey());
    const flags = ['-H', 'Content-Encoding: gzip'];
    expect((await unit.call('simpleenroll', { as: who, body, flags })).status).toBe(415);
  });

  test('one that trickles is cut off', async () => {
    const socket = await tlsTo({ as: who, maxVersion: 'TLSv1.3' });
    const started = performance.now();
    socket.write('POST /.well-known/est/simpleenroll HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nMII');
    const text = await allOf(socket);
    expect(text).toMatch(/^HTTP\/1\.1 408 .*BAD_REQUEST: The body must arrive within 10 s/s);
    expect(performance.now() - started).toBeLessThan(17_000);
  });

  test('a request that another key signed is 400, and POP_FAIL on record', async () => {
    const of = await world.addUnit();
    const der = readFileSync(await unit.csr(await unit.newKey(), null));
    der[der.length - 1] = (der[der.length - 1] ?? 0) ^ 1;
    const body = unit.store('bent', der.toString('base64'));
    expect((await unit.call('simpleenroll', { as: of, body })).status).toBe(400);
    expect(await refusals(of)).toEqual(['POP_FAIL']);
  });

  test('a private key is refused, blocked for ever, and in no log', async () => {
    const keyFile = await unit.newKey();
    const answer = await unit.call('simpleenroll', { as: who, body: keyFile });
    expect([answer.status, answer.text.slice(0, 7)]).toEqual([403, 'DENIED:']);
    const key = createPublicKey(readFileSync(keyFile)).export({ type: 'spki', format: 'der' });
    const blocked = await world.db.pool.query('SELECT 1 FROM blocked_key WHERE spki_hash = $1', [
      readSpki(key).spkiHash,
    ]);
    expect(blocked.rows).toHaveLength(1);
    const inside = await world.db.pool.query(`SELECT body FROM ledger_inbox WHERE body LIKE '%PRIVATE KEY%'`);
    expect(inside.rows).toEqual([]);
  });
});

describe('who asks', () => {
  test('a code without a certificate is 401 with a challenge; nothing changes and no try is counted', async () => {
    const of = await world.addUnit();
    const code = await world.grant(of);
    for (const given of [code, '0000-0000-0000-0000']) {
      for (const path of ['simpleenroll', 'simplereenroll']) {
        const answer = await unit.enroll(path, { code: given });
        expect([answer.status, answer.text.slice(0, 7)]).toEqual([401, 'DENIED:']);
        expect(answer.headers).toMatch(/^www-authenticate: Basic realm="femtopki"\r$/im);
      }
    }
    expect((await unit.enroll('simpleenroll')).status).toBe(401);
    expect(await grantOf(of)).toEqual({ state: 'open', tries: 0 });
    expect(await world.ledgerKinds(of)).not.toContain('request.refused');
    expect((await unit.enroll('simpleenroll', { as: of, code })).status).toBe(200);
  });

  test('a wrong code counts; the fifth locks the grant', async () => {
    const of = await world.addUnit();
    const code = await world.grant(of);
    for (const path of ['simpleenroll', 'simplereenroll', 'simpleenroll', 'simplereenroll', 'simpleenroll']) {
      const answer = await unit.enroll(path, { as: of, code: 'AAAA-AAAA-AAAA-AAAA' });
      expect([answer.status, answer.text.slice(0, 7)]).toEqual([403, 'DENIED:']);
    }
    expect(await grantOf(of)).toEqual({ state: 'locked', tries: 5 });
    expect((await unit.enroll('simpleenroll', { as: of, code })).status).toBe(403);
  });

  test('an Authorization header that is no Basic code is 400, and no try', async () => {
    const of = await world.addUnit();
    await world.grant(of);
    for (const value of ['Bearer abc', 'Basic', 'Basic %%%', `Basic ${Buffer.from('no colon').toString('base64')}`]) {
      const flags = ['-H', `Authorization: ${value}`];
      expect((await unit.enroll('simpleenroll', { as: of, flags })).status).toBe(400);
    }
    expect(await grantOf(of)).toEqual({ state: 'open', tries: 0 });
  });
});

describe('asked to come again (RFC 7030 section 4.2.3)', () => {
  test('while two people decide on its new grant: 202, Retry-After, and no try', async () => {
    const of = await world.addUnit();
    await unit.enroll('simpleenroll', { as: of, code: await world.grant(of) });
    await world.db.pool.query(
      `INSERT INTO person (name, role, state, created_at) VALUES ('kim', 'operator', 'active', now()) ON CONFLICT DO NOTHING`,
    );
    const request = JSON.stringify({ kind: 'grant.live-head', request: { line: 'x', unit: of.serialNumber } });
    await world.db.pool.query(
      `INSERT INTO approval (kind, request, request_hash, selection_count, requested_by, request_signature, state,
         created_at, expires_at)
       VALUES ('grant.live-head', $1, '\\x00', 1, 1, '\\x00', 'open', now(), now() + interval '1 day')`,
      [request],
    );
    const answer = await unit.enroll('simplereenroll', { as: of });
    expect([answer.status, answer.text.slice(0, 12)]).toEqual([202, 'RETRY_LATER:']);
    expect(answer.headers).toMatch(/^retry-after: 60\r$/im);
    await world.db.pool.query('DELETE FROM approval');
    expect((await unit.enroll('simplereenroll', { as: of })).status).toBe(403);
  });

  test('where the key was shown before the competing event: 202, and the connection goes, so that the next shows it again', async () => {
    const of = await world.addUnit();
    const first = await unit.enroll('simpleenroll', { as: of, code: await world.grant(of) });
    const op = first.op as CurlCredential;
    const line = keptConnection(op);
    expect((await line.get('/.well-known/est/csrattrs')).status).toBe(200);
    expect((await unit.enroll('simplereenroll', { as: op })).status).toBe(200);
    const body = readFileSync(await unit.request(await unit.newKey()), 'utf8');
    const late = await line.post('/.well-known/est/simplereenroll', body);
    expect([late.status, late.headers['retry-after'], late.headers.connection]).toEqual([202, '1', 'close']);
    expect(line.connections()).toBe(1);
    expect(await world.ledger(of, 'lineage.forked')).toEqual([]);
    const again = await line.post('/.well-known/est/simplereenroll', body);
    expect([again.status, line.connections()]).toEqual([200, 2]);
    expect((await world.ledger(of, 'lineage.forked')).map(({ grade }) => grade)).toEqual(['soft']);
    line.close();
  });
});

describe('channel binding (RFC 7030 section 3.5)', () => {
  const enrollOver = async (
    version: 'TLSv1.2' | 'TLSv1.3',
    passwordOf: (socket: TLSSocket) => string,
  ): Promise<{ text: string; of: WorldUnit }> => {
    const of = await world.addUnit();
    const code = await world.grant(of);
    const socket = await tlsTo({ as: of, maxVersion: version });
    expect(socket.getProtocol()).toBe(version);
    const body = await unit.base64(await unit.csr(await unit.newKey(), passwordOf(socket)));
    const basic = Buffer.from(`unit:${code}`).toString('base64');
    socket.write(
      `POST /.well-known/est/simpleenroll HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Basic ${basic}\r\n` +
        `Content-Type: application/pkcs10\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    return { text: await allOf(socket), of };
  };
  const unique = (socket: TLSSocket): string => socket.getFinished()?.toString('base64') ?? '';

  test('TLS 1.2: the connection’s own tls-unique is right', async () => {
    expect((await enrollOver('TLSv1.2', unique)).text).toMatch(/^HTTP\/1\.1 200 /);
  });

  test('TLS 1.2: another connection’s, or any other password, is refused', async () => {
    const other = await tlsTo({ as: who, maxVersion: 'TLSv1.2' });
    const foreign = unique(other);
    other.destroy();
    for (const password of [foreign, 'secret']) {
      const { text, of } = await enrollOver('TLSv1.2', () => password);
      expect(text).toMatch(/^HTTP\/1\.1 400 /);
      expect(await refusals(of)).toEqual(['POP_FAIL']);
      expect(await grantOf(of)).toEqual({ state: 'open', tries: 0 });
    }
  });

  test('TLS 1.3 has no tls-unique, so whatever is there is refused', async () => {
    const { text, of } = await enrollOver('TLSv1.3', unique);
    expect(text).toMatch(/^HTTP\/1\.1 400 /);
    expect(await refusals(of)).toEqual(['POP_FAIL']);
  });
});

test('TLS 1.1 is refused', async () => {
  const args = ['s_client', '-connect', `127.0.0.1:${world.port}`, '-tls1_1', '-cipher', 'ALL:@SECLEVEL=0'];
  expect((await runClient('openssl', args)).code).not.toBe(0);
});

test('a certs-only message of ours has nothing in it but certificates', () => {
  const der = new X509Certificate(world.accessRootPem).raw;
  expect(run('openssl', ['cms', '-cmsout', '-print', '-inform', 'DER'], certsOnly([der])).text).toMatch(
    /digestAlgorithms:\s+<EMPTY>[\s\S]*eContent: <ABSENT>[\s\S]*signerInfos:\s+<EMPTY>/,
  );
});

function tlsTo({ as, maxVersion }: { as: CurlCredential; maxVersion: 'TLSv1.2' | 'TLSv1.3' }): Promise<TLSSocket> {
  return new Promise((done, fail) => {
    const socket = connect({
      host: '127.0.0.1',
      port: world.port,
      servername: 'localhost',
      ca: world.servicesRootPem,
      cert: readFileSync(as.pemFile),
      key: readFileSync(as.keyFile),
      maxVersion,
    });
    socket.once('secureConnect', () => done(socket)).once('error', fail);
  });
}

async function allOf(socket: TLSSocket): Promise<string> {
  let text = '';
  for await (const chunk of socket) text += String(chunk);
  return text;
}

/** One connection for all requests, until the server ends it. */
function keptConnection(as: CurlCredential) {
  const agent = new Agent({
    keepAlive: true,
    maxSockets: 1,
    ca: world.servicesRootPem,
    cert: readFileSync(as.pemFile),
    key: readFileSync(as.keyFile),
    servername: 'localhost',
  });
  const sockets = new Set<unknown>();
  const send = (method: string, path: string, body?: string) =>
    new Promise<{ status: number; headers: Record<string, unknown> }>((resolve, reject) => {
      const headers = body === undefined ? {} : { 'content-type': 'application/pkcs10' };
      const options = { host: '127.0.0.1', port: world.port, method, path, agent, headers };
      const outgoing = httpsRequest(options, (incoming) => {
        sockets.add(incoming.socket);
        incoming.resume().once('end', () => resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers }));
      });
      outgoing.once('error', reject).end(body);
    });
  return {
    get: (path: string) => send('GET', path),
    post: (path: string, body: string) => send('POST', path, body),
    connections: () => sockets.size,
    close: () => agent.destroy(),
  };
}
