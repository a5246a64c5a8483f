import { int4Array, int8Array, timestamptzArray } from '../../platform/db/binary-array.js';
import { oneOf } from '../../platform/db/set-statement.js';
import type { Transaction } from '../../platform/db/transaction.js';
import type { TaskState, TaskStore } from './renewal.js';

const TRIES_MAX = 5;
const ERROR_CHARACTERS_MAX = 1_000;

const closeFollowed = oneOf(closeTasksFollowed);

export const pgTaskStore: TaskStore = {
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

  closeFollowed: (tx, follower) => closeFollowed(tx, follower),
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
      int8Array(followers.map(({ lineageId }) => lineageId)),
      int4Array(followers.map(({ generation }) => generation)),
      timestamptzArray(followers.map(({ at }) => at)),
    ],
    { preparedAs: 'tasks-followed' },
  );
  return followers.map(() => undefined);
}
