import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Leases } from '../../../src/platform/db/lease.js';
import { makeLeases } from '../../../src/platform/db/lease.pg.js';
import type { Transactor } from '../../../src/platform/db/transaction.js';
import { transactorOf } from '../../../src/platform/db/transaction.pg.js';
import { freshDatabase, type TestDatabase } from '../../support/database.js';

let db: TestDatabase;
let transactor: Transactor;
let leases: Leases;
beforeAll(async () => {
  db = await freshDatabase();
  transactor = transactorOf(db.pool);
  leases = makeLeases(transactor);
});
afterAll(() => db.drop());

test('of twenty that ask at once, one gets the lease', async () => {
  const got = await Promise.all(Array.from({ length: 20 }, (_, n) => leases.acquire('race', `h${n}`, 5_000)));
  expect(got.filter((lease) => lease !== null)).toHaveLength(1);
});

test('a lease that ran out goes to another with a higher fence, and the old holder cannot write', async () => {
  const first = await leases.acquire('passing', 'a', 1_000);
  if (!first) throw new Error('free lease not given');
  expect(await leases.acquire('passing', 'b', 5_000)).toBeNull();
  await sleep(1_100);
  const second = await leases.acquire('passing', 'b', 5_000);
  expect(second?.fence).toBeGreaterThan(first.fence);
  expect(await leases.renew(first, 5_000)).toBe(false);
  await expect(transactor.run((tx) => leases.check(tx, first))).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
  if (second) await transactor.run((tx) => leases.check(tx, second));
});

test('the holder keeps its fence while it renews; after it ran out even the same holder gets a new one', async () => {
  const first = await leases.acquire('own', 'a', 1_000);
  expect(await leases.acquire('own', 'a', 1_000)).toEqual(first);
  await sleep(1_100);
  const again = await leases.acquire('own', 'a', 5_000);
  expect(again?.fence).toBe((first?.fence ?? 0) + 1);
});

test('a takeover waits until the transaction that checked the lease has ended', async () => {
  const held = await leases.acquire('writing', 'a', 1_500);
  if (!held) throw new Error('free lease not given');
  let committed = false;
  const writing = transactor.run(async (tx) => {
    await leases.check(tx, held);
    await sleep(3_000);
    committed = true;
  });
  await sleep(1_800);
  const taken = await leases.acquire('writing', 'b', 5_000);
  expect(committed).toBe(true);
  expect(taken?.holder).toBe('b');
  await writing;
});

test('a released lease is free at once', async () => {
  const lease = await leases.acquire('given back', 'a', 60_000);
  if (lease) await leases.release(lease);
  expect((await leases.acquire('given back', 'b', 1_000))?.holder).toBe('b');
});
