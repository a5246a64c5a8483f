/**
 * One try of a renewal in a process of its own that kills itself with SIGKILL at a named point.
 * usage: power-cut-child.ts DIR ENROL_URL ADDRESS POINT
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readPins } from '../../src/agent/check-server.js';
import { makeEnrolClient } from '../../src/agent/enrol-client.js';
import { step } from '../../src/agent/femtocell.js';
import { lazyFiles } from './lazy-files.js';

const [dir = '', enrolUrl = '', address = '', point = ''] = process.argv.slice(2);
const text = (name: string): string => readFileSync(join(dir, name), 'utf8');
const now = (): Date => new Date();
const pins = readPins({ servicesRootPem: text('services-root.pem'), accessRootPem: text('access-root.pem') });
const client = makeEnrolClient(enrolUrl, {
  pins,
  now,
  address,
});
await step(
  {
    files: lazyFiles(dir),
    client,
    accessRoot: pins.accessRoot,
    now,
    random: randomBytes,
    atPoint: async (reached) => {
      if (reached !== point) return;
      process.kill(process.pid, 'SIGKILL');
      await new Promise(() => undefined); // the signal is on its way; nothing after this line may run
    },
  },
  { renewNow: true },
);
