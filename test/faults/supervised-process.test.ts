import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { SupervisedProcess } from '../../src/apps/supervised-process.js';
import { createLogger } from '../../src/platform/log.js';

const modulePath = fileURLToPath(new URL('../fixtures/processes/child.mjs', import.meta.url));
let dir: string;
let supervised: SupervisedProcess | undefined;
let lines: string[];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'fp-sup-'));
  lines = [];
});
afterEach(async () => {
  await supervised?.stop();
  supervised = undefined;
  rmSync(dir, { recursive: true });
});

const trace = (): string[] => readFileSync(join(dir, 'trace'), 'utf8').trim().split('\n');

function supervise(mode: string): SupervisedProcess {
  supervised = new SupervisedProcess({
    name: 'enrol-server',
    modulePath,
    args: [mode, join(dir, 'trace')],
    probesHost: '127.0.0.1',
    logFile: join(dir, 'child.log'),
    rotateBytes: 65_536,
    keepFiles: 2,
    log: createLogger({ name: 'test', destination: { write: (line) => void lines.push(line) } }),
    onLine: (line) => void lines.push(line),
  });
  supervised.start();
  return supervised;
}

describe('a process under the supervisor', () => {
  test('is ready once its own probe says so, logs into its file, and inherits no setting', async () => {
    process.env['FEMTOPKI_OPERATOR'] = 'from the environment';
    await supervise('well').ready();
    delete process.env['FEMTOPKI_OPERATOR'];
    expect(readFileSync(join(dir, 'child.log'), 'utf8')).toContain('"secretSetting":"none"');
    expect(lines.join('')).toContain('port well');
  });

  test('is started again after a crash, with another pid, and says so', async () => {
    const child = supervise('well');
    await child.ready();
    process.kill(child.pid ?? 0, 'SIGKILL');
    for (let tries = 0; trace().length < 2 && tries < 100; tries++) await sleep(50);
    await child.ready();
    const pids = trace().map((line) => line.split(' ')[1]);
    expect(new Set(pids).size).toBe(2);
    expect(lines.join('')).toContain('started again');
  });

  test('that keeps ending is given up with its own last words', async () => {
    await expect(supervise('refuses').ready()).rejects.toMatchObject({
      code: 'STATE_CONFLICT',
      message: expect.stringContaining('Port 1 is taken: stop it.'),
    });
    expect(trace()).toHaveLength(3);
  });

  test('gets SIGTERM at the end and is not started again', async () => {
    const child = supervise('well');
    await child.ready();
    await child.stop();
    await sleep(700); // longer than the first back-off
    expect(trace().map((line) => line.split(' ')[0])).toEqual(['start', 'term']);
    supervised = undefined;
  });
});
