import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { housekeeping } from '../../../src/jobs/housekeeping.pg.js';
import type { Transactor } from '../../../src/platform/db/transaction.js';
import { transactorOf } from '../../../src/platform/db/transaction.pg.js';
import { freshDatabase, type TestDatabase } from '../../support/database.js';

let db: TestDatabase;
let transactor: Transactor;
beforeAll(async () => {
  db = await freshDatabase();
  transactor = transactorOf(db.pool);
});
afterAll(() => db.drop());

const decide = (at: string): Promise<unknown> =>
  db.pool.query(
    `INSERT INTO decision (at, gateway_id, stage, key_proved, verdict, reasons) VALUES (${at}, 1, 'ike', true, 'deny', '{}')`,
  );
const where = async (): Promise<string[]> =>
  (await db.pool.query<{ name: string }>('SELECT tableoid::regclass::text AS name FROM decision ORDER BY at')).rows.map(
    ({ name }) => name,
  );

test('each day has a table of its own, and the day that nobody made ready goes nowhere else than into the default', async () => {
  await housekeeping.ensurePartitions(transactor.read);
  for (const at of ['now()', `now() + interval '1 day'`, `now() + interval '8 days'`, `now() + interval '300 days'`])
    await decide(at);
  const [today, tomorrow, eighth, late] = await where();
  expect(today).toBe('decision_before');
  expect(tomorrow).toMatch(/^decision_\d{8}$/);
  expect(eighth).toMatch(/^decision_\d{8}$/);
  expect(late).toBe('decision_default');
  // A day whose rows are in the default stays there, and makes no run fail.
  await transactor.run((tx) => tx.query(`SELECT ensure_decision_days(now() + interval '299 days', 3)`));
  await decide(`now() + interval '301 days'`);
  expect((await where()).slice(-2)).toEqual(['decision_default', expect.stringMatching(/^decision_\d{8}$/)]);
});

test('days that are over go as whole tables; a younger one and what is in none stay', async () => {
  await db.pool.query(`SELECT ensure_decision_days(now() - interval '100 days', 20)`);
  const before =
    (await db.pool.query(`SELECT 1 FROM pg_inherits WHERE inhparent = 'decision'::regclass`)).rowCount ?? 0;
  // Everything up to tomorrow is the table that was there before days were: it is attached, and too young to go.
  expect(await housekeeping.purge(transactor.read)).toEqual({});
  await db.pool.query('ALTER TABLE decision DETACH PARTITION decision_before');
  await db.pool.query(`SELECT ensure_decision_days(now() - interval '100 days', 20)`);
  await decide(`now() - interval '99 days'`);
  await decide(`now() - interval '85 days'`);
  const removed = await housekeeping.purge(transactor.read);
  expect(Object.keys(removed).length).toBeGreaterThanOrEqual(9);
  expect(await where()).not.toContain('decision_before');
  const { rows } = await db.pool.query(`SELECT count(*)::int AS n FROM decision WHERE at < now()`);
  expect(rows).toEqual([{ n: 1 }]);
  expect(before).toBeGreaterThan(0);
});
