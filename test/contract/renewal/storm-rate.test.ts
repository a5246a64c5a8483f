import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { pgRateShare } from '../../../src/lifecycle/renewal/storm/rate-share.pg.js';
import { transactorOf } from '../../../src/platform/db/transaction.pg.js';
import { freshDatabase, type TestDatabase } from '../../support/database.js';

let db: TestDatabase;

beforeAll(async () => {
  db = await freshDatabase();
});
afterAll(() => db.drop());
beforeEach(async () => void (await db.pool.query('TRUNCATE storm_rate')));

/** As a server asks; 40 a second, of which a quarter of a second is kept. */
function take(count: number, lane: 'renewal' | 'activation' = 'renewal'): Promise<number> {
  return pgRateShare.take(transactorOf(db.pool).read, { lane, count, perSecond: 40 });
}

const setRow = (tokens: number, filledAt: string): Promise<unknown> =>
  db.pool.query(
    `INSERT INTO storm_rate VALUES ('renewal', $1, 0, now() + $2::interval)
     ON CONFLICT (lane) DO UPDATE SET tokens = $1, filled_at = now() + $2::interval`,
    [tokens, filledAt],
  );

test('a storm begins at the rate: at most a quarter of a second of it is there, however long nobody asked', async () => {
  expect(await take(1_000)).toBe(10);
  await setRow(0, '-1 day');
  expect(await take(1_000)).toBe(10);
});

test('what is not taken stays, and a lane takes nothing from the other', async () => {
  await setRow(10, '1 hour');
  expect(await take(3)).toBe(3);
  expect(await take(1_000, 'activation')).toBe(10);
  expect(await take(1_000)).toBe(7);
});

test('many servers that ask at once share one rate', async () => {
  await setRow(10, '1 hour');
  const granted = await Promise.all(Array.from({ length: 30 }, () => take(4)));
  expect(granted.reduce((sum, count) => sum + count, 0)).toBe(10);
});

test('a rate that is overdrawn gives nothing, and takes nothing back from whoever asks', async () => {
  await setRow(-100, '1 hour');
  expect(await take(5)).toBe(0);
  expect(await take(5)).toBe(0);
});

test('a clock that was set back gives nothing and takes nothing', async () => {
  await setRow(2, '1 hour');
  expect(await take(5)).toBe(2);
  expect(await take(5)).toBe(0);
});

test('a rate below one a second still lets one through when it is due', async () => {
  const slow = () => pgRateShare.take(transactorOf(db.pool).read, { lane: 'renewal', count: 5, perSecond: 0.5 });
  expect(await slow()).toBe(1);
  expect(await slow()).toBe(0);
  await setRow(0, '-3 seconds');
  expect(await slow()).toBe(1);
});
