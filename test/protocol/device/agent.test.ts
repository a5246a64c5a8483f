import { execFile } from 'node:child_process';
import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readPins } from '../../../src/agent/check-server.js';
import { deviceFiles } from '../../../src/agent/device-files.js';
import { makeEnrolClient } from '../../../src/agent/enrol-client.js';
import { step } from '../../../src/agent/femtocell.js';
import { networkTime } from '../../../src/agent/network-time.js';
import { makeUnitClock } from '../../../src/agent/unit-clock.js';
import { factoryState, loadState, saveState } from '../../../src/agent/unit-state.js';
import { handleTime } from '../../../src/protocol/time/time-http.js';
import { certificatePem } from '../../../src/x509/certificate.js';
import { pemBlocks } from '../../../src/x509/pem.js';
import { type DeviceWorld, startDeviceWorld, type WorldUnit } from '../../support/device-world.js';
import { servicesLeaf } from '../../support/services-leaf.js';

const run = promisify(execFile);
const LOADER = new URL('../../../bin/ts-loader.mjs', import.meta.url).href;
const MAIN = new URL('../../../src/agent/main.ts', import.meta.url).pathname;

let world: DeviceWorld;
let status: Server;
let statusUrl: string;
let replayed: string | null = null;

beforeAll(async () => {
  world = await startDeviceWorld();
  const time = await timeKey();
  const ca = pemBlocks(world.token.entry('services-ca').certificatePem)[0]?.der ?? Buffer.alloc(0);
  status = createServer((request, response) => {
    if (request.url === '/ca/services-ca.cer') return void response.end(ca);
    if (replayed !== null) return void response.end(replayed);
    handleTime({ clock: { now: () => new Date() }, sign: time }, request, response);
  });
  await new Promise<void>((done) => status.listen(0, '127.0.0.1', done));
  statusUrl = `http://127.0.0.1:${(status.address() as AddressInfo).port}`;
});
afterAll(async () => {
  await new Promise((done) => status.close(done));
  await world.close();
});

async function timeKey(profile: 'services-time' | 'services-decision' = 'services-time') {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const lifeSeconds = 25 * 3_600;
  const pem = certificatePem(
    await servicesLeaf(world.token, { profile, commonName: 'time-1', publicKey, lifeSeconds }),
  );
  return (text: Buffer) => ({ signature: sign('sha256', text, privateKey), certificatePem: pem });
}

/** A unit's own directory, as it leaves the line. */
function provision(unit: WorldUnit): string {
  const dir = join(world.dir, `unit-${unit.serialNumber}`);
  mkdirSync(dir);
  writeFileSync(join(dir, 'bootstrap.pem'), unit.bootstrapPem);
  writeFileSync(join(dir, 'bootstrap.key'), readFileSync(unit.keyFile));
  writeFileSync(join(dir, 'services-root.pem'), world.servicesRootPem);
  writeFileSync(join(dir, 'access-root.pem'), world.accessRootPem);
  return dir;
}

const agent = (dir: string, ...args: string[]) =>
  run(process.execPath, [
    ...['--disable-warning=ExperimentalWarning', '--import', LOADER, MAIN, '--dir', dir, '--once'],
    ...['--enrol', `https://localhost:${world.port}`, '--address', '127.0.0.1', '--status', statusUrl, ...args],
  ]);

describe('the reference femtocell', () => {
  test('activates and renews from the command line; no secret is an argument, and openssl verifies what it keeps', async () => {
    const unit = await world.addUnit();
    const dir = provision(unit);
    writeFileSync(join(dir, 'code'), await world.grant(unit));
    const activated = await agent(dir, '--code-file', join(dir, 'code'));
    expect(JSON.parse(activated.stdout)).toMatchObject({ did: 'activated', generation: 1 });
    const renewed = await agent(dir, '--renew-now');
    expect(JSON.parse(renewed.stdout)).toMatchObject({ did: 'renewed', generation: 2 });
    const file = (name: string): string => join(dir, name);
    const verdict = await run('openssl', [
      ...['verify', '-CAfile', file('access-root.pem'), '-untrusted', file('chain.pem'), file('operational.pem')],
    ]);
    expect(verdict.stdout).toContain(': OK');
    const keys = await Promise.all([
      run('openssl', ['pkey', '-in', file('operational.key'), '-pubout']),
      run('openssl', ['x509', '-in', file('operational.pem'), '-noout', '-pubkey']),
    ]);
    expect(keys[0].stdout).toBe(keys[1].stdout);
  }, 60_000);

  test('a unit that wakes up in 1970 asks the network for the time and completes activation (ENR-3)', async () => {
    const unit = await world.addUnit();
    const files = deviceFiles(join(world.dir, 'u-1970'));
    saveState(files, factoryState({ keyPem: readFileSync(unit.keyFile, 'utf8'), certificatePem: unit.bootstrapPem }));
    const clock = makeUnitClock(() => new Date(12_345), null);
    const pins = readPins(world);
    const client = makeEnrolClient(`https://localhost:${world.port}`, { pins, now: clock.now, address: '127.0.0.1' });
    const deps = { files, client, accessRoot: readPins(world).accessRoot, now: clock.now, random: randomBytes };
    const code = await world.grant(unit);
    await expect(step(deps, { code })).rejects.toMatchObject({ code: 'CERT_EXPIRED' });
    clock.set(await networkTime(statusUrl, pins, randomBytes(16)));
    expect(await step(deps, { code })).toMatchObject({ did: 'activated' });
    expect(loadState(files)?.current).toMatchObject({ generation: 1, isConfirmed: true });
  });

  test('an old time answer replayed, or one signed by another key of ours, is refused', async () => {
    const pins = readPins(world);
    const response = await fetch(`${statusUrl}/time?nonce=${randomBytes(16).toString('hex')}`);
    replayed = await response.text();
    await expect(networkTime(statusUrl, pins, randomBytes(16))).rejects.toMatchObject({ code: 'NONCE_BAD' });
    const nonce = randomBytes(16);
    const decision = await timeKey('services-decision');
    const time = new Date().toISOString();
    const { signature, certificatePem: certificate } = decision(
      Buffer.from(`femtopki-time-v1\n${time}\n${nonce.toString('hex')}\n`),
    );
    replayed = JSON.stringify({
      time,
      nonce: nonce.toString('hex'),
      signature: signature.toString('base64'),
      certificate,
    });
    await expect(networkTime(statusUrl, pins, nonce)).rejects.toMatchObject({ code: 'UNKNOWN_ISSUER' });
    replayed = null;
  });

  test('it talks to nobody but the server under its pinned root, by its name', async () => {
    const unit = await world.addUnit();
    const held = { keyPem: readFileSync(unit.keyFile, 'utf8'), certificatePem: unit.bootstrapPem, chainPem: '' };
    const call = (url: string, servicesRootPem: string) =>
      makeEnrolClient(url, {
        pins: readPins({ servicesRootPem, accessRootPem: world.accessRootPem }),
        now: () => new Date(),
        address: '127.0.0.1',
      }).call('GET', '/v1/nonce', { as: held });
    const url = `https://localhost:${world.port}`;
    await expect(call(url, world.accessRootPem)).rejects.toMatchObject({ code: 'UNKNOWN_ISSUER' });
    const other = `https://enrol.evil.example:${world.port}`;
    await expect(call(other, world.servicesRootPem)).rejects.toMatchObject({ code: 'ID_MISMATCH' });
    expect((await call(url, world.servicesRootPem)).status).toBe(200);
  });

  test('it follows a moved window, and obeys Retry-After with jitter', async () => {
    const unit = await world.addUnit();
    const files = deviceFiles(join(world.dir, 'u-window'));
    saveState(files, factoryState({ keyPem: readFileSync(unit.keyFile, 'utf8'), certificatePem: unit.bootstrapPem }));
    const client = makeEnrolClient(`https://localhost:${world.port}`, {
      pins: readPins(world),
      now: () => new Date(),
      address: '127.0.0.1',
    });
    const deps = { files, client, accessRoot: readPins(world).accessRoot, now: () => new Date(), random: randomBytes };
    await step(deps, { code: await world.grant(unit) });
    expect(await step(deps)).toMatchObject({ did: 'advised' });
    const { rows } = await world.db.pool.query('SELECT id FROM lineage_slot WHERE unit_id = $1', [unit.id]);
    await world.core.transactor.run((tx) =>
      world.rooms.renewal.moveWindow(tx, {
        slotId: rows[0].id,
        renewFrom: new Date(Date.now() - 2_000),
        renewUntil: new Date(Date.now() - 1),
        actor: 'person:kim',
        at: new Date(),
      }),
    );
    expect(await step(deps)).toMatchObject({ did: 'advised', waitSeconds: 1 });
    expect(await step(deps)).toMatchObject({ did: 'renewed' });
    expect(loadState(files)?.current?.generation).toBe(2);

    const busy = {
      call: async () => ({ status: 503, body: { code: 'RETRY_LATER' }, retryAfterSeconds: 100 }),
      vanish: () => undefined,
    };
    const waits = await Promise.all(
      Array.from({ length: 50 }, () => step({ ...deps, client: busy }, { renewNow: true })),
    );
    const seconds = waits.map(({ waitSeconds }) => waitSeconds);
    expect(Math.min(...seconds)).toBeGreaterThanOrEqual(100);
    expect(Math.max(...seconds)).toBeLessThanOrEqual(150);
    expect(new Set(seconds).size).toBeGreaterThan(10);
  });
});
