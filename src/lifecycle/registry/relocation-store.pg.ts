import type { RelocationOrder, RelocationStore } from './relocation-store.js';

const ORDER = `o.id, o.unit_id AS "unitId", u.serial_number AS "serialNumber", o.line_id AS "lineId", l.name AS "lineName",
  o.state, o.reason, o.created_by AS "createdBy", o.created_at AS "createdAt", o.expires_at AS "expiresAt",
  o.closed_at AS "closedAt"`;
const TABLES = 'relocation_order o JOIN unit u ON u.id = o.unit_id JOIN line l ON l.id = o.line_id';

export const relocationStore: RelocationStore = {
  add: async (tx, { unitId, lineId, reason, createdBy, createdAt, expiresAt }) => {
    const { rows } = await tx.query<{ id: number }>(
      `INSERT INTO relocation_order (unit_id, line_id, state, reason, created_by, created_at, expires_at)
       VALUES ($1, $2, 'open', $3, $4, $5, $6) ON CONFLICT DO NOTHING RETURNING id`,
      [unitId, lineId, reason, createdBy, createdAt, expiresAt],
    );
    return rows[0]?.id ?? null;
  },
  expire: async (tx, { unitId, lineId, at }) => {
    await tx.query(
      `UPDATE relocation_order SET state = 'expired', closed_at = $3
       WHERE state = 'open' AND (unit_id = $1 OR line_id = $2) AND expires_at <= $3`,
      [unitId, lineId, at],
    );
  },
  open: async (tx, { unitId, lineId, at }) => {
    const { rows } = await tx.query<RelocationOrder>(
      `SELECT ${ORDER} FROM ${TABLES}
       WHERE o.state = 'open' AND o.unit_id = $1 AND o.line_id = $2 AND o.expires_at > $3 FOR NO KEY UPDATE OF o`,
      [unitId, lineId, at],
    );
    return rows[0] ?? null;
  },
  close: async (tx, { id, state, at }) => {
    const { rowCount } = await tx.query(
      `UPDATE relocation_order SET state = $2, closed_at = $3 WHERE id = $1 AND state = 'open'`,
      [id, state, at],
    );
    return rowCount === 1;
  },
  openOf: async (tx, unitId) => {
    const { rows } = await tx.query<RelocationOrder>(
      `SELECT ${ORDER} FROM ${TABLES} WHERE o.state = 'open' AND o.unit_id = $1`,
      [unitId],
    );
    return rows[0] ?? null;
  },
  list: async (tx, { unitId, limit }) =>
    (
      await tx.query<RelocationOrder>(
        `SELECT ${ORDER} FROM ${TABLES} WHERE $1::int IS NULL OR o.unit_id = $1 ORDER BY o.id DESC LIMIT $2`,
        [unitId ?? null, limit],
      )
    ).rows,
};
