/**
 * The worker's scan over the markers of a fleet, durable, and the queue on Redis that it fills. argv[2]: how many markers.
 * `{seconds}` → Round; `check` → findings of one whole pass.
 */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { renewalBook } from '../../src/jobs/renewal-book.pg.js';
import { makeRenewalScan } from '../../src/jobs/scan-renewals.js';
import { startEmbeddedPostgres } from '../../src/platform/db/embedded-postgres.js';
import { removeHome } from '../../src/platform/db/embedded-postgres-place.js';
import { migrate } from '../../src/platform/db/migrate.js';
import { openPool } from '../../src/platform/db/pool.pg.js';
import { transactorOf } from '../../src/platform/db/transaction.pg.js';
import { openQueue } from '../../src/platform/queue/queue.bullmq.js';
import type { Job } from '../../src/platform/queue/queue.js';
import { startRedis } from '../../test/support/redis.js';
import { treeCpuSeconds } from '../measure/process-tree.js';
import type { Measurement, Round } from '../scenario.js';

export interface ScheduleReady {
  readonly databaseUrl: string;
}

const count = Number(process.argv[2]);
const home = mkdtempSync(join(tmpdir(), 'fp-bench-pg-'));
const postgres = await startEmbeddedPostgres({ homeDir: home, logFile: join(home, 'log') });
await migrate(postgres.url);
const pool = openPool(postgres.url, { applicationName: 'bench' });
const redis = await startRedis();
const queue = await openQueue({
  databaseUrl: postgres.url,
  redisUrl: `unix://${redis.socketPath}`,
  name: 'bench',
  onError: (error) => process.stderr.write(`queue: ${String(error)}\n`),
});

/** Issued one after another through seven days, each due at 2/3 of its life, a tenth up or down: in the order of a real fleet. */
async function fill(): Promise<void> {
  // A connection of its own: the pool's statements have a time limit.
  const client = new pg.Client({ connectionString: postgres.url });
  await client.connect();
  await client.query(
    `INSERT INTO renewal_due (due_at, slot_id)
     SELECT timestamptz '2026-01-01Z' + n * (interval '7 days' / $1::float8) + random() * interval '0.93 days', n
     FROM generate_series(1, $1::bigint) n`,
    [count],
  );
  // As autovacuum leaves it.
  await client.query('VACUUM (ANALYZE) renewal_due');
  await client.end();
}

let units = 0;
let idSum = 0n;
let jobs = 0;
let largest = 0;
function tally(handed: readonly Job[]): void {
  for (const { data } of handed) {
    const slotIds = data['slotIds'] as number[];
    jobs += 1;
    units += slotIds.length;
    largest = Math.max(largest, slotIds.length);
    for (const id of slotIds) idSum += BigInt(id);
  }
}

const clock = { now: () => new Date('2100-01-01T00:00:00Z') };
const scanInto = (addBulk: (handed: readonly Job[]) => Promise<void>) =>
  makeRenewalScan({
    transactor: transactorOf(pool),
    book: renewalBook,
    queue: { addBulk, counts: () => queue.counts() },
    clock,
    jobsWaitingMax: Number.MAX_SAFE_INTEGER,
  });
let fence = 0;
const lease = () => ({ name: 'bench', holder: 'bench', fence });
const scan = scanInto((handed) => queue.addBulk(handed));

async function round(seconds: number): Promise<Round> {
  await queue.obliterate();
  const cpuNow = (): number => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6 + treeCpuSeconds(postgres.pid) + treeCpuSeconds(redis.pid);
  };
  const before = cpuNow();
  const startMs = performance.now();
  let dispatched = 0;
  while (performance.now() - startMs < seconds * 1_000) {
    const run = await scan(lease());
    dispatched += run.dispatched;
    // At the end of the markers: another holder's first run.
    if (run.dispatched === 0) fence += 1;
  }
  const perSecond = (dispatched * 1_000) / (performance.now() - startMs);
  return { perSecond, cpuSecondsPerOperation: (cpuNow() - before) / dispatched, generatorBusy: 0 };
}

async function check(): Promise<Measurement['checks']> {
  await queue.obliterate();
  fence += 1;
  const counted = scanInto(async (handed) => {
    tally(handed);
    await queue.addBulk(handed);
  });
  let waiting = 0;
  while ((await counted(lease())).dispatched > 0) {
    waiting += (await queue.counts()).waiting;
    await queue.obliterate();
  }
  return [
    { what: `${units} of ${count} units were handed out, each once`, ok: units === count && idSum === sumTo(count) },
    { what: `${jobs} jobs, none of more than 500 units`, ok: largest <= 500 && jobs === Math.ceil(count / 500) },
    { what: `${waiting} jobs reached the queue`, ok: waiting === jobs },
  ];
}

function sumTo(last: number): bigint {
  return (BigInt(last) * BigInt(last + 1)) / 2n;
}

let isEnding = false;
async function end(): Promise<void> {
  if (isEnding) return;
  isEnding = true;
  await queue.close();
  await pool.end();
  await redis.stop();
  await postgres.stop();
  removeHome(home);
  process.exit(0);
}
process.on('SIGTERM', () => void end());
process.on('disconnect', () => void end());

await fill();
process.on('message', (order: { seconds: number } | 'check') => {
  const answer = order === 'check' ? check() : round(order.seconds);
  void answer.then((result) => process.send?.(result));
});
process.send?.({ databaseUrl: postgres.url } satisfies ScheduleReady);
