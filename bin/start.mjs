#!/usr/bin/env node
/** `npm start`: prepares the machine, then runs the supervisor in this process with the arguments as they came. */
import { prepare } from './prepare.mjs';
import { main } from './steps.mjs';

await main(async () => {
  await prepare(['run']);
  const supervisor = await import('../dist/apps/supervisor.js');
  return supervisor.main(process.argv.slice(2));
});
