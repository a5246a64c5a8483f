import type { MacSecret, MacSecretStore } from './mac-secret.js';

export const macSecretStore: MacSecretStore = {
  find: async (tx, reference) => {
    const { rows } = await tx.query<MacSecret>(
      `SELECT reference, unit_id AS "unitId", state, created_by AS "createdBy", created_at AS "createdAt",
         expires_at AS "expiresAt", spent_at AS "spentAt"
       FROM mac_secret WHERE reference = $1`,
      [reference],
    );
    return rows[0] ?? null;
  },

  open: async (tx, { reference, unitId, createdBy, createdAt, expiresAt }) => {
    await tx.query(`UPDATE mac_secret SET state = 'withdrawn' WHERE unit_id = $1 AND state = 'open'`, [unitId]);
    await tx.query(
      `INSERT INTO mac_secret (reference, unit_id, state, created_by, created_at, expires_at)
       VALUES ($1, $2, 'open', $3, $4, $5)`,
      [reference, unitId, createdBy, createdAt, expiresAt],
    );
  },

  spend: async (tx, { reference, at, spentBefore }) => {
    const { rowCount } = await tx.query(
      `UPDATE mac_secret SET state = 'spent', spent_at = $2
       WHERE reference = $1 AND expires_at > $2 AND (state = 'open' OR (state = 'spent' AND spent_at < $3))`,
      [reference, at, spentBefore],
    );
    return rowCount === 1;
  },
};
