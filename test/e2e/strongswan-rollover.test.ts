/**
 * Two Access Roots and two Device CAs in overlap, judged by a strongSwan gateway with `revocation = strict` by their CRLs. The
 * gateway's connector learns of the new ones by itself, and acknowledges them.
 */
import { generateKeyPairSync } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { ceremonyWatch } from '../../src/apps/worker-ceremonies.js';
import { hierarchyPath, readHierarchy } from '../../src/platform/hsm/hierarchy.js';
import { certificatePem } from '../../src/x509/certificate.js';
import type { CurlCredential } from '../support/curl-unit.js';
import { extend } from '../support/extension.js';
import { type RolloverWorld, startRolloverWorld } from '../support/rollover-world.js';
import { servicesLeaf } from '../support/services-leaf.js';
import { GATEWAY_ADDRESS, type IkeLab, openIkeLab, UNIT_ADDRESS } from '../support/strongswan.js';
import { kitModule } from '../unit/gateway-kit/kit.js';

const { openCharon } = await kitModule('charon');
const { makeApi } = await kitModule('api');
const { makeAnchorKeeper } = await kitModule('anchors');

const GATEWAY_ID = 'segw-1.hanbit.example';
const dir = mkdtempSync(join(tmpdir(), 'fp-ro-'));
let rollover: RolloverWorld;
let crls: Server;
let lab: IkeLab;
let gatewayPem: { cert: string; key: string };
const units = new Map<string, CurlCredential>();
// biome-ignore lint/suspicious/noExplicitAny: modules without declarations
let charon: any;
// biome-ignore lint/suspicious/noExplicitAny: modules without declarations
let anchors: any;
const said: string[] = [];
let learnt = 0;

beforeAll(async () => {
  rollover = await startRolloverWorld();
  const { world } = rollover;
  const { core, token } = world;
  units.set('device-ca-1', (await rollover.activeUnit()).op);
  expect(extend(token.dataDir)).toBe('');
  await ceremonyWatch(core, hierarchyPath(token.dataDir))();
  for (let tries = 0; tries < 200 && !existsSync(join(rollover.crlDir, 'device-ca-3.crl')); tries += 1) {
    await rollover.publish().catch(() => undefined);
    await sleep(200);
  }
  crls = createServer((request, response) => {
    const name = /^\/crl\/([a-z0-9-]+\.crl)$/.exec(request.url ?? '')?.[1] ?? '';
    const path = [rollover.crlDir, join(token.dataDir, 'ca')].map((at) => join(at, name)).find(existsSync);
    if (name === '' || path === undefined) return void response.writeHead(404).end();
    response.end(readFileSync(path));
  });
  await new Promise<void>((done) => crls.listen(0, '127.0.0.1', done));
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const der = await servicesLeaf(token, { profile: 'services-gateway', commonName: GATEWAY_ID, publicKey });
  gatewayPem = { cert: certificatePem(der), key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() };
  lab = await openIkeLab(dir, (crls.address() as AddressInfo).port, { namedPort: 8080, ocsp: false });
  await loadGateway(['access-root']);
  charon = await openCharon(join(dir, 'gw/vici'), () => undefined);
  anchors = await connectorOf('segw-1');
}, 120_000);

test('nothing is issued under the new root before the connector, which has the old one, has acknowledged it by itself', async () => {
  const { core } = rollover.world;
  const [act, second] = [{ actor: 'person:operator' }, async () => 'person:approver'] as const;
  const activate = () => core.caOffice.activate({ label: 'device-ca-3', ...act }, second);
  await expect(activate()).rejects.toThrow('gateways have not acknowledged');
  // Where the new CAs' CRLs are is asked once, and not again.
  for (let times = 0; times < 2; times++) await anchors.round();
  expect(learnt).toBe(1);
  expect(said.join('\n')).toMatch(/acknowledged .*Access Root 2[\s\S]*acknowledged .*Device CA 3/);
  expect(await activate()).toMatchObject({ state: 'active', unacknowledgedBy: [] });
  await core.caOffice.retire({ label: 'device-ca-1', reason: 'over', ...act }, second);
  units.set('device-ca-3', (await rollover.activeUnit()).op);
}, 60_000);

test('it lets units of both roots in, with no line of its configuration changed, and after swanctl has forgotten', async () => {
  for (const ca of units.keys()) expect([ca, await connectAs(ca)]).toEqual([ca, true]);
  await lab.gateway.swanctl('--load-all', '--clear');
  expect(await connectAs('device-ca-3')).toBe(false);
  await anchors.offer();
  for (const ca of units.keys()) expect([ca, await connectAs(ca)]).toEqual([ca, true]);
}, 60_000);

test('a root that no anchor of charon has signed is neither believed nor acknowledged', async () => {
  await loadGateway(['services-root']);
  const other = await connectorOf('segw-2');
  await other.look();
  expect(other.links()).toEqual([]);
  const { rows } = await rollover.world.db.pool.query(
    `SELECT 1 FROM gateway_anchor JOIN machine m ON m.id = gateway_id WHERE m.name = 'segw-2'`,
  );
  expect(rows).toEqual([]);
}, 60_000);
afterAll(async () => {
  charon?.close();
  await lab?.close();
  await new Promise((done) => crls.close(done));
  await rollover?.close();
  rmSync(dir, { recursive: true, force: true });
}, 60_000);

test.each([
  ['the old root alone', ['access-root'], { 'device-ca-1': true, 'device-ca-3': false }],
  ['both roots', ['access-root', 'access-root-2'], { 'device-ca-1': true, 'device-ca-3': true }],
] as const)(
  'a gateway that trusts %s',
  async (_name, roots, expected) => {
    await loadGateway(roots);
    for (const [ca, isLetIn] of Object.entries(expected)) expect([ca, await connectAs(ca)]).toEqual([ca, isLetIn]);
  },
  60_000,
);

/** The connector's own modules, over the real gateway port. */
// biome-ignore lint/suspicious/noExplicitAny: modules without declarations
async function connectorOf(name: string): Promise<any> {
  const { world } = rollover;
  const { pemFile, keyFile } = await world.addGateway(name);
  const stateDir = mkdtempSync(join(dir, 'state-'));
  const config = {
    gateway: name,
    stateDir,
    api: {
      url: `https://localhost:${world.gatewayPort}`,
      servicesRoot: join(world.dir, 'services-root.pem'),
      certificate: pemFile,
      key: keyFile,
    },
  };
  const api = makeApi({ config, trust: null });
  const shelf = { knows: () => learnt > 0 };
  const learnCrls = async (): Promise<void> => {
    learnt += 1;
  };
  const log = (text: string): void => void said.push(text);
  return makeAnchorKeeper({ config, api, charon: () => charon, shelf, learnCrls, log });
}

function pemOf(label: string): string {
  const { entries } = readHierarchy(hierarchyPath(rollover.world.token.dataDir));
  return entries.find((entry) => entry.label === label)?.certificatePem ?? '';
}

async function loadGateway(roots: readonly string[]): Promise<void> {
  await lab.gateway.load(
    {
      anchors: Object.fromEntries(roots.map((label) => [`${label}.pem`, pemOf(label)])),
      certificates: { 'gw.pem': gatewayPem.cert, 'services-ca.pem': pemOf('services-ca') },
      keys: { 'gw.key': gatewayPem.key },
    },
    connection('femto', [
      `local_addrs = ${GATEWAY_ADDRESS}`,
      'unique = never',
      section('local', ['auth = pubkey', 'certs = gw.pem', `id = ${GATEWAY_ID}`]),
      section('remote', [
        'auth = pubkey',
        'id = %any',
        `cacerts = ${roots.map((label) => `${label}.pem`).join(', ')}`,
        'revocation = strict',
      ]),
    ]),
  );
}

async function connectAs(ca: string): Promise<boolean> {
  const { pemFile, keyFile } = units.get(ca) as CurlCredential;
  const root = ca === 'device-ca-3' ? 'access-root-2' : 'access-root';
  await lab.unit.load(
    {
      anchors: { 'services-root.pem': pemOf('services-root'), 'access.pem': pemOf(root) },
      certificates: { 'own.pem': readFileSync(pemFile, 'utf8'), 'ca.pem': pemOf(ca) },
      keys: { 'own.key': readFileSync(keyFile, 'utf8') },
    },
    connection('segw', [
      `local_addrs = ${UNIT_ADDRESS}`,
      `remote_addrs = ${GATEWAY_ADDRESS}`,
      section('local', ['auth = pubkey', 'certs = own.pem']),
      section('remote', ['auth = pubkey', `id = ${GATEWAY_ID}`, 'cacerts = services-root.pem', 'revocation = relaxed']),
    ]),
  );
  const { code, text } = await lab.unit.swanctl('--initiate', '--ike', 'segw', '--timeout', '30');
  if (code === 0) await lab.unit.swanctl('--terminate', '--ike', 'segw');
  else if (!text.includes('AUTHENTICATION_FAILED')) throw new Error(`${text}\n${lab.gateway.newLog()}`);
  return code === 0;
}

function connection(name: string, lines: readonly string[]): string {
  const all = ['version = 2', 'proposals = aes128gcm16-prfsha256-ecp256', 'childless = force', 'send_cert = always'];
  return section('connections', [section(name, [...all, ...lines])]);
}

/** strongSwan wants one setting a line. */
function section(name: string, lines: readonly string[]): string {
  return [`${name} {`, ...lines, '}'].join('\n');
}
