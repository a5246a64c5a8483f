import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { RefusalCounter } from '../../../src/platform/refusals.js';
import { type FactoryServer, startFactoryServer } from '../../support/factory-server.js';
import {
  type FactoryWorld,
  factoryToken,
  MAKER,
  manifestOf,
  manifestRow,
  requestFor,
  signManifest,
  startFactoryWorld,
} from '../../support/factory-world.js';
import type { Key } from '../../support/status-world.js';

const run = promisify(execFile);
const actor = 'person:kim';
const CELL = '45008-4711';
const SEGW = 'segw-7.hanbit.example';

interface Answer {
  readonly status: number;
  readonly headers: string;
  readonly text: string;
  readonly json: Record<string, unknown>;
}

describe('factory API over TLS, driven by curl', () => {
  let world: FactoryWorld;
  let server: FactoryServer;
  let refusals: RefusalCounter;
  let dir: string;
  let url: string;
  let batchId = 0;
  const tokenKeyName = 'token-api';
  let tokenKey: Key;
  /** Everything this API ever said in this file. */
  const said: string[] = [];

  beforeAll(async () => {
    world = await startFactoryWorld();
    server = await startFactoryServer(world);
    ({ dir, refusals } = server);
    url = `${server.origin}/v1/factory`;
    server.clientFiles('station', await world.addStation('station-api'));
    server.clientFiles('acme', await world.addStation('station-acme', 'acme'));
    const unrecorded = world.newKey();
    const { der } = await world.issue({ purpose: 'services', key: unrecorded });
    server.clientFiles('stranger', { key: unrecorded, certificateDer: der });
  });
  afterAll(async () => {
    expect(server.internal).toEqual([]);
    await server.close();
    await world.close();
  });

  const curl = async (path: string, args: string[]): Promise<Answer> => {
    const { stdout } = await run('curl', ['-sgk', '--max-time', '30', '-i', ...args, `${url}${path}`], {
      maxBuffer: 64 * 1024 * 1024,
    });
    const [, headers = '', text = ''] =
      /^(?:HTTP\/1\.1 100 Continue\r\n\r\n)?([\s\S]*?)\r\n\r\n([\s\S]*)$/.exec(stdout) ?? [];
    said.push(stdout);
    const json = text.startsWith('{') ? (JSON.parse(text) as Record<string, unknown>) : {};
    return { status: Number(/^HTTP\/1\.1 (\d+)/.exec(headers)?.[1]), headers, text, json };
  };
  const as = (name: string) => ['--cert', join(dir, `${name}.pem`), '--key', join(dir, `${name}.key`)];
  const body = (content: string, type = 'application/json') => {
    const file = join(dir, `body-${Math.random().toString(36).slice(2)}`);
    writeFileSync(file, content);
    return ['-H', `content-type: ${type}`, '--data-binary', `@${file}`];
  };
  const manifest = (jws: string) => body(jws, 'application/jose');
  const enrolment = (serialNumber: string, csr: string) => body(JSON.stringify({ serialNumber, csr }));
  const refusalsOf = async (subject: string) =>
    (await world.entries('request.refused')).filter((entry) => entry.subject === subject).map((entry) => entry.body);

  test('manifest, dry run and submission', async () => {
    const units = [manifestRow(1, 'API'), manifestRow(2, 'API'), manifestRow(3, 'API')];
    const jws = await world.signManifest({ batch: 'api', units });
    const dry = await curl('/manifests?dryRun=1', manifest(jws));
    expect(dry).toMatchObject({ status: 200, json: { rows: 3, faultCount: 0, dryRun: true, batchId: null } });
    const sent = await curl('/manifests', [...as('station'), ...manifest(jws)]);
    expect(sent).toMatchObject({ status: 201, json: { maker: MAKER, batch: 'api', rows: 3 } });
    batchId = Number(sent.json['batchId']);
    expect((await curl('/manifests', manifest(jws))).status).toBe(422);
  });

  test('before acceptance a unit is on no manifest; after it the station enrols it with a request from openssl', async () => {
    await world.factory.createCredential({
      name: 'cred-api',
      makerName: MAKER,
      batchName: 'api',
      site: 'Gumi 2',
      stationName: 'station-api',
      cidrs: ['127.0.0.0/8'],
      actor,
    });
    const { csrPem } = requestFor('API-000001');
    const early = await curl('/enrol', [...as('station'), ...enrolment('API-000001', csrPem)]);
    expect(early).toMatchObject({ status: 403, json: { code: 'NOT_ON_MANIFEST' } });
    await world.factory.acceptManifest({ batchId, actor });
    const first = await curl('/enrol', [...as('station'), ...enrolment('API-000001', csrPem)]);
    expect(first).toMatchObject({ status: 201, json: { serialNumber: 'API-000001', repeated: false } });
    const again = await curl('/enrol', [...as('station'), ...enrolment('API-000001', csrPem)]);
    expect(again).toMatchObject({ status: 200, json: { repeated: true } });
    expect(again.json['certificate']).toBe(first.json['certificate']);
    writeFileSync(join(dir, 'leaf.pem'), String(first.json['certificate']));
    writeFileSync(join(dir, 'chain.pem'), String(first.json['chain']));
    const verified = await run('openssl', ['verify', '-x509_strict', '-CAfile', 'chain.pem', 'leaf.pem'], { cwd: dir });
    expect(verified.stdout).toBe('leaf.pem: OK\n');
  });

  test('a token enrols too, once', async () => {
    tokenKey = world.newKey();
    await world.factory.createCredential({
      name: tokenKeyName,
      makerName: MAKER,
      batchName: 'api',
      site: 'Gumi 2',
      tokenKeySpki: tokenKey.spki.spkiDer,
      cidrs: ['127.0.0.1/32'],
      actor,
    });
    const token = await factoryToken(tokenKey, { cred: tokenKeyName, batch: 'api' });
    const bearer = ['-H', `authorization: Bearer ${token}`];
    const { csrPem } = requestFor('API-000002');
    expect(await curl('/enrol', [...bearer, ...enrolment('API-000002', csrPem)])).toMatchObject({ status: 201 });
    expect(await curl('/enrol', [...bearer, ...enrolment('API-000002', csrPem)])).toMatchObject({
      status: 403,
      json: { code: 'DENIED' },
    });
  });

  test('who has proved nothing hears DENIED or BAD_REQUEST and is counted, not entered', async () => {
    const before = (await world.entries('request.refused')).length;
    const csr = requestFor('API-000003').csrPem;
    for (const client of [
      [],
      as('stranger'),
      ['-H', 'authorization: Bearer x.y.z'],
      ['-H', 'authorization: Basic eDp5'],
    ]) {
      const answer = await curl('/enrol', [...client, ...enrolment('API-000003', csr)]);
      expect(answer).toMatchObject({ status: 403, json: { code: 'DENIED' } });
      expect(Object.keys(answer.json).sort()).toEqual(['code', 'detail', 'status', 'title', 'traceId', 'type']);
    }
    expect((await world.entries('request.refused')).length).toBe(before);
    await refusals.flush();
    const { rows } = await world.db.pool.query(
      `SELECT code, sum(count)::int AS n FROM refusal_count WHERE source_prefix = '127.0.0.0/24' GROUP BY code ORDER BY code`,
    );
    expect(rows).toEqual(expect.arrayContaining([expect.objectContaining({ code: 'UNREGISTERED', n: 2 })]));
  });

  test('a refusal of a proved caller is entered with its exact code before it is answered', async () => {
    const answer = await curl('/enrol', [...as('station'), ...enrolment('API-999999', requestFor('x').csrPem)]);
    expect(answer).toMatchObject({ status: 403, json: { code: 'NOT_ON_MANIFEST' } });
    const entered = await refusalsOf('machine:station-api');
    expect(entered.at(-1)).toMatchObject({
      code: 'NOT_ON_MANIFEST',
      operation: 'factory enrol',
      serialNumber: 'API-999999',
      address: '127.0.0.1',
      traceId: answer.json['traceId'],
    });
  });

  test('another maker’s station sees none of it', async () => {
    const close = await curl(`/batches/${batchId}/close`, [...as('acme'), '-X', 'POST']);
    expect(close).toMatchObject({ status: 404, json: { code: 'NOT_FOUND' } });
    const unknown = await curl('/batches/999999/close', [...as('acme'), '-X', 'POST']);
    const { traceId: a, ...theirs } = close.json;
    const { traceId: b, ...nobodys } = unknown.json;
    expect(theirs).toEqual(nobodys);
    expect(a).not.toBe(b);
    const enrol = await curl('/enrol', [...as('acme'), ...enrolment('API-000003', requestFor('x').csrPem)]);
    expect(enrol).toMatchObject({ status: 403, json: { code: 'CREDENTIAL_SCOPE' } });
  });

  test.each([
    ['a serial number in lower case', '{"serialNumber":"api-000003","csr":"x"}', 400],
    ['a serial number with a look-alike', '{"serialNumber":"АPI-000003","csr":"x"}', 400],
    ['a serial number of 10 kB', `{"serialNumber":"${'A'.repeat(10_000)}","csr":"x"}`, 400],
    ['an unknown member', '{"serialNumber":"API-000003","csr":"x","cell":"1"}', 400],
    ['a member twice', '{"serialNumber":"API-000003","serialNumber":"API-000001","csr":"x"}', 400],
    ['a prototype name', '{"__proto__":{"serialNumber":"API-000003"},"csr":"x"}', 400],
    ['deep nesting', `{"serialNumber":${'['.repeat(20_000)}`, 400],
    ['no JSON', 'hello', 400],
    ['70 kB', `{"serialNumber":"API-000003","csr":"${'x'.repeat(70_000)}"}`, 413],
    ['a CSR that is none', '{"serialNumber":"API-000003","csr":"aGVsbG8="}', 400],
  ])('%s is refused with a stable code', async (_, content, status) => {
    const answer = await curl('/enrol', [...as('station'), ...body(content)]);
    expect(answer).toMatchObject({ status, json: { code: 'BAD_REQUEST' } });
    expect(answer.headers).toContain('application/problem+json');
  });

  test.each([
    ['GET', '/enrol', 405],
    ['POST', '/nothing', 404],
    ['POST', '/batches/1/../../x', 404],
    ['POST', '/batches/%zz/close', 400],
    ['POST', '/batches/0x1/close', 404],
    ['POST', '/Enrol', 404],
    ['POST', '/manifests?dryRun=yes', 400],
    ['POST', '/manifests?__proto__[x]=1', 400],
  ])('%s %s is a problem document with status %i', async (method, path, status) => {
    const answer = await curl(path, [
      ...as('station'),
      '-X',
      method,
      '--path-as-is',
      '-H',
      'content-type: application/jose',
      '-d',
      'x',
    ]);
    expect(answer.status).toBe(status);
    expect(answer.headers).toContain('application/problem+json');
    expect(answer.text).not.toMatch(/node_modules|at .*\.ts/);
  });

  test('faults of a signed manifest reach its maker row by row and are entered under its name', async () => {
    const jws = await world.signManifest({ units: [{ ...manifestRow(50), serialNumber: '=cmd|x' }] });
    const answer = await curl('/manifests', manifest(jws));
    expect(answer).toMatchObject({ status: 422, json: { code: 'BAD_REQUEST' } });
    expect(answer.json['errors']).toEqual([expect.stringMatching(/^row 1: serialNumber/)]);
    expect((await refusalsOf(`maker:${MAKER}`)).at(-1)).toMatchObject({
      code: 'BAD_REQUEST',
      operation: 'factory manifest',
    });
  });

  test('an unsigned or altered manifest tells its sender nothing but BAD_REQUEST', async () => {
    const jws = await signManifest(manifestOf({ units: [manifestRow(51)] }), world.newKey());
    const answer = await curl('/manifests', manifest(jws));
    expect(answer).toMatchObject({ status: 422, json: { code: 'BAD_REQUEST' } });
    expect(answer.json['errors']).toBeUndefined();
  });

  test('while one anonymous manifest is being received a second waits its turn, and a station is not kept out', async () => {
    const slow = run('curl', [
      '-sk',
      '--limit-rate',
      '20K',
      '-H',
      'content-type: application/jose',
      '--data-binary',
      '@-',
      `${url}/manifests`,
    ]);
    slow.child.stdin?.end('x'.repeat(60_000));
    await new Promise((resolve) => setTimeout(resolve, 700));
    const jws = await world.signManifest({ units: [manifestRow(60)] });
    const second = await curl('/manifests?dryRun=1', manifest(jws));
    const station = await curl('/manifests?dryRun=1', [...as('station'), ...manifest(jws)]);
    await slow;
    expect(second).toMatchObject({ status: 503, json: { code: 'RETRY_LATER' } });
    expect(second.headers.toLowerCase()).toContain('retry-after: 5');
    expect(station.status).toBe(200);
  });

  test('while the token is away the answer is 503 with Retry-After within two seconds', async () => {
    world.breakSigner(true);
    const started = performance.now();
    const answer = await curl('/enrol', [
      ...as('station'),
      ...enrolment('API-000003', requestFor('API-000003').csrPem),
    ]);
    expect(performance.now() - started).toBeLessThan(2_000);
    world.breakSigner(false);
    expect(answer).toMatchObject({ status: 503, json: { code: 'HSM_UNAVAILABLE' } });
    expect(answer.headers.toLowerCase()).toMatch(/retry-after: \d+/);
    expect((await refusalsOf('machine:station-api')).at(-1)).not.toMatchObject({ code: 'HSM_UNAVAILABLE' });
  });

  test('the station closes its batch and gets the count', async () => {
    const answer = await curl(`/batches/${batchId}/close`, [...as('station'), '-X', 'POST']);
    expect(answer).toMatchObject({ status: 200, json: { manifested: 3, enrolled: 2, missing: 1, scrapped: 0 } });
    const again = await curl(`/batches/${batchId}/close`, [...as('station'), '-X', 'POST']);
    expect(again).toMatchObject({ status: 409, json: { code: 'STATE_CONFLICT' } });
  });

  test('no answer ever held a cell identity, a gateway address or a private key, and none has a member for them', async () => {
    // A unit of this maker that is activated, with cell and gateway: the factory asks about it in every way it has.
    const unit = await world.registry.unitBySerialNumber(world.transactor.read, 'API-000001');
    await world.office.registerCell({ id: CELL, segwAddress: SEGW, actor });
    await world.transactor.run((tx) =>
      world.registry.bindCell(tx, { unitId: unit?.id ?? 0, cellId: CELL, actor, at: new Date() }),
    );
    await curl('/enrol', [...as('station'), ...enrolment('API-000001', requestFor('API-000001').csrPem)]);
    await curl('/manifests?dryRun=1', manifest(await world.signManifest({ units: [manifestRow(1, 'API')] })));
    await curl('/units/API-000001', as('station'));
    expect(said.length).toBeGreaterThan(30);
    for (const text of said) {
      expect(text).not.toMatch(new RegExp(`${CELL}|${SEGW}|PRIVATE KEY`));
      expect(text).not.toMatch(/"(?:cell|cellId|segw|segwAddress|gateway|line|lineId)"/);
    }
  });
});
