#!/usr/bin/env node
/** `npm start`: prepares the machine, then runs the supervisor in this process with the arguments as they came. */
import { prepare } from './prepare.mjs';
import { serve } from './serve.mjs';
import { main } from './steps.mjs';

await main(async () => {
  await prepare(['run']);
  return serve(process.argv.slice(2));
});
