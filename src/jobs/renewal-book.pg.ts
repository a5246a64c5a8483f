import type { OpenWork, RenewalBook, TaskNote } from './renewal-book.js';

/** What is told about a task; `t` renewal_task, `s` lineage_slot, `u` unit. */
const NOTE = `t.slot_id AS "slotId", u.serial_number AS "unitSerialNumber", s.generation, s.renew_until AS "renewUntil",
  s.not_after AS "notAfter", t.reminders`;

/** A successor that is being made or was made answers the reminder. */
const HAS_SUCCESSOR = `EXISTS (SELECT 1 FROM lineage_slot n WHERE n.lineage_id = s.lineage_id
  AND n.generation = s.generation + 1 AND n.state IN ('signing', 'pending', 'confirmed'))`;

export const renewalBook: RenewalBook = {
  closeSettled: async (tx, at) => {
    const { rowCount } = await tx.query(
      `UPDATE renewal_task t SET state = 'done', closed_at = $1
       FROM lineage_slot s JOIN lineage l ON l.id = s.lineage_id JOIN unit u ON u.id = s.unit_id
       WHERE s.id = t.slot_id AND t.state IN ('due', 'reminded', 'overdue', 'preissued')
         AND (l.state = 'closed' OR s.state = 'displaced' OR u.state NOT IN ('ACTIVE', 'DORMANT')
           OR EXISTS (SELECT 1 FROM lineage_slot n WHERE n.lineage_id = s.lineage_id
                      AND n.generation = s.generation + 1 AND n.state = 'confirmed'))`,
      [at],
    );
    return rowCount;
  },

  markOverdue: async (tx, at, limit) => {
    const { rows } = await tx.query<TaskNote>(
      `UPDATE renewal_task t SET state = 'overdue'
       FROM lineage_slot s JOIN unit u ON u.id = s.unit_id
       WHERE s.id = t.slot_id AND t.state IN ('due', 'reminded') AND t.slot_id IN (
         SELECT o.slot_id FROM renewal_task o JOIN lineage_slot s ON s.id = o.slot_id
         WHERE o.state IN ('due', 'reminded') AND s.renew_until <= $1 AND NOT ${HAS_SUCCESSOR}
         ORDER BY o.slot_id LIMIT $2 FOR UPDATE OF o SKIP LOCKED)
       RETURNING ${NOTE}`,
      [at, limit],
    );
    return rows;
  },

  needingWork: async (tx, { afterSlotId, remindedBefore, limit }) => {
    const { rows } = await tx.query<OpenWork>(
      `SELECT t.slot_id AS "slotId", p.renewal_mode AS "renewalMode"
       FROM renewal_task t JOIN lineage_slot s ON s.id = t.slot_id JOIN unit u ON u.id = t.unit_id
         JOIN profile p ON p.name = u.profile
       WHERE t.state IN ('due', 'reminded', 'overdue') AND t.slot_id > $1
         AND (t.reminded_at IS NULL OR t.reminded_at < $2) AND NOT ${HAS_SUCCESSOR}
       ORDER BY t.slot_id LIMIT $3`,
      [afterSlotId, remindedBefore, limit],
    );
    return rows;
  },

  markReminded: async (tx, { slotIds, at, remindedBefore }) => {
    const { rows } = await tx.query<TaskNote>(
      `UPDATE renewal_task t SET state = CASE WHEN t.state = 'due' THEN 'reminded' ELSE t.state END,
         reminded_at = $2, reminders = t.reminders + 1
       FROM lineage_slot s JOIN unit u ON u.id = s.unit_id
       WHERE s.id = t.slot_id AND t.slot_id = ANY($1::bigint[]) AND t.state IN ('due', 'reminded', 'overdue')
         AND (t.reminded_at IS NULL OR t.reminded_at < $3) AND NOT ${HAS_SUCCESSOR}
       RETURNING ${NOTE}`,
      [slotIds, at, remindedBefore],
    );
    return rows;
  },
};
