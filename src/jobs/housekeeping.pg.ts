import type { Housekeeping } from './housekeeping.js';

/** Rows in one statement: short locks, and the next run takes the rest. */
const ROWS_A_RUN = 20_000;
/** Longest life of a certificate, 31 days, and the comeback tier: what a partition must be ready for. */
const MONTHS_AHEAD = 42;

/**
 * Decisions are kept for so many days, and go by whole days: at 300,000 units 29 million rows a day. What they showed is evidence
 * by then, and that stays. A session's permit must be found for as long as a session is believed, 31 days.
 */
const DECISION_DAYS = 90;
const DECISION_DAYS_AHEAD = 8;

/** Table, and which of its rows are over. A spent nonce outlives its validity by an hour, so that no clock revives it. */
const OVER: readonly (readonly [table: string, condition: string])[] = [
  ['nonce_spent', `expires_at < now() - interval '1 hour'`],
  // Request hashes outlive every retry that a unit may make (rules section 4).
  ['idempotency', `created_at < now() - interval '30 days'`],
  ['refusal_count', `minute < now() - interval '90 days'`],
  ['refusal_budget', `day < current_date - 90`],
  ['request_rate', `minute < now() - interval '1 hour'`],
  ['gateway_receipt', `at < now() - interval '90 days'`],
  ['decision_default', `at < now() - interval '${DECISION_DAYS} days'`],
  ['session_event', `received_at < now() - interval '90 days'`],
  ['unit_session', `seen_at < now() - interval '90 days'`],
  ['session_probe', `ends_at < now() - interval '90 days'`],
  ['traffic_hour', `hour < now() - interval '30 days'`],
  ['access_token', `expires_at < now() - interval '1 day'`],
];

/**
 * Bytes of lists that nobody may rely on any more: parts that were switched off, and the base of a delta. Their rows stay,
 * number and hashes, as those of all CRLs do: the signer's journal, which is kept, is explained by them.
 */
const SPENT_BYTES: readonly (readonly [table: string, bytes: string, end: string])[] = [
  ['crl_part', 'der', 'next_update'],
  ['crl_parts_state', 'base_der', 'base_next_update'],
];

export const housekeeping: Housekeeping = {
  purge: async (tx) => {
    const removed: Record<string, number> = {};
    for (const [table, condition] of OVER) {
      const { rowCount } = await tx.query(
        `DELETE FROM ${table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM ${table} WHERE ${condition} LIMIT ${ROWS_A_RUN}))`,
      );
      if (rowCount > 0) removed[table] = rowCount;
    }
    for (const [table, bytes, end] of SPENT_BYTES) {
      const { rowCount } = await tx.query(
        `UPDATE ${table} SET ${bytes} = NULL WHERE ${bytes} IS NOT NULL AND ${end} < now() - interval '1 day'`,
      );
      if (rowCount > 0) removed[`${table}.${bytes}`] = rowCount;
    }
    const { rows } = await tx.query<{ day: string }>(
      `SELECT drop_decision_days(now() - interval '${DECISION_DAYS} days') AS day`,
    );
    for (const { day } of rows) removed[day] = -1;
    return removed;
  },
  ensurePartitions: async (tx) => {
    await tx.query(`SELECT ensure_partitions(now() - interval '1 month', $1)`, [MONTHS_AHEAD]);
    await tx.query(`SELECT ensure_decision_days(now() + interval '1 day', $1)`, [DECISION_DAYS_AHEAD]);
  },
};
