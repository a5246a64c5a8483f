import type { EvidenceStore, StrongKind } from './weigh-facts.js';

export const evidenceStore: EvidenceStore = {
  add: async (tx, row) => {
    const { rows } = await tx.query<{ id: number }>(
      `INSERT INTO evidence (at, code, grade, unit_id, subject, facts, case_id) VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id`,
      [row.at, row.code, row.grade, row.unitId, row.subject, JSON.stringify(row.facts), row.caseId],
    );
    const [added] = rows;
    if (added === undefined) throw new Error('evidence has no row');
    return added.id;
  },
  strongSince: async (tx, unitId, since) => {
    const { rows } = await tx.query<StrongKind>(
      `SELECT kind, coalesce(array_agg(DISTINCT gateway) FILTER (WHERE gateway IS NOT NULL), '{}') AS gateways FROM (
         SELECT coalesce(facts::jsonb ->> 'restsOn', code) AS kind, facts::jsonb -> 'gateways' AS named
         FROM evidence WHERE unit_id = $1 AND at >= $2 AND grade = 'strong') AS strong
       LEFT JOIN LATERAL jsonb_array_elements_text(named) AS g(gateway) ON true
       GROUP BY kind ORDER BY kind`,
      [unitId, since],
    );
    return rows;
  },
  settle: async (tx, evidenceId, { onTheWordOf, capped }) => {
    await tx.query(
      `UPDATE evidence SET quarantined_on_word_of = $2,
         facts = (facts::jsonb || jsonb_build_object('capped', $3::boolean))::text WHERE id = $1`,
      [evidenceId, capped ? [] : onTheWordOf, capped],
    );
  },
  quarantinesOnTheWordOf: async (tx, gateways, since) => {
    const { rows } = await tx.query<{ units: number }>(
      `SELECT coalesce(max(units), 0)::int AS units FROM (
         SELECT count(DISTINCT e.unit_id) AS units FROM evidence e CROSS JOIN LATERAL unnest(e.quarantined_on_word_of) AS g(name)
         WHERE ${ON_THEIR_WORD} AND e.at >= $1 AND g.name = ANY($2::text[]) GROUP BY g.name) AS counts`,
      [since, gateways],
    );
    return rows[0]?.units ?? 0;
  },
  quarantinesOfModel: async (tx, model, since) => {
    const { rows } = await tx.query<{ units: number }>(
      `SELECT count(DISTINCT e.unit_id)::int AS units FROM evidence e JOIN unit u ON u.id = e.unit_id
       WHERE ${ON_THEIR_WORD} AND e.at >= $1 AND u.model = $2`,
      [since, model],
    );
    return rows[0]?.units ?? 0;
  },
};

/** As the partial index evidence_on_word_of has it. */
const ON_THEIR_WORD = `e.quarantined_on_word_of <> '{}'`;
