import type { Transaction } from '../../platform/db/transaction.js';
import { entriesFrom } from '../../platform/ledger/entries-from.pg.js';
import type { UnitStore } from './unit-store.js';

/**
 * One version of each unit, its history and its entry, in one statement: a batch of ten thousand is not sent here and back.
 * Locked in id order first: two sets that overlap wait for each other instead of deadlocking. The list is named again in the
 * update, or two thousand units would be joined with a scan of all.
 */
export async function moveStates(
  tx: Transaction,
  move: Parameters<UnitStore['moveStates']>[1],
): Promise<readonly number[]> {
  const { unitIds, from, to, actor, reason, evidence, at } = move;
  const params: unknown[] = [unitIds, from, to, reason, at, actor, evidence];
  const entries = entriesFrom('history_of ORDER BY id', move.entry, { unitId: 'id::text', from: '"from"' }, params);
  const { rows } = await tx.query<{ moved: number[] | null }>(
    `WITH locked AS MATERIALIZED (
       SELECT id, state, serial_number FROM unit WHERE id = ANY($1::int[]) ORDER BY id FOR NO KEY UPDATE),
     changed AS (
       UPDATE unit SET revocation_epoch = revocation_epoch + 1,
         state = CASE WHEN locked.state = ANY($2::text[]) THEN $3 ELSE locked.state END,
         state_reason = CASE WHEN locked.state = ANY($2) THEN $4 ELSE state_reason END,
         state_changed_at = CASE WHEN locked.state = ANY($2) THEN $5 ELSE state_changed_at END
       FROM locked WHERE unit.id = ANY($1) AND unit.id = locked.id
       RETURNING unit.id, locked.state AS "from", 'unit:' || locked.serial_number AS subject),
     history_of AS (SELECT id, "from", subject FROM changed WHERE "from" = ANY($2)),
     history AS (
       INSERT INTO unit_history (unit_id, from_state, to_state, actor, reason, evidence, at)
       SELECT id, "from", $3, $6, $4, $7, $5 FROM history_of ORDER BY id),
     entries AS (${entries})
     SELECT array_agg(id) AS moved FROM history_of`,
    params,
  );
  return rows[0]?.moved ?? [];
}
