import { openPool } from '../../src/platform/db/pool.pg.js';
import { crlEntry } from '../../src/x509/crl.js';
import type { TestDatabase } from '../../test/support/database.js';

const ROWS_AT_ONCE = 250_000;
const SAMPLE_SERIAL = Buffer.from('01fedcba9876543210fedcba98765432', 'hex');

/**
 * Certificates revoked with a reason, with their ready entries, in the order in which chance would have them revoked: of a
 * whole fleet, and no neighbours in the list.
 */
export async function fillRevoked(
  db: Pick<TestDatabase, 'url'>,
  { issuerIds, certificates }: { issuerIds: readonly number[]; certificates: number },
): Promise<void> {
  const revokedAt = new Date(Math.floor(Date.now() / 1_000) * 1_000);
  const entry = crlEntry({ serial: SAMPLE_SERIAL, revokedAt, reason: 'keyCompromise' });
  const at = entry.indexOf(SAMPLE_SERIAL);
  const around = [entry.subarray(0, at), entry.subarray(at + SAMPLE_SERIAL.length)];
  const hour = Math.floor(Date.now() / 3_600_000) - 72;
  // Filling takes longer than any statement of the product may.
  const pool = openPool(db.url, { applicationName: 'bench', connectionsMax: 1, statementTimeoutMs: 0 });
  try {
    for (let from = 0; from < certificates; from += ROWS_AT_ONCE) {
      await pool.query(
        `INSERT INTO revoked_certificate (issuer_id, serial, not_after, state, reason, revoked_at, entry_der, changed_at)
         SELECT ($1::smallint[])[1 + n % array_length($1::smallint[], 1)], serial, date_trunc('second', now()) + interval '4 days',
           'revoked', 1, $2, $3::bytea || serial || $4::bytea, $2
         FROM generate_series($5::integer, $6::integer) AS n, LATERAL (
           SELECT '\\x01'::bytea || int4send($7::integer + n % 72) || substr(sha256(n::text::bytea), 1, 11) AS serial) AS s`,
        [issuerIds, revokedAt, ...around, from, Math.min(certificates, from + ROWS_AT_ONCE) - 1, hour],
      );
    }
    await pool.query('VACUUM ANALYZE revoked_certificate');
  } finally {
    await pool.end();
  }
}
