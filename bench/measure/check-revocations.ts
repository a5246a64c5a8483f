import type { Pool } from '../../src/platform/db/pool.pg.js';
import { crlEntry } from '../../src/x509/crl.js';
import type { Measurement } from '../scenario.js';

/** A speed that lost, doubled or skipped anything is worth nothing. */
export async function checkRevocations(pool: Pool, expected: number): Promise<Measurement['checks']> {
  const count = async (sql: string): Promise<number> =>
    (await pool.query<{ n: number }>(`SELECT count(*)::int AS n FROM ${sql}`)).rows[0]?.n ?? -1;
  const { rows } = await pool.query<{ serial: Buffer; revoked_at: Date; reason: number; entry_der: Buffer }>(
    'SELECT serial, revoked_at, reason, entry_der FROM revoked_certificate ORDER BY serial LIMIT 1000',
  );
  const isEntry = rows.every(({ serial, revoked_at: revokedAt, reason, entry_der: entry }) =>
    entry.equals(crlEntry({ serial, revokedAt, reason })),
  );
  const facts: readonly [string, number][] = [
    ['status rows, revoked', await count(`revoked_certificate WHERE state = 'revoked' AND reason = 5`)],
    ['units suspended, epoch raised', await count(`unit WHERE state = 'SUSPENDED' AND revocation_epoch = 1`)],
    ['rows of history', await count('unit_history')],
    [
      'entries certificate.revoked, each of another serial',
      await count(`(SELECT DISTINCT body::json->>'serial' FROM ledger_inbox WHERE kind = 'certificate.revoked') AS e`),
    ],
    ['entries certificate.revoked', await count(`ledger_inbox WHERE kind = 'certificate.revoked'`)],
    ['entries unit.state-changed', await count(`ledger_inbox WHERE kind = 'unit.state-changed'`)],
  ];
  return [
    ...facts.map(([what, n]) => ({ what: `${what}: ${n} of ${expected}`, ok: n === expected })),
    { what: `CRL entries are what the template makes: ${rows.length} looked at`, ok: isEntry && rows.length > 0 },
    { what: 'the CRL is marked', ok: (await count('crl_dirty')) === 1 },
  ];
}
