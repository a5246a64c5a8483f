import { byteaArray, textArray, timestamptzArray } from '../../platform/db/binary-array.js';
import { oneOf } from '../../platform/db/set-statement.js';
import type { Transaction } from '../../platform/db/transaction.js';
import type { Admission, AdmissionRequest, RenewalStore, SlotWindow } from './renewal-store.js';

interface AdmissionRow {
  n: number;
  requests: number;
  nonce_fresh: boolean;
  key_claimed: boolean;
  known_hash: Buffer | null;
}

/**
 * One round trip on the hot path, for all that ask at the same time: counter, nonce and key are rows of three small tables,
 * each insert its own guard. Rows in order of their keys, so that two sets which cross wait for each other instead of
 * deadlocking.
 */
const ADMIT = `
  WITH asked AS (
    SELECT a.*, date_trunc('minute', a.at) AS minute
    FROM unnest($1::text[], $2::bytea[], $3::timestamptz[], $4::bytea[], $5::timestamptz[], $6::text[], $7::bytea[])
      WITH ORDINALITY AS a(operation, credential, at, nonce, expires_at, key, request_hash, n)
  ), rate AS (
    INSERT INTO request_rate (scope, credential, minute, count)
    SELECT operation, credential, minute, count(*) FROM asked GROUP BY minute, operation, credential
    ORDER BY minute, operation, credential
    ON CONFLICT (minute, scope, credential) DO UPDATE SET count = request_rate.count + EXCLUDED.count
    RETURNING scope, credential, minute, count
  ), nonce AS (
    INSERT INTO nonce_spent (nonce_hash, expires_at)
    SELECT nonce, expires_at FROM asked WHERE nonce IS NOT NULL ORDER BY nonce, n
    ON CONFLICT DO NOTHING RETURNING nonce_hash
  ), claimed AS (
    INSERT INTO idempotency (credential, operation, key, request_hash, created_at)
    SELECT credential, operation, key, request_hash, at FROM asked WHERE key IS NOT NULL
    ORDER BY credential, operation, key, n
    ON CONFLICT DO NOTHING RETURNING credential, operation, key
  )
  SELECT a.n::int AS n, rate.count AS requests,
    a.nonce IS NULL OR EXISTS (SELECT 1 FROM nonce WHERE nonce.nonce_hash = a.nonce) AS nonce_fresh,
    a.key IS NOT NULL AND EXISTS (SELECT 1 FROM claimed c
      WHERE c.credential = a.credential AND c.operation = a.operation AND c.key = a.key) AS key_claimed,
    (SELECT i.request_hash FROM idempotency i
      WHERE i.credential = a.credential AND i.operation = a.operation AND i.key = a.key) AS known_hash
  FROM asked a JOIN rate ON rate.scope = a.operation AND rate.credential = a.credential AND rate.minute = a.minute
  ORDER BY a.n`;

const admit = oneOf(admitAll);

export const pgRenewalStore: RenewalStore = {
  admit: (tx, request) => admit(tx, request),

  windowOf: async (tx, slotId) => {
    const { rows } = await tx.query<SlotWindow>(
      `SELECT s.lineage_id AS "lineageId", u.serial_number AS "serialNumber", s.not_before AS "notBefore",
         s.not_after AS "notAfter", s.renew_until AS "renewUntil"
       FROM lineage_slot s JOIN unit u ON u.id = s.unit_id WHERE s.id = $1`,
      [slotId],
    );
    return rows[0] ?? null;
  },

  moveWindows: async (tx, moves) => {
    // The marker moves with the window: one a slot, so the old one goes wherever it stands.
    const { rows } = await tx.query<{ id: number }>(
      `WITH old AS (
         SELECT s.id, s.renew_from AS was_from, t.next_at, m.renew_from, m.renew_until
         FROM unnest($1::bigint[], $2::timestamptz[], $3::timestamptz[]) AS m(slot_id, renew_from, renew_until)
           JOIN lineage_slot s ON s.id = m.slot_id AND s.state IN ('pending', 'confirmed')
           LEFT JOIN renewal_task t ON t.slot_id = s.id
       ), gone AS (
         DELETE FROM renewal_due d USING old
         WHERE d.slot_id = old.id AND d.due_at IN (old.was_from, old.next_at) AND d.due_at <> old.renew_from
       ), due AS (
         INSERT INTO renewal_due (due_at, slot_id) SELECT renew_from, id FROM old ON CONFLICT DO NOTHING
       ), told AS (
         UPDATE renewal_task t SET next_at = NULL FROM old WHERE t.slot_id = old.id
       )
       UPDATE lineage_slot s SET renew_from = old.renew_from, renew_until = old.renew_until FROM old
       WHERE s.id = old.id AND s.state IN ('pending', 'confirmed') RETURNING s.id`,
      [
        moves.map(({ slotId }) => slotId),
        moves.map(({ renewFrom }) => renewFrom),
        moves.map(({ renewUntil }) => renewUntil),
      ],
    );
    return rows.map(({ id }) => id);
  },
};

async function admitAll(tx: Transaction, requests: readonly AdmissionRequest[]): Promise<Admission[]> {
  const { rows } = await tx.query<AdmissionRow>(
    ADMIT,
    [
      textArray(requests.map(({ operation }) => operation)),
      byteaArray(requests.map(({ credential }) => credential)),
      timestamptzArray(requests.map(({ at }) => at)),
      byteaArray(requests.map(({ nonce }) => nonce?.hash ?? null)),
      timestamptzArray(requests.map(({ nonce }) => nonce?.expiresAt ?? null)),
      textArray(requests.map(({ idempotencyKey }) => idempotencyKey)),
      byteaArray(requests.map(({ requestHash }) => requestHash)),
    ],
    { preparedAs: 'renewal-admit' },
  );
  const nonces = new Set<string>();
  const claims = new Map<string, Buffer>();
  const admissions: Admission[] = [];
  for (const [index, request] of requests.entries()) {
    const row = rows[index];
    if (row === undefined) throw new Error('the admission statement gave no row');
    admissions.push({
      requests: row.requests,
      nonceFresh: row.nonce_fresh && isFirst(nonces, request.nonce?.hash),
      key: await keyState(tx, request, row, claims),
    });
  }
  return admissions;
}

/** The same nonce twice in one set was spent by the first. */
function isFirst(seen: Set<string>, nonceHash: Buffer | undefined): boolean {
  const name = nonceHash?.toString('latin1');
  if (name === undefined) return true;
  const isNew = !seen.has(name);
  seen.add(name);
  return isNew;
}

/** @param claims  what the set claimed so far: the same key twice in it belongs to the first */
async function keyState(
  tx: Transaction,
  { credential, operation, idempotencyKey, requestHash }: AdmissionRequest,
  row: AdmissionRow,
  claims: Map<string, Buffer>,
): Promise<Admission['key']> {
  if (idempotencyKey === null) return 'none';
  const name = `${operation}/${idempotencyKey}/${credential.toString('latin1')}`;
  const earlier = claims.get(name);
  if (row.key_claimed && earlier === undefined) {
    claims.set(name, requestHash);
    return 'claimed';
  }
  let known = earlier ?? row.known_hash;
  if (known === null) {
    // A concurrent request committed the key after this statement's snapshot.
    const later = await tx.query<{ request_hash: Buffer }>(
      'SELECT request_hash FROM idempotency WHERE credential = $1 AND operation = $2 AND key = $3',
      [credential, operation, idempotencyKey],
    );
    known = later.rows[0]?.request_hash ?? null;
  }
  return known?.equals(requestHash) === true ? 'same' : 'other';
}
