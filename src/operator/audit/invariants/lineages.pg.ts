import { type Invariant, violationsOf } from './invariant.js';

export const LINEAGE_INVARIANTS: readonly Invariant[] = [
  {
    id: 6,
    name: 'generations have no gaps, one head, at most one pending',
    check: ({ tx }) =>
      violationsOf(tx, 'SELECT count(*) AS n FROM lineage', {
        sql: `WITH taken AS (
                SELECT lineage_id, generation, bool_or(state IN ('signing', 'pending', 'confirmed')) AS standing,
                  count(*) FILTER (WHERE state IN ('signing', 'pending', 'confirmed')) AS claims,
                  count(*) FILTER (WHERE state = 'pending') AS pending
                FROM lineage_slot WHERE state <> 'abandoned' GROUP BY lineage_id, generation
              ), shape AS (
                SELECT lineage_id, count(*) AS generations, max(generation) AS last, max(claims) AS claims,
                  sum(pending) AS pending, max(generation) FILTER (WHERE pending > 0) AS pending_generation
                FROM taken GROUP BY lineage_id
              )
              SELECT lineage_id, generations, last, claims, pending, pending_generation FROM shape
              WHERE generations <> last OR claims > 1 OR pending > 1
                OR (pending_generation IS NOT NULL AND pending_generation < last - 1)`,
        says: ({ lineage_id, generations, last, claims, pending }) =>
          `lineage ${lineage_id} has ${generations} generations up to ${last}, ${claims} claims of one, ${pending} pending`,
      }),
  },
];
