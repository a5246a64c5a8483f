import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { MIGRATIONS_DIR, migrate } from '../../src/platform/db/migrate.js';
import { openPool, sqlState, withTransaction } from '../../src/platform/db/pool.pg.js';
import { transactorOf } from '../../src/platform/db/transaction.pg.js';
import { freshDatabase, type TestDatabase } from '../support/database.js';

describe('migrations', () => {
  let empty: TestDatabase;
  beforeAll(async () => {
    empty = await freshDatabase({ migrated: false });
  });
  afterAll(async () => {
    await empty.drop();
  });

  test('a fresh database gets every migration once, recorded as Prisma records them', async () => {
    const names = readdirSync(MIGRATIONS_DIR)
      .filter((name) => /^\d/.test(name))
      .sort();
    expect(await migrate(empty.url)).toEqual({ applied: names, present: [] });
    expect(await migrate(empty.url)).toEqual({ applied: [], present: names });
    const { rows } = await empty.pool.query('SELECT * FROM _prisma_migrations ORDER BY migration_name');
    expect(rows.map((row) => row.migration_name)).toEqual(names);
    for (const row of rows) {
      const sql = readFileSync(join(MIGRATIONS_DIR, row.migration_name, 'migration.sql'));
      expect(row.checksum).toBe(createHash('sha256').update(sql).digest('hex'));
      expect(row).toMatchObject({
        applied_steps_count: 1,
        logs: null,
        rolled_back_at: null,
        finished_at: expect.any(Date),
      });
    }
  });

  test('two servers that start at once do not apply a migration twice', async () => {
    const other = await freshDatabase({ migrated: false });
    const reports = await Promise.all([migrate(other.url), migrate(other.url)]);
    expect(reports.map((report) => report.applied.length).sort()).toContain(0);
    await other.drop();
  });

  test('a migration that fails leaves neither its tables nor its record', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'fp-mig-'));
    mkdirSync(join(dir, '0001_half'));
    writeFileSync(join(dir, '0001_half', 'migration.sql'), 'CREATE TABLE half (id int); SELECT 1/0;');
    const other = await freshDatabase({ migrated: false });
    await expect(migrate(other.url, dir)).rejects.toMatchObject({
      code: 'STATE_CONFLICT',
      message: expect.stringContaining('0001_half'),
    });
    const { rows } = await other.pool.query(
      "SELECT to_regclass('half') AS half, (SELECT count(*) FROM _prisma_migrations) AS n",
    );
    expect(rows).toEqual([{ half: null, n: 0 }]);
    await other.drop();
    rmSync(dir, { recursive: true });
  });

  test('an applied migration that was edited, or is unknown to this build, stops the start with the next step', async () => {
    const other = await freshDatabase();
    await other.pool.query(
      "UPDATE _prisma_migrations SET checksum = 'x' WHERE migration_name = (SELECT min(migration_name) FROM _prisma_migrations)",
    );
    await expect(migrate(other.url)).rejects.toThrow('was edited after it had been applied');
    await other.pool.query("UPDATE _prisma_migrations SET migration_name = '9999_later'");
    await expect(migrate(other.url)).rejects.toThrow('start the newer femtopki');
    await other.drop();
  });
});

describe('pool', () => {
  let db: TestDatabase;
  beforeAll(async () => {
    db = await freshDatabase();
    await db.pool.query('CREATE TABLE counter (id int PRIMARY KEY, n int NOT NULL)');
    await db.pool.query('INSERT INTO counter VALUES (1, 0), (2, 0)');
  });
  afterAll(async () => {
    await db.drop();
  });

  test('a statement that runs too long is ended by the server', async () => {
    const hasty = openPool(db.url, { applicationName: 'hasty', statementTimeoutMs: 50 });
    const failure: unknown = await hasty.query('SELECT pg_sleep(5)').then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(sqlState(failure)).toBe('57014');
    await hasty.end();
  });

  test('transactions that collide are run again and none is lost', async () => {
    let reads = 0;
    const add = () =>
      withTransaction(
        db.pool,
        async (client) => {
          const { rows } = await client.query<{ n: number }>('SELECT n FROM counter WHERE id = 1');
          reads++;
          while (reads < 3) await sleep(5); // all three have read before the first writes
          await client.query('UPDATE counter SET n = $1 WHERE id = 1', [(rows[0]?.n ?? 0) + 1]);
        },
        { isolation: 'serializable' },
      );
    await Promise.all([add(), add(), add()]);
    expect(reads).toBeGreaterThan(3);
    const { rows } = await db.pool.query('SELECT n FROM counter WHERE id = 1');
    expect(rows).toEqual([{ n: 3 }]);
  });

  test('the view that lifecycle gets speaks numbers for bigint, Buffers for bytea, Dates for timestamptz', async () => {
    const transactor = transactorOf(db.pool);
    const sql = "SELECT $1::bigint AS seq, '\\x00ff'::bytea AS der, timestamptz '2026-11-24Z' AS at";
    const expected = {
      rows: [{ seq: 42, der: Buffer.from([0, 255]), at: new Date('2026-11-24T00:00:00Z') }],
      rowCount: 1,
    };
    expect(await transactor.run((tx) => tx.query(sql, [42]))).toEqual(expected);
    expect(await transactor.read.query(sql, [42])).toEqual(expected);
    await expect(transactor.read.query('SELECT 9007199254740993::bigint')).rejects.toThrow('does not fit a number');
  });

  test('an error inside rolls everything back and gives a healthy connection to the next caller', async () => {
    const failing = withTransaction(db.pool, async (client) => {
      await client.query('UPDATE counter SET n = 99 WHERE id = 2');
      throw new Error('changed my mind');
    });
    await expect(failing).rejects.toThrow('changed my mind');
    const { rows } = await db.pool.query('SELECT n FROM counter WHERE id = 2');
    expect(rows).toEqual([{ n: 0 }]);
  });
});
