import type { UnknownAlarm, UnknownAlarmStore, UnknownAttempt } from './unknown-alarm.js';

const ALARM = `id, state, opened_at AS "openedAt", last_at AS "lastAt", attempts, acknowledged_by AS "acknowledgedBy",
  acknowledged_at AS "acknowledgedAt"`;

export const unknownAlarmStore: UnknownAlarmStore = {
  list: async (tx, limit) =>
    (await tx.query<UnknownAlarm>(`SELECT ${ALARM} FROM unknown_alarm ORDER BY id DESC LIMIT $1`, [limit])).rows,
  byId: async (tx, id) =>
    (await tx.query<UnknownAlarm>(`SELECT ${ALARM} FROM unknown_alarm WHERE id = $1`, [id])).rows[0] ?? null,
  members: async (tx, id, limit) =>
    (
      await tx.query<UnknownAttempt>(
        `SELECT d.at, m.name AS gateway, d.stage, host(d.address) AS address, encode(d.serial, 'hex') AS serial, d.reasons
         FROM decision d LEFT JOIN machine m ON m.id = d.gateway_id
         WHERE d.alarm_id = $1 ORDER BY d.id LIMIT $2`,
        [id, limit],
      )
    ).rows,
  acknowledge: async (tx, { id, by, at }) => {
    const { rowCount } = await tx.query(
      `UPDATE unknown_alarm SET state = 'acknowledged', acknowledged_by = $2, acknowledged_at = $3
       WHERE id = $1 AND state <> 'acknowledged'`,
      [id, by, at],
    );
    return rowCount === 1;
  },
};
