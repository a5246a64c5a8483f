import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { startLeasedLoop, startLoop } from '../../../src/jobs/loop.js';
import type { Lease, Leases } from '../../../src/platform/db/lease.js';

test('a loop never runs twice at once, goes on after failures, and its stop waits for the run under way', async () => {
  let running = 0;
  let most = 0;
  let runs = 0;
  const errors: unknown[] = [];
  const loop = startLoop({
    name: 'x',
    everyMs: 1,
    onError: (_loop, error) => errors.push(error),
    run: async () => {
      running += 1;
      most = Math.max(most, running);
      runs += 1;
      await sleep(5);
      running -= 1;
      if (runs === 2) throw new Error('once');
      return runs < 3;
    },
  });
  expect(loop.idleMs()).toBeNull();
  while (runs < 6) await sleep(5);
  await loop.stop();
  expect(running).toBe(0);
  expect(most).toBe(1);
  expect(errors).toHaveLength(1);
  expect(loop.idleMs()).not.toBeNull();
  const after = runs;
  await sleep(30);
  expect(runs).toBe(after);
});

test('only the holder of the lease does the work, and gives it back when stopped', async () => {
  let holder: string | null = 'somebody else';
  const released: Lease[] = [];
  const leases: Leases = {
    acquire: async (name, wanted) => {
      if (holder !== null && holder !== wanted) return null;
      holder = wanted;
      return { name, holder: wanted, fence: 1 };
    },
    renew: async () => true,
    release: async (lease) => void released.push(lease),
    check: async () => undefined,
  };
  let runs = 0;
  const loop = startLeasedLoop({
    name: 'x',
    everyMs: 1,
    leases,
    holder: 'me',
    onError: (_loop, error) => {
      throw error;
    },
    run: async () => {
      runs += 1;
      return undefined;
    },
  });
  await sleep(30);
  expect(runs).toBe(0);
  holder = null;
  while (runs === 0) await sleep(2);
  await loop.stop();
  expect(released).toEqual([{ name: 'x', holder: 'me', fence: 1 }]);
});
