#!/usr/bin/env node
/**
 * `npm test`: prepares the machine, then runs every test; arguments go to Jest. Closes with the line `N passed, N failed`.
 * A test that was skipped without being asked to is named and fails the run.
 */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { prepare } from './prepare.mjs';
import { CACHE, main, runAttached, StepError, say } from './steps.mjs';

const RESULTS = join(CACHE, 'test-results.json');

await main(async () => {
  const started = Date.now();
  await prepare(['run', 'test']);
  rmSync(RESULTS, { force: true });
  const args = process.argv.slice(2);
  const jest = [
    '--disable-warning=ExperimentalWarning',
    '--experimental-vm-modules',
    'node_modules/jest/bin/jest.js',
    '--maxWorkers=2',
    '--json',
    `--outputFile=${RESULTS}`,
  ];
  // Jest's own JSON would go to standard output too; the file is enough.
  const code = await runAttached(process.execPath, [...jest, ...args], { stdio: ['ignore', 'ignore', 'inherit'] });
  if (!existsSync(RESULTS)) throw new StepError(`Jest ended with ${code} before it could say what passed.`);
  const results = JSON.parse(readFileSync(RESULTS, 'utf8'));
  // A file that did not even load has no tests to count: it is one failure.
  const failed = results.numFailedTests + results.numRuntimeErrorTestSuites;
  const skipped = args.some((arg) => /^(-t|--testNamePattern)/.test(arg)) ? [] : skippedTests(results);
  for (const name of skipped) say(`skipped, which counts as a failure: ${name}`);
  say(`Every test took ${Math.round((Date.now() - started) / 1000)} s.`);
  process.stdout.write(`${results.numPassedTests} passed, ${failed + skipped.length} failed\n`);
  return code !== 0 || failed + skipped.length > 0 || results.numPassedTests === 0 ? 1 : 0;
});

function skippedTests(results) {
  return results.testResults.flatMap((file) =>
    file.assertionResults
      .filter(({ status }) => status === 'pending' || status === 'todo')
      .map(({ fullName }) => `${file.name}: ${fullName}`),
  );
}
