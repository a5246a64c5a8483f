import { oneOf } from '../../platform/db/set-statement.js';
import type { Transaction } from '../../platform/db/transaction.js';
import type { DueSlot, RenewalTask, TaskState, TaskStore } from './renewal.js';

const PAGE_MAX = 500;
/** A certificate whose window opened longer ago has run out and left every automatic tier: longest life and comeback. */
const LOOK_BACK_DAYS = 65;
const TRIES_MAX = 5;
const ERROR_CHARACTERS_MAX = 1_000;

const COLUMNS = `slot_id AS "slotId", unit_id AS "unitId", state, opened_at AS "openedAt", reminded_at AS "remindedAt",
  reminders, tries, last_error AS "lastError", closed_at AS "closedAt"`;

const closeFollowed = oneOf(closeTasksFollowed);

export const pgTaskStore: TaskStore = {
  findDueSlots: async (tx, { now, after, limit = PAGE_MAX }) => {
    // Keyset over the partial index on renew_from: a page costs a page, wherever the scan stands.
    const { rows } = await tx.query<DueSlot>(
      `SELECT s.id AS "slotId", s.unit_id AS "unitId", s.generation, s.renew_from AS "renewFrom",
         s.renew_until AS "renewUntil", s.not_after AS "notAfter", p.renewal_mode AS "renewalMode"
       FROM lineage_slot s
         JOIN lineage l ON l.id = s.lineage_id AND l.state = 'open'
         JOIN unit u ON u.id = s.unit_id AND u.state IN ('ACTIVE', 'DORMANT')
         JOIN profile p ON p.name = u.profile
       WHERE s.state IN ('pending', 'confirmed') AND s.renew_from <= $1
         AND s.renew_from > $1::timestamptz - make_interval(days => $2)
         AND (s.renew_from, s.id) > ($3::timestamptz, $4::bigint)
         AND NOT EXISTS (SELECT 1 FROM renewal_task t WHERE t.slot_id = s.id)
         AND NOT EXISTS (SELECT 1 FROM lineage_slot n WHERE n.lineage_id = s.lineage_id
           AND n.generation = s.generation + 1 AND n.state IN ('signing', 'pending', 'confirmed'))
       ORDER BY s.renew_from, s.id LIMIT $5`,
      [now, LOOK_BACK_DAYS, after?.renewFrom ?? '-infinity', after?.slotId ?? 0, Math.min(limit, PAGE_MAX)],
    );
    return rows;
  },

  openTask: async (tx, { slotId, unitId }, at) => {
    const { rowCount } = await tx.query(
      `INSERT INTO renewal_task (slot_id, unit_id, state, opened_at) VALUES ($1, $2, 'due', $3) ON CONFLICT DO NOTHING`,
      [slotId, unitId, at],
    );
    return rowCount === 1;
  },

  openTasks: async (tx, slots, at) => {
    const { rows } = await tx.query<{ slot_id: number }>(
      `INSERT INTO renewal_task (slot_id, unit_id, state, opened_at)
       SELECT slot_id, unit_id, 'due', $3 FROM unnest($1::bigint[], $2::integer[]) AS t (slot_id, unit_id)
       ON CONFLICT DO NOTHING RETURNING slot_id`,
      [slots.map(({ slotId }) => slotId), slots.map(({ unitId }) => unitId), at],
    );
    return rows.map(({ slot_id }) => slot_id);
  },

  task: async (tx, slotId) => {
    const { rows } = await tx.query<RenewalTask>(`SELECT ${COLUMNS} FROM renewal_task WHERE slot_id = $1`, [slotId]);
    return rows[0] ?? null;
  },

  markReminded: async (tx, slotId, at) => {
    const { rowCount } = await tx.query(
      `UPDATE renewal_task SET state = CASE WHEN state = 'due' THEN 'reminded' ELSE state END,
         reminded_at = $2, reminders = reminders + 1
       WHERE slot_id = $1 AND state IN ('due', 'reminded', 'overdue')`,
      [slotId, at],
    );
    return rowCount === 1;
  },

  markOverdue: async (tx, slotId) => {
    const { rowCount } = await tx.query(
      `UPDATE renewal_task SET state = 'overdue' WHERE slot_id = $1 AND state IN ('due', 'reminded')`,
      [slotId],
    );
    return rowCount === 1;
  },

  markPreissued: async (tx, slotId) => {
    const { rowCount } = await tx.query(
      `UPDATE renewal_task SET state = 'preissued' WHERE slot_id = $1 AND state IN ('due', 'reminded', 'overdue')`,
      [slotId],
    );
    return rowCount === 1;
  },

  markFailed: async (tx, slotId, error, at) => {
    const { rows } = await tx.query<{ state: TaskState }>(
      `UPDATE renewal_task SET tries = tries + 1, last_error = $2,
         state = CASE WHEN tries + 1 >= $3 THEN 'dead' ELSE state END,
         closed_at = CASE WHEN tries + 1 >= $3 THEN $4::timestamptz ELSE closed_at END
       WHERE slot_id = $1 AND closed_at IS NULL RETURNING state`,
      [slotId, error.slice(0, ERROR_CHARACTERS_MAX), TRIES_MAX, at],
    );
    return rows[0]?.state ?? 'done';
  },

  closeTask: async (tx, slotId, at) => {
    const { rowCount } = await tx.query(
      `UPDATE renewal_task SET state = 'done', closed_at = $2 WHERE slot_id = $1 AND state NOT IN ('done', 'dead')`,
      [slotId, at],
    );
    return rowCount === 1;
  },

  closeFollowed: (tx, follower) => closeFollowed(tx, follower),

  openTasksPage: async (tx, { states, afterSlotId, limit }) => {
    const { rows } = await tx.query<RenewalTask>(
      `SELECT ${COLUMNS} FROM renewal_task WHERE state = ANY($1) AND slot_id > $2 ORDER BY slot_id LIMIT $3`,
      [states, afterSlotId, Math.min(limit, PAGE_MAX)],
    );
    return rows;
  },
};

async function closeTasksFollowed(
  tx: Transaction,
  followers: readonly { lineageId: number; generation: number; at: Date }[],
): Promise<undefined[]> {
  await tx.query(
    `UPDATE renewal_task t SET state = 'done', closed_at = f.at
     FROM unnest($1::bigint[], $2::int[], $3::timestamptz[]) AS f(lineage_id, generation, at)
       JOIN lineage_slot s ON s.lineage_id = f.lineage_id AND s.generation = f.generation - 1
     WHERE t.slot_id = s.id AND t.state NOT IN ('done', 'dead')`,
    [
      followers.map(({ lineageId }) => lineageId),
      followers.map(({ generation }) => generation),
      followers.map(({ at }) => at),
    ],
    { preparedAs: 'tasks-followed' },
  );
  return followers.map(() => undefined);
}
