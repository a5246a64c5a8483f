import type { InstallationRow } from './installation-switches.js';

export const installationRow: InstallationRow = {
  setFrozen: async (tx, frozen) => {
    await tx.query('UPDATE installation SET admission_frozen = $1 WHERE id = 1', [frozen]);
  },
};
