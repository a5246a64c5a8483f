import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { openQueue } from '../../../src/platform/queue/queue.bullmq.js';
import type { JobAttempt, JobQueue, JobWorker } from '../../../src/platform/queue/queue.js';
import { JOB_TRIES } from '../../../src/platform/queue/queue.js';
import { freshDatabase, type TestDatabase } from '../../support/database.js';
import { startRedis, type TestRedis } from '../../support/redis.js';
import { startRedisCluster, type TestRedisCluster } from '../../support/redis-cluster.js';

let db: TestDatabase;
let redis: TestRedis;
let cluster: TestRedisCluster;
beforeAll(async () => {
  [db, redis, cluster] = await Promise.all([freshDatabase(), startRedis(), startRedisCluster()]);
}, 60_000);
afterAll(async () => {
  await db?.drop();
  await redis?.stop();
  await cluster?.stop();
});

describe.each(['postgres', 'redis', 'redis cluster'] as const)('a queue on %s', (backend) => {
  let queue: JobQueue;
  const workers: JobWorker[] = [];
  const errors: Error[] = [];
  let round = 0;
  beforeEach(async () => {
    round += 1;
    queue = await openQueue({
      databaseUrl: db.url,
      ...(backend === 'redis' && { redisUrl: `unix://${redis.socketPath}` }),
      ...(backend === 'redis cluster' && { redisUrl: cluster.url }),
      name: `q${round}`,
      onError: (error) => errors.push(error),
      backoffMs: 50,
    });
  });
  afterEach(async () => {
    for (const worker of workers.splice(0)) await worker.close(1_000);
    await queue.close();
    expect(errors).toEqual([]);
  });

  const start = (
    run: (job: JobAttempt) => Promise<void>,
    dead: (job: JobAttempt, error: Error) => void = () => undefined,
  ) => workers.push(queue.process({ run, dead: async (job, error) => dead(job, error) }, { concurrency: 4 }));

  /** As every caller does on RETRY_LATER: a busy machine misses 500 ms, and the natural key makes asking again harmless. */
  async function persistently(add: () => Promise<unknown>): Promise<void> {
    for (let tries = 1; ; tries++) {
      try {
        await add();
        return;
      } catch (error) {
        if ((error as { code?: string }).code !== 'RETRY_LATER' || tries >= 20) throw error;
        await sleep(100);
      }
    }
  }

  async function until(done: () => boolean, ms = 15_000): Promise<void> {
    for (const limit = Date.now() + ms; !done(); await sleep(20)) {
      if (Date.now() > limit) throw new Error('it did not happen in time');
    }
  }

  test('hands each job to a worker, with name, id, data and try', async () => {
    const seen: JobAttempt[] = [];
    start(async (job) => void seen.push(job));
    await queue.add({ name: 'work', id: 'work-1', data: { ids: [1, 2] } });
    await until(() => seen.length === 1);
    expect(seen).toEqual([{ name: 'work', id: 'work-1', data: { ids: [1, 2] }, attempt: 1 }]);
    expect(await queue.health()).toMatchObject({ ok: true });
  });

  test('the same key twice is one job while it waits, and may come again once it is done', async () => {
    await queue.add({ name: 'work', id: 'k-1', data: {} });
    await queue.addBulk([
      { name: 'work', id: 'k-1', data: {} },
      { name: 'work', id: 'k-2', data: {} },
    ]);
    expect((await queue.counts()).waiting).toBe(2);
    const seen: string[] = [];
    start(async ({ id }) => void seen.push(id));
    await until(() => seen.length === 2);
    await sleep(100);
    await queue.add({ name: 'work', id: 'k-1', data: {} });
    await until(() => seen.length === 3);
    expect(seen.sort()).toEqual(['k-1', 'k-1', 'k-2']);
  });

  test('a thousand jobs from many callers are each run, none twice', async () => {
    const seen = new Map<string, number>();
    start(async ({ id }) => void seen.set(id, (seen.get(id) ?? 0) + 1));
    const ids = Array.from({ length: 1_000 }, (_, n) => `m-${n}`);
    for (let n = 0; n < ids.length; n += 250) {
      await persistently(() => queue.addBulk(ids.slice(n, n + 250).map((id) => ({ name: 'work', id, data: {} }))));
    }
    await until(() => seen.size === 1_000, 30_000);
    expect([...seen.values()].every((count) => count === 1)).toBe(true);
  });

  test('a delayed job does not run before its time', async () => {
    const startedMs = Date.now();
    let ranMs = 0;
    start(async () => {
      ranMs = Date.now();
    });
    await queue.add({ name: 'work', id: 'later', data: {}, delayMs: 700 });
    expect((await queue.counts()).delayed).toBe(1);
    await until(() => ranMs > 0);
    expect(ranMs - startedMs).toBeGreaterThanOrEqual(690);
  });

  test('a job that fails is tried again; one that always fails is dead after five tries, and others go on', async () => {
    const tries: Record<string, number> = {};
    const dead: [string, number, string][] = [];
    start(
      async ({ id }) => {
        tries[id] = (tries[id] ?? 0) + 1;
        if (id === 'poison' || (id === 'twice' && (tries[id] ?? 0) < 3)) throw new Error(`no ${id}`);
      },
      (job, error) => dead.push([job.id, job.attempt, error.message]),
    );
    await queue.add({ name: 'work', id: 'poison', data: {} });
    await queue.add({ name: 'work', id: 'twice', data: {} });
    await queue.add({ name: 'work', id: 'good', data: {} });
    await until(() => tries['good'] === 1);
    await until(() => dead.length === 1, 40_000);
    await sleep(200);
    expect(tries).toEqual({ good: 1, twice: 3, poison: JOB_TRIES });
    expect(dead).toEqual([['poison', JOB_TRIES, 'no poison']]);
    expect(await queue.counts()).toEqual({ waiting: 0, active: 0, delayed: 0, failed: 0 });
  });

  test('refuses a colon in a key and more than 64 KiB of data', async () => {
    await expect(queue.add({ name: 'work', id: 'a:b', data: {} })).rejects.toMatchObject({ code: 'INTERNAL' });
    await expect(queue.add({ name: 'work', id: 'big', data: { text: 'x'.repeat(70_000) } })).rejects.toMatchObject({
      code: 'INTERNAL',
    });
  });

  test('emptied, it knows nothing of old jobs and takes new ones', async () => {
    await queue.addBulk([
      { name: 'work', id: 'gone-1', data: {} },
      { name: 'work', id: 'gone-2', data: {} },
    ]);
    await queue.obliterate();
    expect(await queue.counts()).toEqual({ waiting: 0, active: 0, delayed: 0, failed: 0 });
    const seen: string[] = [];
    start(async ({ id }) => void seen.push(id));
    await queue.add({ name: 'work', id: 'gone-1', data: {} });
    await until(() => seen.length === 1);
    expect(seen).toEqual(['gone-1']);
  });
});
