import { randomInt } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { primaryClient } from './primary.pg.js';

export type Pool = pg.Pool;
export type PoolClient = pg.PoolClient;
/** Either: whatever runs one statement. Write queries against this so that they work inside and outside a transaction. */
export type Queryable = Pick<pg.PoolClient, 'query'>;

export interface PoolOptions {
  /** Shown in pg_stat_activity and in the server's log; the process's name, e.g. `enrol-server`. */
  readonly applicationName: string;
  /** Connections at most; default 10. */
  readonly connectionsMax?: number;
  /** The server ends any statement that takes longer; default 5,000 ms. 0 = no limit (migrations, exports). */
  readonly statementTimeoutMs?: number;
  /** A lost connection outside a query is reported here; the pool replaces it by itself. */
  readonly onIdleError?: (error: Error) => void;
}

const INT8_OID = 20;
const QUERY_GRACE_MS = 2_500;

/** Sequence numbers and counts fit a double for the next 9 quadrillion; beyond that a silent rounding must not happen. */
function parseInt8(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new RangeError(`bigint ${text} does not fit a number`);
  return value;
}

/** pg's own parsers, but bigint as a number. */
const types: pg.CustomTypesConfig = {
  getTypeParser: (oid: number, format?: 'text' | 'binary') =>
    oid === INT8_OID && format !== 'binary' ? parseInt8 : pg.types.getTypeParser(oid, format as 'text'),
};

/**
 * Opens a pool on the primary. Nothing connects until the first query; a connection that cannot be had within 5 s is an error.
 * A URL may name several servers, of which one is the primary: see {@link primaryClient}.
 * `bigint` columns arrive as numbers, `timestamptz` as Date, `bytea` as Buffer.
 */
export function openPool(url: string, options: PoolOptions): Pool {
  const primary = primaryClient(url);
  const statementTimeoutMs = options.statementTimeoutMs ?? 5_000;
  const pool = new pg.Pool({
    connectionString: primary.url,
    Client: primary.Client,
    types,
    application_name: options.applicationName,
    max: options.connectionsMax ?? 10,
    connectionTimeoutMillis: 5_000,
    idleTimeoutMillis: 30_000,
    statement_timeout: statementTimeoutMs,
    // A server behind a cut link ends nothing: then this side does, some time after the server should have.
    query_timeout: statementTimeoutMs === 0 ? 0 : statementTimeoutMs + QUERY_GRACE_MS,
    // A process that stalls inside a transaction must not hold its locks for ever.
    idle_in_transaction_session_timeout: 15_000,
    keepAlive: true,
    // Compiling a plan takes longer than any statement of ours, and estimates of a large fleet ask for it.
    options: '-c jit=off',
  });
  // Without a listener an idle connection's loss (a database restart) would end the process.
  pool.on('error', (error) => options.onIdleError?.(error));
  return pool;
}

export interface TransactionOptions {
  /** Default `read committed`. */
  readonly isolation?: 'read committed' | 'repeatable read' | 'serializable';
}

/** Serialization failure and deadlock: the database rolled back and asks us to try again. */
const RETRYABLE = new Set(['40001', '40P01']);
const RETRIES_MAX = 3;

/**
 * Runs `fn` in one transaction: commit when it resolves, roll back when it throws. After a serialization failure or a
 * deadlock the whole of `fn` runs again, three times at most, after a random pause: so it must have no effect but its
 * queries. A connection lost during COMMIT is thrown, not retried, because its outcome is unknown.
 */
export async function withTransaction<T>(
  pool: Pool,
  fn: (client: PoolClient) => Promise<T>,
  options: TransactionOptions = {},
): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await runOnce(pool, fn, options.isolation ?? 'read committed');
    } catch (thrown) {
      if (attempt >= RETRIES_MAX || !RETRYABLE.has(sqlState(thrown) ?? '')) throw thrown;
      await sleep(randomInt(5, 20) * 2 ** attempt);
    }
  }
}

/** The SQLSTATE of a PostgreSQL error (`23505` unique violation …), undefined for anything else. */
export function sqlState(thrown: unknown): string | undefined {
  return thrown instanceof pg.DatabaseError ? thrown.code : undefined;
}

/** pg gives its own time-out no code. */
function isUnanswered(thrown: unknown): thrown is Error {
  return thrown instanceof Error && thrown.message === 'Query read timeout';
}

async function runOnce<T>(pool: Pool, fn: (client: PoolClient) => Promise<T>, isolation: string): Promise<T> {
  const client = await pool.connect();
  let broken: Error | undefined;
  // The pool listens on idle connections only: one that is lost between two statements of ours would end the process.
  const onLost = (error: Error): void => {
    broken = error;
  };
  client.on('error', onLost);
  try {
    await client.query(`BEGIN ISOLATION LEVEL ${isolation}`);
    const value = await fn(client);
    await client.query('COMMIT');
    return value;
  } catch (thrown) {
    // Behind an answer that did not come a ROLLBACK would wait as long again.
    if (isUnanswered(thrown)) broken = thrown;
    else {
      await client.query('ROLLBACK').catch((error: Error) => {
        broken = error;
      });
    }
    throw thrown;
  } finally {
    client.off('error', onLost);
    // A connection that was lost or could not roll back is not given to the next caller.
    client.release(broken);
  }
}
