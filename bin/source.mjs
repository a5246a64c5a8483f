#!/usr/bin/env node
/**
 * Runs one of our TypeScript programs that are not shipped (drills, benches, fuzz targets) from its source, after the same
 * preparation as the tests. usage: source.mjs FILE [ARGUMENT…]
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { prepare } from './prepare.mjs';
import { main, ROOT, runAttached, StepError } from './steps.mjs';

await main(async () => {
  const [file = '', ...args] = process.argv.slice(2);
  if (!existsSync(join(ROOT, file))) throw new StepError(`There is no ${file} in this checkout.`);
  await prepare(['run', 'test']);
  return runAttached(process.execPath, [
    '--disable-warning=ExperimentalWarning',
    '--import',
    new URL('./ts-loader.mjs', import.meta.url).href,
    file,
    ...args,
  ]);
});
