import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { transactorOf } from '../../src/platform/db/transaction.pg.js';
import { makeRefusalCounter, type RefusalRow } from '../../src/platform/refusals.js';
import { openRefusalStore } from '../../src/platform/refusals.pg.js';
import { freshDatabase, type TestDatabase } from '../support/database.js';

let db: TestDatabase;
beforeAll(async () => {
  db = await freshDatabase();
});
afterAll(async () => {
  await db.drop();
});

const at = new Date('2026-11-24T10:15:42Z');
const stored = async (day: string) =>
  (
    await db.pool.query(
      `SELECT source_prefix AS prefix, code, count::int AS count, sample FROM refusal_count
       WHERE minute::date = $1::date ORDER BY source_prefix, code`,
      [day],
    )
  ).rows;
const failOnError = (error: unknown): never => {
  throw error;
};

test('a flood from one place is one row a minute, over several processes', async () => {
  const counters = [1, 2].map(() => makeRefusalCounter(openRefusalStore(transactorOf(db.pool)), failOnError));
  for (let n = 0; n < 1_000; n++) {
    counters[n % 2]?.count({
      address: `203.0.113.${n % 250}`,
      code: 'UNREGISTERED',
      at,
      sample: '/v1/nonce\r\n\u001b[31m',
    });
  }
  await Promise.all(counters.map((counter) => counter.close()));
  expect(await stored('2026-11-24')).toEqual([
    { prefix: '203.0.113.0/24', code: 'UNREGISTERED', count: 1_000, sample: '/v1/nonce\\u000d\\u000a\\u001b[31m' },
  ]);
});

test('past the day’s budget rows fold into one prefix, nothing is lost, and the next day begins anew', async () => {
  const store = openRefusalStore(transactorOf(db.pool), 1_000);
  const row = (n: number, day: string): RefusalRow => ({
    sourcePrefix: `198.18.${n}.0/24`,
    code: 'DENIED',
    minute: new Date(`${day}T11:00:00Z`),
    count: 1,
    sample: 'x'.repeat(50),
  });
  for (let n = 0; n < 200; n++) await store.add([row(n, '2026-11-25')]);
  const rows = await stored('2026-11-25');
  expect(rows.length).toBeLessThan(10);
  expect(rows.reduce((sum, { count }) => sum + count, 0)).toBe(200);
  expect(rows[0]).toMatchObject({ prefix: '*', sample: '' });
  await store.add([row(1, '2026-11-26')]);
  expect(await stored('2026-11-26')).toMatchObject([{ prefix: '198.18.1.0/24' }]);
});

test('a flood from everywhere keeps memory bounded and every refusal counted', async () => {
  const rows: RefusalRow[] = [];
  const counter = makeRefusalCounter({ add: async (some) => void rows.push(...some) }, failOnError);
  for (let n = 0; n < 10_000; n++) {
    counter.count({ address: `10.${n >> 8}.${n & 255}.1`, code: 'DENIED', at, sample: '' });
  }
  await counter.close();
  expect(rows.length).toBeLessThanOrEqual(2_001);
  expect(rows.reduce((sum, { count }) => sum + count, 0)).toBe(10_000);
});

test('what cannot be written now is written later', async () => {
  let broken = true;
  const rows: RefusalRow[] = [];
  const errors: unknown[] = [];
  const store = {
    add: async (some: readonly RefusalRow[]) => {
      if (broken) throw new Error('no database');
      rows.push(...some);
    },
  };
  const counter = makeRefusalCounter(store, (error) => errors.push(error));
  counter.count({ address: '::1', code: 'DENIED', at, sample: '' });
  await counter.flush();
  broken = false;
  counter.count({ address: '::1', code: 'DENIED', at, sample: '' });
  await counter.close();
  expect(errors).toHaveLength(1);
  expect(rows).toMatchObject([{ sourcePrefix: '::/48', count: 2 }]);
});
