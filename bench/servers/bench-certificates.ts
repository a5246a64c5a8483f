import type { QueryConfig } from 'pg';
import type { TestDatabase } from '../../test/support/database.js';
import { BENCH_SERIAL_SQL } from '../load/ocsp-requests.js';

/** Most of the time of ten million rows is indexes that OCSP never looks into. */
const UNUSED_INDEXES = `SELECT format('%I', c.relname) AS name FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid
  WHERE c.relname ~ '^certificate_.*_(spki|unit)$'`;
const ROWS_AT_ONCE = 500_000;
const STATEMENT_MS_MAX = 600_000;

export interface BenchCertificates {
  readonly issuerId: number;
  readonly certificates: number;
  readonly revokedEvery?: number;
  /** Of every serial, since 1970. */
  readonly hour: number;
}

/** Records certificates 1 to `certificates` of one CA as issued, and every `revokedEvery`-th as revoked. */
export async function fillCertificates(
  db: Pick<TestDatabase, 'pool'>,
  { issuerId, certificates, revokedEvery, hour }: BenchCertificates,
): Promise<void> {
  const client = await db.pool.connect();
  try {
    await client.query('SET statement_timeout = 0');
    // The driver has a clock of its own, which is for requests of people and units.
    const send = (text: string, values: readonly unknown[] = []): Promise<unknown> =>
      client.query({ text, values: [...values], query_timeout: STATEMENT_MS_MAX } as QueryConfig);
    const { rows } = await client.query<{ name: string }>(UNUSED_INDEXES);
    // Of a parent's index the parts cannot go alone; these have no parent.
    if (certificates > ROWS_AT_ONCE) for (const { name } of rows) await send(`DROP INDEX IF EXISTS ${name}`);
    for (let from = 1; from <= certificates; from += ROWS_AT_ONCE) {
      const to = Math.min(certificates, from + ROWS_AT_ONCE - 1);
      await send(
        `INSERT INTO certificate (not_after, issuer_id, serial, purpose, spki_hash, not_before, attempt_id, issued_at, der)
         SELECT date_trunc('second', now()) + interval '4 days', $2, ${BENCH_SERIAL_SQL}, 'operational', '\\x00', now(),
           gen_random_uuid(), now(), '\\x00' FROM generate_series($3::integer, $4::integer) AS n ORDER BY 3`,
        [hour, issuerId, from, to],
      );
    }
    if (revokedEvery !== undefined) {
      await send(
        `INSERT INTO revoked_certificate (issuer_id, serial, not_after, state, reason, revoked_at, entry_der, changed_at)
         SELECT $2, ${BENCH_SERIAL_SQL}, date_trunc('second', now()) + interval '4 days', 'revoked', 1, now(), '\\x00', now()
         FROM generate_series($3::integer, $4::integer, $3::integer) AS n`,
        [hour, issuerId, revokedEvery, certificates],
      );
    }
    await send('VACUUM ANALYZE certificate');
    await send('VACUUM ANALYZE revoked_certificate');
  } finally {
    client.release(true);
  }
}
