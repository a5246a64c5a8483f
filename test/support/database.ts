/**
 * A fresh database for each test file: a clone of a template with every migration applied, on one real PostgreSQL that
 * the whole run shares.
 */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { openPool, type Pool, sqlState } from '../../src/platform/db/pool.pg.js';

export interface TestDatabase {
  readonly url: string;
  readonly pool: Pool;
  /** Closes the pool and drops the database, other connections or not. Call in afterAll. */
  drop(): Promise<void>;
}

/**
 * @param options.migrated  false = an empty database (to test migrations themselves)
 * @example
 * let db: TestDatabase;
 * beforeAll(async () => { db = await freshDatabase(); });
 * afterAll(async () => { await db.drop(); });
 */
export async function freshDatabase(options: { migrated?: boolean } = {}): Promise<TestDatabase> {
  const serverUrl = await runPostgres();
  const name = `t_${randomBytes(6).toString('hex')}`;
  const template = options.migrated === false ? 'template1' : 'femtopki_template';
  await asAdmin(serverUrl, `CREATE DATABASE ${name} TEMPLATE ${template}`);
  const address = new URL(serverUrl);
  address.pathname = `/${name}`;
  const url = address.href;
  const pool = openPool(url, { applicationName: 'test', connectionsMax: 20 });
  return {
    url,
    pool,
    drop: async () => {
      await pool.end();
      await dropDatabase(serverUrl, name);
    },
  };
}

const DROP_TRIES_MAX = 40;

/** A vacuum that looks at it just now is the server's own process: it may not be ended, and ends soon. */
async function dropDatabase(serverUrl: string, name: string): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      return await asAdmin(serverUrl, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
    } catch (error) {
      if (sqlState(error) !== INSUFFICIENT_PRIVILEGE || tries === DROP_TRIES_MAX) throw error;
      await sleep(250);
    }
  }
}

const INSUFFICIENT_PRIVILEGE = '42501';
const HOLDER = fileURLToPath(new URL('./postgres-holder.ts', import.meta.url));
const LOADER = new URL('../../bin/ts-loader.mjs', import.meta.url).href;
const START_TIMEOUT_MS = 55_000;

/** URL of the run's server; the first caller in the whole run starts it. */
async function runPostgres(): Promise<string> {
  const dir = process.env['FP_TEST_RUN_DIR'];
  const runPid = process.env['FP_TEST_RUN_PID'];
  if (!dir || !runPid) throw new Error('No run directory: start tests with the repository’s jest.config.mjs.');
  const ready = join(dir, 'postgres.url');
  const failed = join(dir, 'postgres.failed');
  if (!existsSync(ready) && isFirst(dir)) startHolder(dir, runPid);
  for (const deadline = Date.now() + START_TIMEOUT_MS; !existsSync(ready); await sleep(25)) {
    if (existsSync(failed)) throw new Error(`PostgreSQL for the tests did not start: ${readFileSync(failed, 'utf8')}`);
    if (Date.now() > deadline) throw new Error(`PostgreSQL for the tests was not ready in time: see ${dir}`);
  }
  return readFileSync(ready, 'utf8');
}

/** mkdir is atomic: exactly one worker succeeds. */
function isFirst(dir: string): boolean {
  try {
    mkdirSync(join(dir, 'postgres.lock'));
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

function startHolder(dir: string, runPid: string): void {
  const log = openSync(join(dir, 'holder.log'), 'a');
  const env = { ...process.env, NODE_OPTIONS: '' };
  spawn(process.execPath, ['--import', LOADER, HOLDER, dir, runPid], {
    detached: true,
    stdio: ['ignore', log, log],
    env,
  }).unref();
  closeSync(log);
}

async function asAdmin(serverUrl: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: serverUrl });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
