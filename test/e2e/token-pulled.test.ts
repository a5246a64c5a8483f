/**
 * The token is pulled out of a running installation (the p11-kit server behind which it lives gets SIGKILL) and put back:
 * what needs no signature goes on, what needs one says so, and nothing is started again. A wrong PIN, one C_Login and
 * then silence, is provoked at the signer itself: test/faults/token/wrong-pin.test.ts.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { parse, stringify } from 'yaml';
import { signRenewal } from '../../src/apps/story/stolen-acts.js';
import { askGateway, makeRequest, verdictLine, verifyWithCrls } from '../../src/apps/story/unit-tools.js';
import type { Answer } from '../../src/apps/story/world.js';
import { type SignerConfig, signerConfigPath } from '../../src/platform/hsm/signer-config.js';
import { type FleetUnit, makeFleet } from '../support/fleet.js';
import { PluggableToken } from '../support/p11-kit.js';
import { type ToldInstallation, toldInstallation } from '../support/told-installation.js';

const GATEWAY = 'segw-gangnam-1';
const CLI = fileURLToPath(new URL('../../bin/femtopki.mjs', import.meta.url));
/** Of no line. */
const FROM = ['--interface', '127.0.0.77'];
const BACK_MS_MAX = 15_000;

let told: ToldInstallation;
let device: PluggableToken;
let first: FleetUnit;
let second: FleetUnit;
let signerPids: number[];

beforeAll(async () => {
  told = await toldInstallation();
  await told.tellUntil('ocsp-good');
  [first, second] = (await makeFleet(told.world, 2)) as [FleetUnit, FleetUnit];
  await moveTokenBehindServer();
  signerPids = processesOfSigner();
}, 400_000);
afterAll(async () => {
  device?.pullOut();
  await told?.close();
}, 60_000);

describe('with the token in its place behind p11-kit', () => {
  test('a unit is activated, and OCSP answers without a nonce are there to be cached', async () => {
    expect((await activate(first)).status).toBe(200);
    expect(await askCachedOcsp()).toBe('good');
  });
});

describe('with the token pulled', () => {
  beforeAll(() => device.pullOut());

  test('activation answers 503 RETRY_LATER within 2 s, and says when to come again', async () => {
    const startMs = Date.now();
    const answer = await activate(second);
    expect(Date.now() - startMs).toBeLessThan(2_000);
    expect([answer.status, answer.json['code']]).toEqual([503, 'RETRY_LATER']);
    expect(retryAfter()).toBeGreaterThanOrEqual(1);
    expect(retryAfter()).toBeLessThan(2);
  });

  test('so does renewal', async () => {
    const answer = await renew();
    expect([answer.status, answer.json['code']]).toEqual([503, 'RETRY_LATER']);
    expect(retryAfter()).toBeGreaterThanOrEqual(1);
    expect(retryAfter()).toBeLessThan(2);
  });

  test('the record has the exact code', async () => {
    for (let tries = 0; tries < 50 && !(await isCounted('HSM_UNAVAILABLE')); tries++) await sleep(100);
    expect(await isCounted('HSM_UNAVAILABLE')).toBe(true);
  });

  test('authorise, revocation lists, cached OCSP answers and the time keep coming', async () => {
    const { world } = told;
    expect(verdictLine(await askGateway(world, GATEWAY, 'unit'))).toBe('Verified OK: permit');
    expect(await verifyWithCrls(world, 'unit')).toBe('unit.pem: OK');
    expect(await askCachedOcsp()).toBe('good');
    expect((await world.curl(`${world.statusUrl}/time?nonce=${'5a'.repeat(16)}`)).status).toBe(200);
  });
});

describe('with the token put back', () => {
  test('the same unit is activated within 15 s, and no process was started again', async () => {
    await device.plugIn();
    const startMs = Date.now();
    let answer = await activate(second);
    while (answer.status === 503 && Date.now() - startMs < BACK_MS_MAX) {
      await sleep(250);
      answer = await activate(second);
    }
    expect(answer.status).toBe(200);
    expect(Date.now() - startMs).toBeLessThan(BACK_MS_MAX);
    expect(processesOfSigner()).toEqual(signerPids);
    expect((await renew()).status).toBe(200);
  }, 60_000);

  test('what was promised and never signed is revoked, and every invariant holds', async () => {
    const { world, installation } = told;
    const check = () => world.sh(process.execPath, CLI, 'check-ledger', '--data', installation.dataDir, '-o', 'json');
    let said = await check();
    for (let tries = 0; tries < 20 && said.code !== 0; tries++) {
      await sleep(500);
      said = await check();
    }
    const report = JSON.parse(said.stdout || '{}') as { invariants?: { result: string }[] };
    expect(report.invariants?.filter(({ result }) => result === 'violated')).toEqual([]);
    expect(said.code).toBe(0);
  }, 60_000);
});

/** The running signer gets another module path; only it is started again. */
async function moveTokenBehindServer(): Promise<void> {
  const { installation, world } = told;
  const path = signerConfigPath(installation.dataDir);
  device = new PluggableToken({
    dataDir: installation.dataDir,
    configure: (change) => {
      const config = parse(readFileSync(path, 'utf8')) as SignerConfig;
      change(config);
      writeFileSync(path, stringify(config));
    },
  });
  await device.plugIn();
  const [parent = 0] = processesOfSigner();
  process.kill(parent, 'SIGTERM');
  const ready = `http://127.0.0.1:${world.context.config.metrics.signer}/readyz`;
  const isReady = (): Promise<boolean> =>
    fetch(ready)
      .then(({ ok }) => ok)
      .catch(() => false);
  while (existsSync(`/proc/${parent}`)) await sleep(50);
  for (let tries = 0; tries < 300 && !(await isReady()); tries++) await sleep(100);
  if (!(await isReady())) throw new Error('the signer did not come back behind p11-kit');
}

/** Parent first, then one a key class. */
function processesOfSigner(): number[] {
  const { world, installation } = told;
  const supervisor = installation.pid;
  const childrenOf = (pid: number): number[] =>
    readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);
  const isSigner = (pid: number): boolean => readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('/signer.js');
  const parent = childrenOf(supervisor).find(isSigner);
  if (parent === undefined) throw new Error(`no signer under ${supervisor} of ${world.context.paths.root}`);
  return [parent, ...childrenOf(parent)];
}

let requests = 0;

/** A fresh nonce and request each time, over one key, as a unit does that is told to come again. */
async function activate(unit: FleetUnit): Promise<Answer> {
  const { world } = told;
  const name = `${unit.name}-op`;
  await makeRequest(world, name, { commonName: unit.fqdn, nonce: await nonce(unit.name), keepKey: hasKey(name) });
  return await post('activate', unit.name, { csr: world.read(`${name}.csr`), code: unit.code });
}

/** The unit of the story; `signRenewal` signs `thief.csr` with `unit.key`. */
async function renew(): Promise<Answer> {
  const { world } = told;
  const [from, until] = [Date.now() - 60_000, Date.now() + 3_600_000].map((ms) => new Date(ms).toISOString());
  await world.cli(['unit', 'window', world.serialNumber, '--from', String(from), '--until', String(until)]);
  const value = await nonce('unit');
  await makeRequest(world, 'thief', { nonce: value, keepKey: hasKey('thief') });
  const predecessorSignature = await signRenewal(world, value);
  return await post('renew', 'unit', { csr: world.read('thief.csr'), predecessorSignature });
}

async function nonce(as: string): Promise<string> {
  const { world } = told;
  const args = as === 'unit' ? [] : FROM;
  const answer = await world.curl(`${world.enrolUrl}/v1/nonce`, { as, args });
  if (answer.status !== 200) throw new Error(`${answer.status} ${answer.text}`);
  return String(answer.json['nonce']);
}

function post(operation: 'activate' | 'renew', as: string, body: object): Promise<Answer> {
  const { world } = told;
  return world.curl(`${world.enrolUrl}/v1/${operation}`, {
    as,
    args: [...(as === 'unit' ? [] : FROM), '--dump-header', 'headers.txt'],
    headers: [`Idempotency-Key: token-pulled-${String(++requests).padStart(16, '0')}`],
    body,
  });
}

function retryAfter(): number {
  return Number(/^retry-after: (\d+)/im.exec(told.world.read('headers.txt'))?.[1]);
}

function hasKey(name: string): boolean {
  return existsSync(told.world.path(`${name}.key`));
}

/** `openssl ocsp` without a nonce: the form that a responder may answer from its cache. */
async function askCachedOcsp(): Promise<string> {
  const { world } = told;
  const { stdout, stderr } = await world.sh(
    'openssl',
    ...['ocsp', '-no_nonce', '-issuer', 'device-ca-1.ca.pem', '-cert', 'unit.pem'],
    ...['-url', `${world.statusUrl}/ocsp`, '-CAfile', 'access-root.ca.pem'],
  );
  if (!/Response verify OK/.test(stdout + stderr)) return stdout + stderr;
  return /^unit\.pem: (\w+)/m.exec(stdout)?.[1] ?? stdout;
}

async function isCounted(code: string): Promise<boolean> {
  const { rowCount } = await told.world.context.pool.query('SELECT 1 FROM refusal_count WHERE code = $1', [code]);
  return (rowCount ?? 0) > 0;
}
