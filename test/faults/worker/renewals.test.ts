import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { DueBlock } from '../../../src/jobs/renewal-book.js';
import { renewalBook } from '../../../src/jobs/renewal-book.pg.js';
import { renewalJobs } from '../../../src/jobs/renewal-jobs.js';
import { pgTaskStore } from '../../../src/lifecycle/renewal/task-store.pg.js';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../../src/platform/db/embedded-postgres.js';
import { removeHome } from '../../../src/platform/db/embedded-postgres-place.js';
import { migrate } from '../../../src/platform/db/migrate.js';
import { openPool, type Pool } from '../../../src/platform/db/pool.pg.js';
import { transactorOf } from '../../../src/platform/db/transaction.pg.js';
import { ledger } from '../../../src/platform/ledger/ledger.pg.js';
import { openQueue } from '../../../src/platform/queue/queue.bullmq.js';
import type { JobQueue } from '../../../src/platform/queue/queue.js';
import { systemClock } from '../../../src/platform/system-clock.js';
import { freshDatabase, type TestDatabase } from '../../support/database.js';
import { startRedis, type TestRedis } from '../../support/redis.js';
import { countReminders, seedDueUnits } from '../../support/renewal-rows.js';
import { type RotationProcess, startRotation } from '../../support/rotation-process.js';

const UNITS = 1_500;
const SCAN_EVERY_MS = 400;

async function untilReminded(pool: Pool, count: number, ms = 45_000): Promise<void> {
  for (const limit = Date.now() + ms; ; await sleep(150)) {
    const { reminded } = await countReminders(pool).catch(() => ({ reminded: -1 }));
    if (reminded >= count) return;
    if (Date.now() > limit) throw new Error(`only ${reminded} of ${count} were reminded in time`);
  }
}

/** Everybody once: on the rows and in the ledger. */
async function expectOnce(pool: Pool, count: number): Promise<void> {
  await sleep(3 * SCAN_EVERY_MS);
  expect(await countReminders(pool)).toEqual({ reminded: count, reminders: count, told: count, slots: count });
}

describe.each(['redis', 'postgres'] as const)('renewals with the queue on %s', (backend) => {
  let db: TestDatabase;
  let redis: TestRedis;
  let queueName: string;
  let queue: JobQueue;
  const children: RotationProcess[] = [];
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis.stop());
  beforeEach(async () => {
    db = await freshDatabase();
    queueName = `q-${randomBytes(3).toString('hex')}`;
    queue = await openQueue({ ...store(), name: queueName, onError: () => undefined });
  });
  afterEach(async () => {
    for (const child of children.splice(0)) await child.kill();
    await queue.close();
    await db.drop();
  });

  const store = () => ({
    databaseUrl: db.url,
    ...(backend === 'redis' && { redisUrl: `unix://${redis.socketPath}` }),
  });
  const start = async (failpoint = ''): Promise<RotationProcess> => {
    const child = await startRotation({ ...store(), queueName, failpoint, scanEveryMs: SCAN_EVERY_MS });
    children.push(child);
    return child;
  };

  test('an emptied queue, with jobs waiting and running, is refilled from the rows: nobody is missed or reminded twice', async () => {
    await seedDueUnits(db.pool, UNITS);
    await start('attend-renewals:delay=700');
    await start('attend-renewals:delay=700');
    await untilReminded(db.pool, 300);
    for (let times = 0; times < 3; times++) {
      await queue.obliterate();
      await sleep(250);
    }
    await untilReminded(db.pool, UNITS);
    await expectOnce(db.pool, UNITS);
  });

  test.each([
    ['before its effect', 'attend-renewals@2:kill'],
    ['between its effect and its end', 'renewals-attended@2:kill'],
  ])('a worker killed in a job %s: the job runs again, its effect is there once', async (_when, failpoint) => {
    await seedDueUnits(db.pool, UNITS);
    const victim = await start(failpoint);
    expect(await victim.exited).toBe('SIGKILL');
    await start();
    await untilReminded(db.pool, UNITS);
    await expectOnce(db.pool, UNITS);
  });

  test('a poison job is a dead letter with an alarm in the ledger after five tries; the others go on', async () => {
    await seedDueUnits(db.pool, 10);
    await start();
    await queue.add({ name: 'no-such-job', id: 'poison-1', data: { slotIds: [1] } });
    await queue.add({ name: 'attend-renewals', id: 'poison-2', data: { slotIds: ['one'] } });
    await untilReminded(db.pool, 10);
    for (let tries = 0; ; tries++) {
      const { rows } = await db.pool.query('SELECT job_name, job_key, tries FROM dead_letter ORDER BY job_key');
      if (rows.length === 2 || tries > 200) {
        expect(rows).toEqual([
          { job_name: 'no-such-job', job_key: 'poison-1', tries: 5 },
          { job_name: 'attend-renewals', job_key: 'poison-2', tries: 5 },
        ]);
        break;
      }
      await sleep(100);
    }
    const { rows } = await db.pool.query(`SELECT count(*)::int AS n FROM ledger_inbox WHERE kind = 'job.dead'`);
    expect(rows).toEqual([{ n: 2 }]);
  });
});

test('one job running in two workers at once reminds each unit once', async () => {
  const db = await freshDatabase();
  const slotIds = await seedDueUnits(db.pool, 400);
  const transactor = transactorOf(db.pool);
  const deps = { transactor, tasks: pgTaskStore, book: renewalBook, ledger, clock: systemClock };
  const handlers = renewalJobs({ ...deps, renewal: { preissueNext: async () => null } });
  const [block] = await renewalBook.dueBlocks(transactor.read, { now: new Date(), after: null, units: 500, blocks: 1 });
  expect(block?.slotIds).toEqual(slotIds);
  await Promise.all(Array.from({ length: 6 }, () => handlers['attend-renewals'](block as DueBlock)));
  expect(await countReminders(db.pool)).toEqual({ reminded: 400, reminders: 400, told: 400, slots: 400 });
  await db.drop();
});

test('a database killed at once under load, twice: no renewal is lost or doubled', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'fp-pgkill-'));
  const home = { homeDir: join(dir, 'pg'), logFile: join(dir, 'postgres.log') };
  let server: EmbeddedPostgres = await startEmbeddedPostgres(home);
  await migrate(server.url);
  const pool = openPool(server.url, { applicationName: 'test', onIdleError: () => undefined });
  const settings = { databaseUrl: server.url, queueName: 'q', scanEveryMs: SCAN_EVERY_MS };
  await seedDueUnits(pool, UNITS);
  const child = await startRotation({ ...settings, failpoint: 'attend-renewals:delay=400' });
  for (const reminded of [200, 700]) {
    await untilReminded(pool, reminded);
    process.kill(server.pid, 'SIGQUIT'); // immediate shutdown: no checkpoint, transactions torn
    await server.exited;
    await sleep(1_500);
    server = await startEmbeddedPostgres(home);
  }
  await untilReminded(pool, UNITS, 90_000);
  await expectOnce(pool, UNITS);
  await child.kill();
  await pool.end();
  await server.stop();
  removeHome(home.homeDir);
  rmSync(dir, { recursive: true, force: true });
}, 180_000);
