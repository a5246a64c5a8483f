import { execFile } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { readPins } from '../../src/agent/check-server.js';
import { deviceFiles } from '../../src/agent/device-files.js';
import { makeEnrolClient } from '../../src/agent/enrol-client.js';
import { CUT_POINTS, type FemtocellDeps, step } from '../../src/agent/femtocell.js';
import { factoryState, loadState, saveState } from '../../src/agent/unit-state.js';
import { reconcile } from '../../src/lifecycle/issuance/index.js';
import { issuanceStore } from '../../src/lifecycle/issuance/issuance-store.pg.js';
import { armFailpoints } from '../../src/platform/failpoint.js';
import { type CurlCredential, curlUnit } from '../support/curl-unit.js';
import { type DeviceWorld, startDeviceWorld, type WorldUnit } from '../support/device-world.js';

const run = promisify(execFile);
const LOADER = new URL('../../bin/ts-loader.mjs', import.meta.url).href;
const CHILD = new URL('../support/power-cut-child.ts', import.meta.url).pathname;

let world: DeviceWorld;
let curl: ReturnType<typeof curlUnit>;
beforeAll(async () => {
  world = await startDeviceWorld();
  curl = curlUnit(world.dir, world.port);
});
afterEach(() => armFailpoints(''));
afterAll(() => world.close());

/** A unit on real files, activated, with its agent's dependencies. */
async function activeUnit(): Promise<{ unit: WorldUnit; dir: string; deps: FemtocellDeps }> {
  const unit = await world.addUnit();
  const dir = join(world.dir, `agent-${unit.serialNumber}`);
  mkdirSync(dir);
  writeFileSync(join(dir, 'services-root.pem'), world.servicesRootPem);
  writeFileSync(join(dir, 'access-root.pem'), world.accessRootPem);
  const files = deviceFiles(dir);
  saveState(files, factoryState({ keyPem: readFileSync(unit.keyFile, 'utf8'), certificatePem: unit.bootstrapPem }));
  const now = () => new Date();
  const pins = readPins(world);
  const client = makeEnrolClient(`https://localhost:${world.port}`, { pins, now, address: '127.0.0.1' });
  const deps = { files, client, accessRoot: pins.accessRoot, now, random: randomBytes };
  expect(await step(deps, { code: await world.grant(unit) })).toMatchObject({ did: 'activated' });
  return { unit, dir, deps };
}

async function settle(deps: FemtocellDeps, generation: number): Promise<void> {
  for (let steps = 0; steps < 100; steps++) {
    const state = loadState(deps.files);
    const isSettled = state?.pending === null && state.current?.isConfirmed === true;
    if (isSettled && state.current?.generation === generation) return;
    const result = await step(deps, { renewNow: isSettled }).catch(() => null);
    if (result === null || result.did === 'waiting') await sleep(300);
  }
  throw new Error(`the unit did not reach generation ${generation}`);
}

const stateOf = async (unit: WorldUnit): Promise<string> =>
  (await world.db.pool.query('SELECT state FROM unit WHERE id = $1', [unit.id])).rows[0].state;

async function checkHarmless(unit: WorldUnit): Promise<void> {
  expect(await stateOf(unit)).toBe('ACTIVE');
  expect(await world.ledger(unit, 'lineage.forked')).toEqual([]);
}

describe('a unit killed with SIGKILL in the middle of a renewal (N2, D9)', () => {
  test.each([...CUT_POINTS])('at %s: it comes back by itself with one generation more', async (point) => {
    const { unit, dir, deps } = await activeUnit();
    const args = ['--disable-warning=ExperimentalWarning', '--import', LOADER, CHILD, dir];
    const ended = run(process.execPath, [...args, `https://localhost:${world.port}`, '127.0.0.1', point]);
    await expect(ended).rejects.toMatchObject({ signal: 'SIGKILL' });
    await settle(deps, 2);
    await checkHarmless(unit);
  });
});

describe('a server that loses the answer', () => {
  /** What curl sends for one renewal, so that it can be sent again byte for byte. */
  async function request(as: CurlCredential) {
    const nonce = await curl.nonce(as);
    const csr = await curl.csr(await curl.newKey(), nonce);
    const json = {
      csr: await curl.base64(csr),
      predecessorSignature: await curl.predecessorSignature(as.keyFile, nonce, csr),
    };
    const headers = [`Idempotency-Key: ${randomUUID()}`];
    return (flags: readonly string[] = []) => curl.call('POST', '/v1/renew', { as, json, headers, flags });
  }

  async function credential(dir: string): Promise<CurlCredential> {
    return { pemFile: join(dir, 'operational.pem'), keyFile: join(dir, 'operational.key') };
  }

  test('F3: the connection breaks after the record: the repeat is byte-identical', async () => {
    const { unit, dir } = await activeUnit();
    const send = await request(await credential(dir));
    armFailpoints('after-issue:delay=4000');
    // The unit goes away while the recorded certificate is on its way to the answer.
    await expect(send(['--max-time', '2'])).rejects.toThrow();
    armFailpoints('');
    const { rows } = await world.db.pool.query(
      'SELECT serial FROM lineage_slot WHERE unit_id = $1 AND generation = 2',
      [unit.id],
    );
    const [first, second] = [await send(), await send()];
    expect([first.status, first.body.certificate]).toEqual([200, second.body.certificate]);
    const serial = await curl.openssl('x509', '-in', curl.store('f3.pem', first.body.certificate), '-noout', '-serial');
    expect(serial.trim().toLowerCase()).toBe(`serial=${rows[0].serial.toString('hex')}`);
    await checkHarmless(unit);
  });

  test('P2: database connections cut all the time: every unit renews, nobody is suspected', async () => {
    const units = await Promise.all(Array.from({ length: 3 }, () => activeUnit()));
    const reconciler = { ...world.core, store: issuanceStore };
    let cutting = true;
    const cutter = (async () => {
      while (cutting) {
        await world.db.pool
          .query(
            `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1`,
          )
          .catch(() => undefined);
        await sleep(150);
        // What the worker does every 15 s: an intent whose record was cut off becomes a revoked serial.
        await reconcile(reconciler, { signingLimitMs: 3_000 }).catch(() => undefined);
      }
    })();
    try {
      for (let generation = 2; generation <= 4; generation++) {
        await Promise.all(units.map(({ deps }) => settle(deps, generation)));
      }
    } finally {
      cutting = false;
      await cutter;
    }
    for (const { unit } of units) await checkHarmless(unit);
  }, 120_000);
});
