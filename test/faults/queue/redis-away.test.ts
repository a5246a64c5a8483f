import { createConnection } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { openLate } from '../../../src/platform/queue/late-queue.js';
import { openQueue } from '../../../src/platform/queue/queue.bullmq.js';
import type { JobQueue } from '../../../src/platform/queue/queue.js';
import { startRedis, type TestRedis } from '../../support/redis.js';

let redis: TestRedis;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(async () => {
  await redis.kill(); // it refuses a polite end while it writes its first append-only file
  await redis.stop();
});

const warnings: string[] = [];
const open = (): Promise<JobQueue> =>
  openQueue({
    databaseUrl: 'postgresql://nobody@127.0.0.1:1/none',
    redisUrl: `unix://${redis.socketPath}`,
    onError: () => undefined,
    onWarning: (sentence) => warnings.push(sentence),
  });

/** One inline command; the answer's first line. */
function redisCommand(command: string): Promise<string> {
  return new Promise((answer, fail) => {
    const socket = createConnection(redis.socketPath, () => socket.write(`${command}\r\n`));
    socket.once('error', fail);
    socket.once('data', (data) => {
      socket.end();
      answer(String(data).trim());
    });
  });
}

test('while Redis is away every call is refused within a second; afterwards the same queue works, jobs and all', async () => {
  const queue = await open();
  const seen: string[] = [];
  const worker = queue.process({ run: async ({ id }) => void seen.push(id), dead: async () => undefined });
  await queue.add({ name: 'work', id: 'before', data: {} });
  while (seen.length === 0) await sleep(20);
  await redis.kill();

  const times: number[] = [];
  const deadline = Date.now() + 6_000;
  for (let n = 0; Date.now() < deadline; n++) {
    const startedMs = performance.now();
    await expect(queue.add({ name: 'work', id: `away-${n}`, data: {} })).rejects.toMatchObject({ code: 'RETRY_LATER' });
    expect(await queue.health()).toMatchObject({ ok: false });
    times.push(performance.now() - startedMs);
    await sleep(40);
  }
  expect(times.length).toBeGreaterThan(20);
  expect(Math.max(...times)).toBeLessThan(1_500); // two calls
  await redis.restart();

  for (let n = 0; !seen.includes('after'); n++) {
    await queue.add({ name: 'work', id: 'after', data: {} }).catch(() => undefined);
    if (n > 150) throw new Error('the queue did not come back');
    await sleep(100);
  }
  await worker.close(500);
  await queue.close();
});

test('closing does not wait for a Redis that is away', async () => {
  const queue = await open();
  const worker = queue.process({ run: async () => undefined, dead: async () => undefined });
  await redis.kill();
  const startedMs = performance.now();
  await worker.close(500);
  await queue.close();
  expect(performance.now() - startedMs).toBeLessThan(6_000);
  await redis.restart();
});

test('a process that starts while Redis is away goes on without it, and its jobs run when Redis is there', async () => {
  await redis.kill();
  const away: Error[] = [];
  const queue = await openLate({ open, onAway: (error) => void away.push(error), everyMs: 50 });
  const seen: string[] = [];
  const worker = queue.process({ run: async ({ id }) => void seen.push(id), dead: async () => undefined });
  const jobs = [{ name: 'work', id: 'early', data: {} }];
  await expect(queue.addBulk(jobs)).rejects.toMatchObject({ code: 'RETRY_LATER' });
  await expect(queue.counts()).rejects.toMatchObject({ code: 'RETRY_LATER' });
  expect(await queue.health()).toMatchObject({ ok: false, detail: expect.stringContaining('Redis does not answer') });
  expect(away.length).toBeGreaterThanOrEqual(1);
  await redis.restart();
  while (!(await queue.health()).ok) await sleep(50);
  await queue.addBulk(jobs);
  while (!seen.includes('early')) await sleep(20);
  await worker.close(500);
  await queue.close();

  await redis.kill();
  const unopened = await openLate({ open, onAway: () => undefined, everyMs: 50 });
  await unopened.process({ run: async () => undefined, dead: async () => undefined }).close(500);
  await unopened.close();
  await redis.restart();
});

test('a Redis that evicts is refused, one without an append-only file is warned about', async () => {
  await redisCommand('CONFIG SET appendonly no');
  warnings.length = 0;
  await (await open()).close();
  expect(warnings).toEqual([expect.stringContaining('appendonly yes')]);
  await redisCommand('CONFIG SET appendonly yes');
  await redisCommand('CONFIG SET maxmemory-policy allkeys-lru');
  const unfit = { code: 'INTERNAL', message: expect.stringContaining('noeviction') };
  await expect(open()).rejects.toMatchObject(unfit);
  await expect(openLate({ open, onAway: () => undefined })).rejects.toMatchObject(unfit);
  await redisCommand('CONFIG SET maxmemory-policy noeviction');
  warnings.length = 0;
  await (await open()).close();
  expect(warnings).toEqual([]);
});
