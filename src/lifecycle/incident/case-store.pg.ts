import type { CaseRow, CaseStore } from './case-desk.js';

const SUBJECT = `coalesce('unit:' || u.serial_number, 'case:' || c.id) AS subject`;

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

  find: async (tx, caseId) => {
    const { rows } = await tx.query<CaseRow>(
      `SELECT ${SUBJECT}, c.state, c.aware_at AS "awareAt"
       FROM incident_case c LEFT JOIN unit u ON u.id = c.unit_id WHERE c.id = $1 FOR UPDATE OF c`,
      [caseId],
    );
    return rows[0] ?? null;
  },

  acknowledge: async (tx, caseId, by, at) => {
    const { rowCount } = await tx.query(
      `UPDATE incident_case SET state = 'acknowledged', acknowledged_at = $3, acknowledged_by = $2
       WHERE id = $1 AND state = 'open'`,
      [caseId, by, at],
    );
    return rowCount === 1;
  },

  setAware: async (tx, caseId, by, at) => {
    await tx.query('UPDATE incident_case SET aware_at = $3, aware_by = $2 WHERE id = $1', [caseId, by, at]);
  },

  unheeded: async (tx, openedBefore) => {
    // Time runs from the hard evidence; a case that began with less may have been open for long.
    const { rows } = await tx.query<{ id: number; subject: string; openedAt: Date }>(
      `SELECT * FROM (
         SELECT c.id, ${SUBJECT}, coalesce((SELECT min(e.at) FROM evidence e WHERE e.case_id = c.id AND e.grade = 'hard'),
           c.opened_at) AS "openedAt"
         FROM incident_case c LEFT JOIN unit u ON u.id = c.unit_id
         WHERE c.state = 'open' AND c.grade = 'hard' AND c.aware_at IS NULL ORDER BY c.id FOR UPDATE OF c SKIP LOCKED) AS hard
       WHERE "openedAt" <= $1 ORDER BY id LIMIT 100`,
      [openedBefore],
    );
    return rows;
  },

  addEvent: async (tx, caseId, { kind, by, note, at }) => {
    await tx.query('INSERT INTO case_event (case_id, at, kind, actor, note) VALUES ($1, $2, $3, $4, $5)', [
      caseId,
      at,
      kind,
      by,
      note,
    ]);
  },

  addDuties: async (tx, caseId, owed) => {
    await tx.query(
      `INSERT INTO case_duty (case_id, pack, duty, began_at, due_at)
       SELECT $1, d.* FROM unnest($2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[]) AS d(pack, duty, began_at, due_at)`,
      [
        caseId,
        owed.map(({ pack }) => pack),
        owed.map(({ duty }) => duty),
        owed.map(({ beganAt }) => beganAt),
        owed.map(({ dueAt }) => dueAt),
      ],
    );
  },

  settleDuty: async (tx, caseId, duty, { by, receipt, at }) => {
    const { rowCount } = await tx.query(
      `UPDATE case_duty SET done_at = $3, done_by = $4, receipt = $5 WHERE id = (
         SELECT id FROM case_duty WHERE case_id = $1 AND duty = $2 AND done_at IS NULL ORDER BY due_at, id LIMIT 1)`,
      [caseId, duty, at, by, receipt],
    );
    return rowCount === 1;
  },

  owed: async (tx, caseId) => {
    const { rows } = await tx.query<{ duty: string }>(
      'SELECT duty FROM case_duty WHERE case_id = $1 AND done_at IS NULL ORDER BY due_at, id',
      [caseId],
    );
    return rows.map(({ duty }) => duty);
  },

  close: async (tx, caseId, at) => {
    await tx.query(`UPDATE incident_case SET state = 'closed', closed_at = $2 WHERE id = $1`, [caseId, at]);
  },
};
