import type { Transaction } from '../../platform/db/transaction.js';
import type { LineageSlot } from '../model/index.js';
import type { Lineage } from './lineage.js';
import type { LineageStore } from './lineage-store.js';

const SLOT = `id, lineage_id AS "lineageId", unit_id AS "unitId", generation, state, spki_hash AS "spkiHash",
  issuer_id AS "issuerId", serial, not_before AS "notBefore", not_after AS "notAfter", attempt_id AS "attemptId",
  preissued, renew_from AS "renewFrom", renew_until AS "renewUntil", created_at AS "createdAt",
  confirmed_at AS "confirmedAt", displaced_at AS "displacedAt"`;

const LINEAGE = `id, unit_id AS "unitId", state, opened_at AS "openedAt", closed_at AS "closedAt",
  close_reason AS "closeReason", token_hash AS "tokenHash", last_soft_at AS "lastSoftAt"`;

export const lineageStore: LineageStore = {
  slotBySerial: (tx, issuerId, serial) =>
    one<LineageSlot>(tx, `SELECT ${SLOT} FROM lineage_slot WHERE issuer_id = $1 AND serial = $2`, [issuerId, serial]),
  slotsByKey: async (tx, spkiHash) => {
    const sql = `SELECT ${SLOT} FROM lineage_slot WHERE spki_hash = $1 ORDER BY id DESC`;
    return (await tx.query<LineageSlot>(sql, [spkiHash])).rows;
  },
  slotById: (tx, slotId) => one<LineageSlot>(tx, `SELECT ${SLOT} FROM lineage_slot WHERE id = $1`, [slotId]),
  lineage: (tx, lineageId, lock) =>
    one<Lineage>(tx, `SELECT ${LINEAGE} FROM lineage WHERE id = $1${lock ? ' FOR NO KEY UPDATE' : ''}`, [lineageId]),
  liveLineageOfUnit: (tx, unitId, lock) =>
    one<Lineage>(
      tx,
      `SELECT ${LINEAGE} FROM lineage WHERE unit_id = $1 AND state <> 'closed'${lock ? ' FOR NO KEY UPDATE' : ''}`,
      [unitId],
    ),
  slots: async (tx, lineageId) => {
    const sql = `SELECT ${SLOT} FROM lineage_slot WHERE lineage_id = $1 ORDER BY generation, id`;
    return (await tx.query<LineageSlot>(sql, [lineageId])).rows;
  },
  confirm: async (tx, { slotId, at, by, lineId }) => {
    const { rowCount } = await tx.query(
      `UPDATE lineage_slot SET state = 'confirmed', confirmed_at = $2, confirmed_by = $3, line_id = coalesce($4, line_id)
       WHERE id = $1 AND state = 'pending'`,
      [slotId, at, by, lineId],
    );
    return rowCount === 1;
  },
  refuse: async (tx, { slotId, at }) => {
    const { rows } = await tx.query<{ lineageId: number }>(
      `UPDATE lineage_slot SET state = 'displaced', displaced_at = $2 WHERE id = $1 AND state = 'pending'
       RETURNING lineage_id AS "lineageId"`,
      [slotId, at],
    );
    if (rows[0] === undefined) return 'not-pending';
    const { rowCount } = await tx.query(
      `UPDATE lineage SET last_soft_at = $2::timestamptz
       WHERE id = $1 AND (last_soft_at IS NULL OR last_soft_at <= $2::timestamptz - interval '1 hour')`,
      [rows[0].lineageId, at],
    );
    return rowCount === 1 ? 'refused' : 'too-soon';
  },
  touch: async (tx, { slotId, at, lineId }) => {
    await tx.query(
      `UPDATE lineage_slot SET last_used_at = $2::timestamptz, line_id = coalesce($3, line_id)
       WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2::timestamptz - interval '1 minute')`,
      [slotId, at, lineId],
    );
  },
  lineOf: async (tx, slotId) =>
    (await one<{ lineId: number | null }>(tx, 'SELECT line_id AS "lineId" FROM lineage_slot WHERE id = $1', [slotId]))
      ?.lineId ?? null,
  setToken: async (tx, { lineageId, tokenHash }) => {
    await tx.query('UPDATE lineage SET token_hash = $2 WHERE id = $1', [lineageId, tokenHash]);
  },
  leave: async (tx, { lineageId, from, to, at, reason }) => {
    // Unit before lineage, as everywhere; the epoch voids what is being signed for it right now (T2 compares).
    await tx.query('SELECT 1 FROM unit WHERE id = (SELECT unit_id FROM lineage WHERE id = $1) FOR NO KEY UPDATE', [
      lineageId,
    ]);
    const { rows } = await tx.query<{ unitId: number }>(
      `UPDATE lineage SET state = $3, close_reason = $5, closed_at = CASE WHEN $3 = 'closed' THEN $4::timestamptz END
       WHERE id = $1 AND state = ANY($2::text[]) RETURNING unit_id AS "unitId"`,
      [lineageId, from, to, at, reason],
    );
    const [changed] = rows;
    if (changed === undefined) return false;
    await tx.query('UPDATE unit SET revocation_epoch = revocation_epoch + 1 WHERE id = $1', [changed.unitId]);
    return true;
  },
  unitSerialNumber: async (tx, lineageId) => {
    const row = await one<{ serialNumber: string }>(
      tx,
      `SELECT u.serial_number AS "serialNumber" FROM lineage l JOIN unit u ON u.id = l.unit_id WHERE l.id = $1`,
      [lineageId],
    );
    if (row === null) throw new Error(`no lineage ${lineageId}`);
    return row.serialNumber;
  },
};

async function one<Row extends object>(tx: Transaction, sql: string, params: readonly unknown[]): Promise<Row | null> {
  return (await tx.query<Row>(sql, params)).rows[0] ?? null;
}
