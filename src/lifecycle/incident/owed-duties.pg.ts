import type { OwedDutyReader } from './remind.js';

export const owedDutyReader: OwedDutyReader = {
  owed: async (tx, dueBefore) => {
    const { rows } = await tx.query<{ id: number; caseId: number; duty: string; dueAt: Date }>(
      `SELECT id, case_id AS "caseId", duty, due_at AS "dueAt" FROM case_duty
       WHERE done_at IS NULL AND due_at <= $1 ORDER BY due_at, id LIMIT 1000`,
      [dueBefore],
    );
    return rows;
  },
};
