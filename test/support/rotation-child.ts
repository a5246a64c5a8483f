/**
 * The renewal half of the rotation worker as a process of its own, to be killed: the scan and the job handlers.
 * usage: rotation-child.ts JSON {databaseUrl, redisUrl?, queueName, failpoint?, scanEveryMs}
 */

import { makeDeadLetters } from '../../src/jobs/dead-letters.pg.js';
import { jobHandling } from '../../src/jobs/job-catalogue.js';
import { startLeasedLoop } from '../../src/jobs/loop.js';
import { renewalBook } from '../../src/jobs/renewal-book.pg.js';
import { renewalJobs } from '../../src/jobs/renewal-jobs.js';
import { makeRenewalScan, RENEWAL_SCAN_LEASE } from '../../src/jobs/scan-renewals.js';
import { pgTaskStore } from '../../src/lifecycle/renewal/task-store.pg.js';
import { makeLeases } from '../../src/platform/db/lease.pg.js';
import { openPool } from '../../src/platform/db/pool.pg.js';
import { transactorOf } from '../../src/platform/db/transaction.pg.js';
import { armFailpoints } from '../../src/platform/failpoint.js';
import { ledger } from '../../src/platform/ledger/ledger.pg.js';
import { openQueue } from '../../src/platform/queue/queue.bullmq.js';
import { systemClock } from '../../src/platform/system-clock.js';

export interface RotationChildSettings {
  readonly databaseUrl: string;
  readonly redisUrl?: string;
  readonly queueName: string;
  readonly failpoint?: string;
  readonly scanEveryMs: number;
}

const settings = JSON.parse(process.argv[2] ?? '{}') as RotationChildSettings;
armFailpoints(settings.failpoint ?? '');
const note = (what: string, error: unknown): void => {
  process.stderr.write(`${what}: ${error instanceof Error ? error.message : String(error)}\n`);
};
const pool = openPool(settings.databaseUrl, {
  applicationName: 'rotation-child',
  onIdleError: (error) => note('pool', error),
});
const transactor = transactorOf(pool);
const leases = makeLeases(transactor);
const queue = await openQueue({
  databaseUrl: settings.databaseUrl,
  ...(settings.redisUrl !== undefined && { redisUrl: settings.redisUrl }),
  name: settings.queueName,
  lockMs: 2_000,
  backoffMs: 100,
  onError: (error) => note('queue', error),
});
const deps = { transactor, tasks: pgTaskStore, book: renewalBook, ledger, queue, clock: systemClock };
const scan = makeRenewalScan({ ...deps, againAfterMs: settings.scanEveryMs * 4 });
const deadLetters = makeDeadLetters({ ...deps, queue: settings.queueName, alarm: (what) => note('alarm', what) });
queue.process(jobHandling(renewalJobs({ ...deps, renewal: { preissueNext: async () => null } }), deadLetters));
startLeasedLoop({
  name: RENEWAL_SCAN_LEASE,
  everyMs: settings.scanEveryMs,
  leases,
  holder: `child:${process.pid}`,
  leaseMs: 2_000,
  onError: (loop, error) => note(loop, error),
  run: async (lease) => {
    await scan(lease);
    return undefined;
  },
});
process.stdout.write('ready\n');
