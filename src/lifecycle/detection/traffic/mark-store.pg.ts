import type { MarkStore } from './traffic-store.js';

export const markStore: MarkStore = {
  lookedUntil: async (tx) => {
    const { rows } = await tx.query<{ at: Date }>('SELECT looked_until AS at FROM traffic_mark');
    return rows[0]?.at ?? new Date(0);
  },

  moveMark: async (tx, until) => {
    await tx.query('UPDATE traffic_mark SET looked_until = $1', [until]);
  },

  raise: async (tx, findings) => {
    const raised: Awaited<ReturnType<MarkStore['raise']>> = [];
    for (const { rule, subject, unitId, grade, firstAt, lastAt, words, facts, gateways, raw } of findings) {
      const { rows } = await tx.query<(typeof raised)[number]>(
        `WITH old AS (SELECT grade FROM traffic_alarm
           WHERE rule = $1 AND subject = $2 AND day = ($6::timestamptz AT TIME ZONE 'UTC')::date)
         INSERT INTO traffic_alarm AS a (rule, subject, unit_id, grade, first_at, last_at, day, words, facts, decision_id, decision_at)
         VALUES ($1, $2, $3, $4, $5, $6, ($6::timestamptz AT TIME ZONE 'UTC')::date, $7, $8, $9::bigint[], $10::timestamptz[])
         ON CONFLICT (rule, subject, day) DO UPDATE SET
           grade = EXCLUDED.grade, first_at = least(a.first_at, EXCLUDED.first_at), last_at = greatest(a.last_at, EXCLUDED.last_at),
           words = EXCLUDED.words, facts = EXCLUDED.facts, decision_id = EXCLUDED.decision_id, decision_at = EXCLUDED.decision_at
           -- What weighed more that day stands as it was said.
           WHERE array_position(${GRADES}, EXCLUDED.grade) >= array_position(${GRADES}, a.grade)
         RETURNING a.id, (SELECT grade FROM old) AS before`,
        [
          rule,
          subject,
          unitId,
          grade,
          firstAt,
          lastAt,
          words,
          JSON.stringify({ ...facts, gateways }),
          raw.map(({ id }) => id),
          raw.map(({ at }) => at),
        ],
      );
      raised.push(rows[0] ?? { id: 0, before: 'hard' });
    }
    return raised;
  },
};

const GRADES = `ARRAY['soft','strong','hard']`;
