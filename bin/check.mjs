#!/usr/bin/env node
/** `npm run check`: format, lint, types, import rules, unit tests. Starts no service; about a minute. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { prepare } from './prepare.mjs';
import { main, ROOT, run, say, step } from './steps.mjs';

const node = process.execPath;
const present = (...dirs) => dirs.filter((dir) => existsSync(join(ROOT, dir)));

const CHECKS = {
  'format and fast lint (biome)': [node, ['node_modules/@biomejs/biome/bin/biome', 'ci', '.']],
  'lint with types (oxlint)': [
    node,
    ['node_modules/oxlint/bin/oxlint', '--type-aware', '--quiet', ...present('src', 'test', 'bench')],
  ],
  'types (tsc)': [node, ['node_modules/typescript/bin/tsc', '--noEmit']],
  'import rules (dependency-cruiser)': [
    node,
    ['node_modules/dependency-cruiser/bin/dependency-cruise.mjs', '--config', '.dependency-cruiser.cjs', 'src'],
  ],
  'unit tests (jest)': [
    node,
    [
      '--disable-warning=ExperimentalWarning',
      '--experimental-vm-modules',
      'node_modules/jest/bin/jest.js',
      'test/unit',
    ],
  ],
};

await main(async () => {
  await prepare(['run'], { builds: false });
  const failures = [];
  for (const [label, [program, args]] of Object.entries(CHECKS)) {
    await step(label, async () => {
      const { code, output } = await run(program, args);
      if (code !== 0) throw new Error(output);
    }).catch((error) => failures.push([label, error.message]));
  }
  for (const [label, output] of failures) say(`\n──── ${label}\n${output.trimEnd()}`);
  if (failures.length === 0) return 0;
  say(`\n${failures.length} of ${Object.keys(CHECKS).length} checks failed; "npx biome check --write" repairs format.`);
  return 1;
});
