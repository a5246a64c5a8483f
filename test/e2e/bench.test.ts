/** Benches rot where nobody runs them: each makes its few hundred here, and what it made is checked. Never its speed. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from '@jest/globals';

const CHECKOUT = fileURLToPath(new URL('../../', import.meta.url));
const MINUTES_4 = 240_000;
/** Node 20 can hang for ever while a child starts with module hooks; a quick bench takes a tenth of this. */
const HUNG_MS = 100_000;

test.each([
  'authorise',
  'crl-build-memory',
  'crl-build-database',
  'sign-pool',
  'sign-pool-network',
  'loop-delay',
  'issue-bulk',
  'issue-cmp',
  'ocsp-cached',
  'ocsp-post-cached',
  'ocsp-live',
  'ocsp-zipf',
  'revoke-to-ocsp',
  'session-events',
  'status-memory',
])(
  'the bench %s runs, and what it made passes its own checks',
  async (scenario) => {
    const dir = mkdtempSync(join(tmpdir(), 'fp-bench-test-'));
    const json = join(dir, 'rows.json');
    try {
      const { code, text } = await bench([scenario, '--quick', '--json', json]);
      expect(text).toContain('ok   ');
      expect(text).not.toContain('FAIL');
      expect(code).toBe(0);
      const rows = readFileSync(json, 'utf8').trim().split('\n');
      expect(rows).toHaveLength(1);
      const row = JSON.parse(rows[0] ?? '') as Record<string, unknown>;
      expect(row).toMatchObject({ scenario, node: process.versions.node, checked: false }); // one round proves no speed
      for (const figure of ['value', 'limitValue', 'ratio', 'cpuRatio']) expect(row[figure]).toBeGreaterThan(0);
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  },
  MINUTES_4,
);

test('a bench that does not exist is named, with those that do', async () => {
  const { code, text } = await bench(['no-such-bench']);
  expect(code).toBe(2);
  const scenarios = readdirSync(join(CHECKOUT, 'bench', 'scenarios')).map((file) => file.replace(/\.ts$/, ''));
  expect(scenarios).toContain('authorise');
  for (const scenario of scenarios) expect(text).toMatch(new RegExp(`There are: .*\\b${scenario}\\b`));
}, 60_000);

/** Once more where the first child hung. */
async function bench(args: readonly string[]): Promise<Ended> {
  return (await benchOnce(args)) ?? (await benchOnce(args)) ?? { code: null, text: 'hung twice' };
}

interface Ended {
  readonly code: number | null;
  readonly text: string;
}

/** Null: it hung, and was ended with everything that it had started. */
async function benchOnce(args: readonly string[]): Promise<Ended | null> {
  const loader = ['--disable-warning=ExperimentalWarning', '--import', join(CHECKOUT, 'bin', 'ts-loader.mjs')];
  const child = spawn(process.execPath, [...loader, join(CHECKOUT, 'bench', 'main.ts'), ...args], {
    env: { ...process.env, NODE_OPTIONS: '' },
    stdio: ['ignore', 'pipe', 'pipe'],
    // A group of its own, so that its children end with it.
    detached: true,
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
  }
  let isHung = false;
  const timer = setTimeout(() => {
    isHung = true;
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
  }, HUNG_MS);
  const code = await new Promise<number | null>((done) => child.once('close', done));
  clearTimeout(timer);
  return isHung ? null : { code, text };
}
