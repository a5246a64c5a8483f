#!/usr/bin/env node
/** The supervisor on a machine that is prepared already: an image, or after `npm run build`. Arguments as of `npm start`. */
import { main } from './steps.mjs';

export async function serve(argv) {
  const supervisor = await import('../dist/apps/supervisor.js');
  const code = await supervisor.main(argv);
  // Everything is closed by now; should a handle have been forgotten, it must not keep the command from ending.
  setTimeout(() => process.exit(code), 3_000).unref();
  return code;
}

if (import.meta.filename === process.argv[1]) await main(() => serve(process.argv.slice(2)));
