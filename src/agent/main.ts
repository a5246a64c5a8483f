/**
 * The reference femtocell. `node main.js --dir DIR --enrol https://… --status http://… [--code-file FILE] [--renew-now]
 * [--once] [--address IP]`. DIR holds services-root.pem, access-root.pem, bootstrap.pem and bootstrap.key from the
 * factory; the unit keeps unit.json beside them. No secret is an argument; one JSON line a step goes to standard output.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { FemtoError } from '../platform/errors.js';
import { readPins } from './check-server.js';
import { deviceFiles } from './device-files.js';
import { makeEnrolClient } from './enrol-client.js';
import { type StepOptions, type StepResult, step } from './femtocell.js';
import { networkTime } from './network-time.js';
import { makeUnitClock } from './unit-clock.js';
import { factoryState, loadState, saveState } from './unit-state.js';
import { unreachableWaitSeconds } from './waits.js';

const TIME_NONCE_BYTES = 16;
const STEPS_ONCE_MAX = 20;

const { values } = parseArgs({
  options: {
    dir: { type: 'string' },
    enrol: { type: 'string' },
    status: { type: 'string' },
    address: { type: 'string' },
    'code-file': { type: 'string' },
    'renew-now': { type: 'boolean', default: false },
    once: { type: 'boolean', default: false },
  },
});
const { dir, enrol, status } = values;
if (dir === undefined || enrol === undefined) {
  process.stderr.write(
    'usage: main.js --dir DIR --enrol URL [--status URL] [--code-file FILE] [--renew-now] [--once]\n',
  );
  process.exit(2);
}

const files = deviceFiles(dir);
const text = (name: string): string => readFileSync(join(dir, name), 'utf8');
const state =
  loadState(files) ?? factoryState({ keyPem: text('bootstrap.key'), certificatePem: text('bootstrap.pem') });
const pins = readPins({ servicesRootPem: text('services-root.pem'), accessRootPem: text('access-root.pem') });
const clock = makeUnitClock(() => new Date(), state.timeSeen);
if (status !== undefined) {
  clock.set(await networkTime(status, pins, randomBytes(TIME_NONCE_BYTES)));
  saveState(files, { ...state, timeSeen: clock.now().toISOString() });
} else {
  saveState(files, state);
}

const client = makeEnrolClient(enrol, { pins, now: clock.now, address: values.address ?? null });
const unit = { files, client, accessRoot: pins.accessRoot, now: clock.now, random: randomBytes };
const codeFile = values['code-file'];
let options: StepOptions = {
  ...(codeFile === undefined ? {} : { code: readFileSync(codeFile, 'utf8').trim() }),
  renewNow: values['renew-now'],
};
let unreached = 0;
for (let steps = 1; ; steps++) {
  const result = await step(unit, options).then(reached, unreachable);
  process.stdout.write(`${JSON.stringify({ ...result, generation: loadState(files)?.current?.generation ?? null })}\n`);
  const isDone = result.did === 'activated' || result.did === 'renewed' || result.did === 'picked-up';
  // What was asked for on the command line is done once; the pending key on flash remembers it if it was begun.
  if (isDone) options = {};
  const hasFailed = result.did === 'refused' || result.did === 'reactivate';
  if (values.once && (isDone || hasFailed || result.did === 'advised' || steps >= STEPS_ONCE_MAX)) {
    process.exit(hasFailed ? 1 : 0);
  }
  await sleep(result.waitSeconds * 1_000);
}

function reached(result: StepResult): StepResult {
  unreached = 0;
  return result;
}

function unreachable(error: unknown): StepResult {
  if (!(error instanceof FemtoError)) throw error;
  unreached += 1;
  return { did: 'waiting', waitSeconds: unreachableWaitSeconds(unreached, randomBytes), code: error.code };
}
