import type { EvidenceStore } from './weigh-facts.js';

export const evidenceStore: EvidenceStore = {
  add: async (tx, row) => {
    await tx.query(
      `INSERT INTO evidence (at, code, grade, unit_id, subject, facts, case_id) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
      [row.at, row.code, row.grade, row.unitId, row.subject, JSON.stringify(row.facts), row.caseId],
    );
  },
  strongCodesSince: async (tx, unitId, since) => {
    const { rows } = await tx.query<{ code: string }>(
      `SELECT DISTINCT code FROM evidence WHERE unit_id = $1 AND at >= $2 AND grade = 'strong'`,
      [unitId, since],
    );
    return rows.map(({ code }) => code);
  },
  quarantinesOnTheWordOf: async (tx, gateways, since) => {
    const { rows } = await tx.query<{ units: number }>(
      `SELECT coalesce(max(units), 0)::int AS units FROM (
         SELECT count(DISTINCT e.unit_id) AS units FROM evidence e, jsonb_array_elements_text(e.facts::jsonb -> 'gateways') AS g(name)
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

/** As the partial index evidence_on_their_word has it. */
const ON_THEIR_WORD = `e.code = 'CONCURRENT_USE' AND e.grade = 'hard'`;
