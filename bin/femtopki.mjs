#!/usr/bin/env node
/** The `femtopki` command. Everything it does is in src/apps/femtopki.ts. */
import { existsSync } from 'node:fs';

const built = new URL('../dist/apps/femtopki.js', import.meta.url);
if (existsSync(built)) {
  await import(built.href);
} else {
  process.stderr.write('femtopki is not built yet: run "npm run build", then the same command again.\n');
  process.exitCode = 1;
}
