#!/usr/bin/env node
/** `npm start`: prepares the machine, then runs the supervisor in this process with the arguments as they came. */
import { prepare } from './prepare.mjs';
import { main } from './steps.mjs';

await main(async () => {
  await prepare(['run']);
  const supervisor = await import('../dist/apps/supervisor.js');
  const code = await supervisor.main(process.argv.slice(2));
  // Everything is closed by now; should a handle have been forgotten, it must not keep the command from ending.
  setTimeout(() => process.exit(code), 3_000).unref();
  return code;
});
