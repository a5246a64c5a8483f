import type { SilentUnits } from './rest-silent-units.js';

export const silentUnits: SilentUnits = {
  silentSince: async (tx, { state, before, limit }) => {
    const { rows } = await tx.query<{ id: number }>(
      `SELECT id FROM unit WHERE state = $1
         AND (last_contact_at < $2 OR (last_contact_at IS NULL AND state_changed_at < $2)) ORDER BY id LIMIT $3`,
      [state, before, limit],
    );
    return rows.map(({ id }) => id);
  },
  countServing: async (tx) => {
    const { rows } = await tx.query<{ count: number }>(
      `SELECT count(*) AS count FROM unit WHERE state IN ('ACTIVE', 'DORMANT')`,
    );
    return rows[0]?.count ?? 0;
  },
  databaseNow: async (tx) => {
    const { rows } = await tx.query<{ now: Date }>('SELECT clock_timestamp() AS now');
    return rows[0]?.now ?? new Date(0);
  },
};
