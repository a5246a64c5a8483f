/**
 * Applies prisma/migrations/<name>/migration.sql in order of name and records them in `_prisma_migrations` exactly as
 * `prisma migrate deploy` does, so that either may follow the other. Prisma's own engine is a download that an offline
 * machine cannot make.
 */
import { createHash, randomUUID } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type pg from 'pg';
import { FemtoError } from '../errors.js';
import { primaryClient } from './primary.pg.js';

export interface MigrationReport {
  /** Names applied by this call, in order; empty when the schema was current. */
  readonly applied: readonly string[];
  /** Names that were there before. */
  readonly present: readonly string[];
}

/** The directory that ships with this build. */
export const MIGRATIONS_DIR = fileURLToPath(new URL('../../../prisma/migrations', import.meta.url));

/** The advisory lock that Prisma takes too: two servers started at once migrate one after the other. */
const ADVISORY_LOCK = 72707369;
const LOCK_TIMEOUT_MS = 120_000;

const CREATE_TABLE = `CREATE TABLE IF NOT EXISTS _prisma_migrations (
    id                      VARCHAR(36) PRIMARY KEY NOT NULL,
    checksum                VARCHAR(64) NOT NULL,
    finished_at             TIMESTAMPTZ,
    migration_name          VARCHAR(255) NOT NULL,
    logs                    TEXT,
    rolled_back_at          TIMESTAMPTZ,
    started_at              TIMESTAMPTZ NOT NULL DEFAULT now(),
    applied_steps_count     INTEGER NOT NULL DEFAULT 0
)`;

/**
 * Brings the database at `url` to the schema of this build. Idempotent.
 *
 * @throws FemtoError STATE_CONFLICT when an applied migration was edited, failed half-way under another tool, or is not
 *   known to this build; the PostgreSQL error when a migration fails (it is rolled back whole)
 */
export async function migrate(url: string, migrationsDir: string = MIGRATIONS_DIR): Promise<MigrationReport> {
  const primary = primaryClient(url);
  const client = new primary.Client({ connectionString: primary.url, application_name: 'migrate' });
  await client.connect();
  try {
    await client.query(`SET lock_timeout = ${LOCK_TIMEOUT_MS}`);
    await client.query('SELECT pg_advisory_lock($1)', [ADVISORY_LOCK]);
    await client.query(CREATE_TABLE);
    const wanted = readMigrations(migrationsDir);
    const present = await checkRecorded(client, wanted);
    const applied: string[] = [];
    for (const migration of wanted.filter(({ name }) => !present.includes(name))) {
      await applyOne(client, migration);
      applied.push(migration.name);
    }
    return { applied, present };
  } finally {
    await client.end(); // gives the advisory lock back
  }
}

interface Migration {
  readonly name: string;
  readonly sql: string;
  readonly checksum: string;
}

function readMigrations(dir: string): Migration[] {
  return readdirSync(dir, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && existsSync(join(dir, entry.name, 'migration.sql')))
    .map((entry) => entry.name)
    .sort()
    .map((name) => {
      const bytes = readFileSync(join(dir, name, 'migration.sql'));
      return { name, sql: bytes.toString('utf8'), checksum: createHash('sha256').update(bytes).digest('hex') };
    });
}

async function checkRecorded(client: pg.Client, wanted: readonly Migration[]): Promise<string[]> {
  const { rows } = await client.query<{ migration_name: string; checksum: string; finished_at: Date | null }>(
    'SELECT migration_name, checksum, finished_at FROM _prisma_migrations WHERE rolled_back_at IS NULL ORDER BY migration_name',
  );
  for (const row of rows) {
    const migration = wanted.find(({ name }) => name === row.migration_name);
    const next = !migration
      ? `was applied to this database but is not part of this build: start the newer femtopki that applied it`
      : row.finished_at === null
        ? `failed half-way: repair the database by hand, then "prisma migrate resolve"`
        : row.checksum !== migration.checksum
          ? `was edited after it had been applied: restore the file; changes go into a new migration`
          : undefined;
    if (next)
      throw new FemtoError('STATE_CONFLICT', `Migration ${row.migration_name} ${next}.`, {
        facts: { migration: row.migration_name },
      });
  }
  return rows.map((row) => row.migration_name);
}

/** Script and record in one transaction: a crash leaves both or neither, never Prisma's half-applied state. */
async function applyOne(client: pg.Client, migration: Migration): Promise<void> {
  await client.query('BEGIN');
  try {
    const { rows } = await client.query<{ at: Date }>('SELECT clock_timestamp() AS at');
    await client.query(migration.sql);
    await client.query(
      `INSERT INTO _prisma_migrations (id, checksum, finished_at, migration_name, logs, rolled_back_at, started_at, applied_steps_count)
       VALUES ($1, $2, clock_timestamp(), $3, NULL, NULL, $4, 1)`,
      [randomUUID(), migration.checksum, migration.name, rows[0]?.at],
    );
    await client.query('COMMIT');
  } catch (thrown) {
    await client.query('ROLLBACK').catch(() => undefined); // the script's own error is the one to show
    throw new FemtoError(
      'STATE_CONFLICT',
      `Migration ${migration.name} failed and was rolled back: ${(thrown as Error).message}`,
      { cause: thrown },
    );
  }
}
