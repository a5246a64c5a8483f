#!/usr/bin/env node
/**
 * `npm test`: prepares the machine, then runs every test; arguments go to Jest. Closes with the line `N passed, N failed`.
 * A test that was skipped without being asked to is named and fails the run.
 *
 * A few files that failed are run once more, alone, and are named with what became of them: Node.js 20 now and then never
 * answers from the thread in which our TypeScript loader runs (seen once in a thousand starts), and a child process that
 * hangs there says nothing about the product. What fails twice has failed.
 */
import { readFileSync, rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { prepare } from './prepare.mjs';
import { CACHE, main, ROOT, runAttached, say } from './steps.mjs';

const RESULTS = join(CACHE, 'test-results.json');
const AGAIN_MAX = 4;

await main(async () => {
  const started = Date.now();
  await prepare(['run', 'test']);
  const args = process.argv.slice(2);
  let files = await runJest(args);
  const bad = files.filter(({ failed }) => failed > 0);
  if (bad.length > 0 && bad.length <= AGAIN_MAX) {
    for (const { name } of bad) say(`failed, is run once more: ${name}`);
    const again = await runJest(['--runTestsByPath', ...bad.map(({ name }) => name)]);
    for (const { name, failed } of again) say(`${failed > 0 ? 'failed again' : 'passed the second time'}: ${name}`);
    files = [...files.filter(({ failed }) => failed === 0), ...again];
  }
  const asked = args.some((arg) => /^(-t|--testNamePattern)/.test(arg));
  const skipped = asked ? [] : files.flatMap((file) => file.skipped);
  for (const name of skipped) say(`skipped, which counts as a failure: ${name}`);
  const passed = files.reduce((sum, file) => sum + file.passed, 0);
  const failed = files.reduce((sum, file) => sum + file.failed, 0) + skipped.length;
  say(`Every test took ${Math.round((Date.now() - started) / 1000)} s.`);
  process.stdout.write(`${passed} passed, ${failed} failed\n`);
  return failed > 0 || passed === 0 ? 1 : 0;
});

/** One run; each file with its counts. A file that did not even load, or a hook that threw, is one failure. */
async function runJest(args) {
  rmSync(RESULTS, { force: true });
  const jest = [
    '--disable-warning=ExperimentalWarning',
    '--experimental-vm-modules',
    'node_modules/jest/bin/jest.js',
    '--maxWorkers=2',
    '--json',
    `--outputFile=${RESULTS}`,
  ];
  // Jest's own JSON would go to standard output too; the file is enough.
  await runAttached(process.execPath, [...jest, ...args], { stdio: ['ignore', 'ignore', 'inherit'] });
  const { testResults } = JSON.parse(readFileSync(RESULTS, 'utf8'));
  return testResults.map((file) => {
    const count = (status) => file.assertionResults.filter((result) => result.status === status).length;
    const name = relative(ROOT, file.name);
    return {
      name,
      passed: count('passed'),
      failed: Math.max(count('failed'), file.status === 'failed' ? 1 : 0),
      skipped: file.assertionResults
        .filter(({ status }) => status === 'pending' || status === 'todo')
        .map(({ fullName }) => `${name}: ${fullName}`),
    };
  });
}
