import type { CaseStore } from './case-desk.js';

export const caseStore: CaseStore = {
  upsert: async (tx, { unitId, kind, grade, at }) => {
    // xmax = 0 tells an insert from an update, so that one statement says whether the case is new.
    const { rows } = await tx.query<{ id: number; opened: boolean }>(
      `INSERT INTO incident_case (unit_id, kind, grade, state, opened_at, evidence_count)
       VALUES ($1, $2, $3, 'open', $4, 1)
       ON CONFLICT (unit_id, kind) WHERE state <> 'closed'
       DO UPDATE SET evidence_count = incident_case.evidence_count + 1,
         grade = CASE WHEN array_position(ARRAY['soft','strong','hard'], EXCLUDED.grade)
                         > array_position(ARRAY['soft','strong','hard'], incident_case.grade)
                      THEN EXCLUDED.grade ELSE incident_case.grade END
       RETURNING id, xmax = 0 AS opened`,
      [unitId, kind, grade, at],
    );
    const row = rows[0];
    if (!row) throw new Error('upsert of a case returned no row');
    return { caseId: row.id, opened: row.opened };
  },
  acknowledge: async (tx, caseId, by, at) => {
    const { rowCount } = await tx.query(
      `UPDATE incident_case SET state = 'acknowledged', acknowledged_at = $3, acknowledged_by = $2
       WHERE id = $1 AND state = 'open'`,
      [caseId, by, at],
    );
    return rowCount === 1;
  },
  subject: async (tx, caseId) => {
    const { rows } = await tx.query<{ subject: string }>(
      `SELECT coalesce('unit:' || u.serial_number, 'case:' || c.id) AS subject
       FROM incident_case c LEFT JOIN unit u ON u.id = c.unit_id WHERE c.id = $1`,
      [caseId],
    );
    return rows[0]?.subject ?? null;
  },
};
