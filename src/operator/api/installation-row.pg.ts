import type { InstallationRow } from './installation-switches.js';

export const installationRow: InstallationRow = {
  setFrozen: async (tx, frozen) => {
    await tx.query('UPDATE installation SET admission_frozen = $1 WHERE id = 1', [frozen]);
  },
  setModelFrozen: async (tx, frozen, { model, actor, reason, at }) => {
    if (!frozen) await tx.query('DELETE FROM model_freeze WHERE model = $1', [model]);
    else
      await tx.query(
        `INSERT INTO model_freeze (model, reason, frozen_by, frozen_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
        [model, reason, actor, at],
      );
  },
};
