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
};
