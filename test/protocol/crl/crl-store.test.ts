/** The store as the worker and `femtopki doctor` have it: from the settings, and a key in a file. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { Registry } from 'prom-client';
import { crlStoreState } from '../../../src/apps/doctor-crl-store.js';
import { crlStoreLoops } from '../../../src/apps/worker-crl-store.js';
import type { Loop } from '../../../src/jobs/loop.js';
import { type Config, loadConfig } from '../../../src/platform/config/config.js';
import { type DataPaths, dataPaths } from '../../../src/platform/data-directory.js';
import { createLogger } from '../../../src/platform/log.js';
import { systemClock } from '../../../src/platform/system-clock.js';
import { makeCrlDirectory } from '../../../src/protocol/crl/crl-directory.js';
import { crlOf } from '../../support/crl-bytes.js';
import { type S3Store, STORE_KEY, STORE_REGION, startS3Store } from '../../support/s3-store.js';

const NAME = 'device-ca-1';
let data: string;
let paths: DataPaths;
let config: Config;
let store: S3Store;
let loops: Loop[] = [];
const said: string[] = [];
const registry = new Registry();

beforeEach(async () => {
  data = mkdtempSync(join(tmpdir(), 'fp-crl-store-'));
  paths = dataPaths(data);
  store = await startS3Store();
  const credentialsFile = join(data, 'store.json');
  writeFileSync(credentialsFile, JSON.stringify(STORE_KEY), { mode: 0o600 });
  const crlStore = { url: store.url, region: STORE_REGION, credentialsFile };
  config = loadConfig({ env: {}, overrides: { dataDir: data, status: { crlStore } } });
  said.length = 0;
  registry.clear();
});
afterEach(async () => {
  await Promise.all(loops.map((loop) => loop.stop()));
  await store.close();
  rmSync(data, { recursive: true, force: true });
});

function startWorkerLoop(): void {
  const log = createLogger({ name: 'test', destination: { write: (line: string) => void said.push(line) } });
  loops = crlStoreLoops({
    config,
    paths,
    clock: systemClock,
    log,
    alarm: (what, facts) => log.error({ alarm: true, ...facts }, what),
    onError: (_loop, err) => log.error({ err }, 'loop failed'),
    registry,
  });
}

async function until(what: () => boolean): Promise<void> {
  while (!what()) await sleep(20);
}
const behindSeconds = async () =>
  Number(/^femtopki_crl_store_behind_seconds (\S+)$/m.exec(await registry.metrics())?.[1]);

test('the worker copies what is published and alarms while the store is away; no line holds the key', async () => {
  const disk = makeCrlDirectory(paths.crl);
  startWorkerLoop();
  await disk.publish(NAME, crlOf(1));
  await until(() => store.objects.has(`${NAME}.crl`));
  await store.setAway(true);
  const second = crlOf(2);
  await disk.publish(NAME, second);
  await until(() => said.some((line) => line.includes('a CRL is not in the store') && line.includes('"alarm":true')));
  expect(await behindSeconds()).toBeGreaterThan(0);
  await store.setAway(false);
  await until(() => store.objects.get(`${NAME}.crl`)?.body.equals(second) ?? false);
  expect(said.join('')).not.toContain(STORE_KEY.secretAccessKey);
  expect(said.join('')).not.toContain('loop failed');
});

test('doctor tells a store that has everything from one that is behind, ahead, away or not configured', async () => {
  const disk = makeCrlDirectory(paths.crl);
  await disk.publish(NAME, crlOf(2));
  const put = (number: number) =>
    store.objects.set(`${NAME}.crl`, { body: crlOf(number), etag: `"${number}"`, headers: {} });
  const severity = async () => (await crlStoreState(config, paths)).severity;
  expect(await crlStoreState(config, paths)).toMatchObject({
    severity: 'critical',
    evidence: expect.stringContaining('#none'),
  });
  put(1);
  expect(await crlStoreState(config, paths)).toMatchObject({
    severity: 'critical',
    evidence: expect.stringContaining('#1'),
  });
  put(3);
  expect(await severity()).toBe('warning');
  store.objects.clear();
  startWorkerLoop();
  await until(() => store.objects.size > 0);
  expect(await severity()).toBe('ok');
  await store.setAway(true);
  await expect(crlStoreState(config, paths)).rejects.toMatchObject({ code: 'RETRY_LATER' });
  await store.setAway(false);
  const without = loadConfig({ env: {}, overrides: { dataDir: data } });
  expect((await crlStoreState(without, paths)).evidence).toContain('not configured');
});
