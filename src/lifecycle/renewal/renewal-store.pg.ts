import type { RenewalStore, SlotWindow } from './renewal-store.js';

interface AdmissionRow {
  requests: number;
  nonce_fresh: boolean;
  key_claimed: boolean;
  known_hash: Buffer | null;
}

/** One round trip on the hot path: counter, nonce and key are rows of three small tables, each insert its own guard. */
const ADMIT = `
  WITH rate AS (
    INSERT INTO request_rate (scope, credential, minute, count) VALUES ($1, $2, date_trunc('minute', $3::timestamptz), 1)
    ON CONFLICT (minute, scope, credential) DO UPDATE SET count = request_rate.count + 1 RETURNING count
  ), nonce AS (
    INSERT INTO nonce_spent (nonce_hash, expires_at) SELECT $4::bytea, $5::timestamptz WHERE $4::bytea IS NOT NULL
    ON CONFLICT DO NOTHING RETURNING 1
  ), claimed AS (
    INSERT INTO idempotency (credential, operation, key, request_hash, created_at)
    SELECT $2, $1, $6::text, $7, $3 WHERE $6::text IS NOT NULL
    ON CONFLICT DO NOTHING RETURNING 1
  )
  SELECT (SELECT count FROM rate) AS requests,
    $4::bytea IS NULL OR EXISTS (SELECT 1 FROM nonce) AS nonce_fresh,
    EXISTS (SELECT 1 FROM claimed) AS key_claimed,
    (SELECT request_hash FROM idempotency WHERE credential = $2 AND operation = $1 AND key = $6) AS known_hash`;

export const pgRenewalStore: RenewalStore = {
  admit: async (tx, { credential, operation, idempotencyKey, requestHash, nonce, at }) => {
    const { rows } = await tx.query<AdmissionRow>(ADMIT, [
      operation,
      credential,
      at,
      nonce?.hash ?? null,
      nonce?.expiresAt ?? null,
      idempotencyKey,
      requestHash,
    ]);
    const [row] = rows;
    if (row === undefined) throw new Error('the admission statement gave no row');
    let known = row.known_hash;
    if (idempotencyKey !== null && !row.key_claimed && known === null) {
      // A concurrent request committed the key after this statement's snapshot.
      const later = await tx.query<{ request_hash: Buffer }>(
        'SELECT request_hash FROM idempotency WHERE credential = $1 AND operation = $2 AND key = $3',
        [credential, operation, idempotencyKey],
      );
      known = later.rows[0]?.request_hash ?? null;
    }
    return {
      requests: row.requests,
      nonceFresh: row.nonce_fresh,
      key: keyState(idempotencyKey, row.key_claimed, known, requestHash),
    };
  },

  windowOf: async (tx, slotId) => {
    const { rows } = await tx.query<SlotWindow>(
      `SELECT s.lineage_id AS "lineageId", u.serial_number AS "serialNumber", s.not_before AS "notBefore",
         s.not_after AS "notAfter", s.renew_until AS "renewUntil"
       FROM lineage_slot s JOIN unit u ON u.id = s.unit_id WHERE s.id = $1`,
      [slotId],
    );
    return rows[0] ?? null;
  },

  moveWindow: async (tx, { slotId, renewFrom, renewUntil }) => {
    const { rowCount } = await tx.query(
      `UPDATE lineage_slot SET renew_from = $2, renew_until = $3 WHERE id = $1 AND state IN ('pending', 'confirmed')`,
      [slotId, renewFrom, renewUntil],
    );
    return rowCount === 1;
  },
};

function keyState(key: string | null, claimed: boolean, known: Buffer | null, requestHash: Buffer) {
  if (key === null) return 'none';
  if (claimed) return 'claimed';
  return known?.equals(requestHash) === true ? 'same' : 'other';
}
