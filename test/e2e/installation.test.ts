import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { startInstallation, type TestInstallation } from '../support/installation.js';

const SERVES = 'femtopki serves';
const PROCESSES = ['signer', 'enrol', 'status', 'gateway', 'operator', 'worker'] as const;
let installation: TestInstallation;

beforeAll(async () => {
  installation = await startInstallation({ ceremonyFirst: true });
  await installation.said(SERVES);
}, 180_000);
afterAll(async () => {
  await installation.remove();
}, 60_000);

/** Pids of all processes that name this data directory in their command line. */
function processesOf(dataDir: string): { pid: number; command: string }[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => ({ pid: Number(name), command: commandOf(name) }))
    .filter(({ command }) => command.includes(dataDir));
}

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch (error) {
    // Any process of the machine may end between the listing and the reading.
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return '';
    throw error;
  }
}

async function isReady(name: (typeof PROCESSES)[number]): Promise<boolean> {
  const url = `http://127.0.0.1:${installation.config.metrics[name]}/readyz`;
  return fetch(url).then(
    (response) => response.ok,
    () => false,
  );
}

describe('an installation', () => {
  test('has every process ready when it says that it serves', async () => {
    for (const name of PROCESSES) expect([name, await isReady(name)]).toEqual([name, true]);
  });

  test('keeps secrets and sockets closed, and no secret in an argument list or a log', () => {
    const { dataDir } = installation;
    const secrets = readdirSync(join(dataDir, 'secrets'), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => readFileSync(join(entry.parentPath, entry.name), 'utf8').trim())
      .filter((text) => text.length >= 8 && text.length <= 200);
    expect(secrets.length).toBeGreaterThan(0);
    const logs = readdirSync(join(dataDir, 'logs')).map((name) => readFileSync(join(dataDir, 'logs', name), 'utf8'));
    const shown = [installation.output(), ...logs, ...processesOf(dataDir).map(({ command }) => command)].join('\n');
    for (const secret of secrets) expect(shown.includes(secret)).toBe(false);
    expect(shown).not.toMatch(/BEGIN [A-Z ]*PRIVATE KEY/);
  });

  test('is refused a second supervisor, which says who holds the data', async () => {
    const second = await startInstallation({ dataDir: installation.dataDir });
    await second.said(`is in use by process ${installation.pid}`);
    expect(await second.over()).toBe(1);
  });

  test('starts a killed process again', async () => {
    const victim = processesOf(installation.dataDir).find(({ command }) => command.includes('status-server.js'));
    process.kill(victim?.pid ?? 0, 'SIGKILL');
    for (let tries = 0; tries < 200 && (await isReady('status')); tries++) await sleep(10);
    for (let tries = 0; tries < 200 && !(await isReady('status')); tries++) await sleep(100);
    expect(await isReady('status')).toBe(true);
    const now = processesOf(installation.dataDir).find(({ command }) => command.includes('status-server.js'));
    expect(now?.pid).not.toBe(victim?.pid);
  });

  test('ends on SIGTERM within its limit, leaves no process behind, and starts again on the same data', async () => {
    const began = Date.now();
    expect(await installation.end('SIGTERM')).toBe(0);
    expect(Date.now() - began).toBeLessThan(27_000);
    expect(processesOf(installation.dataDir)).toEqual([]);
    installation = await startInstallation({ dataDir: installation.dataDir });
    await installation.said(SERVES);
    expect(installation.output()).not.toContain('ceremony 1/');
  });

  test('leaves nothing behind when its supervisor is killed', async () => {
    await installation.end('SIGKILL');
    for (let tries = 0; tries < 300 && processesOf(installation.dataDir).length > 0; tries++) await sleep(100);
    expect(processesOf(installation.dataDir)).toEqual([]);
  });

  test('names every taken port before anything starts', async () => {
    const { listen, metrics } = installation.config;
    const blockers = await Promise.all(
      [listen.enrol.port, metrics.worker].map(
        (port) =>
          new Promise<ReturnType<typeof createServer>>((done) => {
            const server = createServer().listen(port, '127.0.0.1', () => done(server));
          }),
      ),
    );
    const blocked = await startInstallation({ dataDir: installation.dataDir });
    const code = await blocked.over();
    for (const server of blockers) server.close(); // first: an open listener would keep the whole run from ending
    expect(code).toBe(1);
    expect(blocked.output()).toContain(`Port ${listen.enrol.port} on 127.0.0.1 is taken`);
    expect(blocked.output()).toContain(`Port ${metrics.worker} on 127.0.0.1 is taken`);
    expect(blocked.output()).not.toContain('PostgreSQL');
  });
});
