import { byteaArray, int4Array, int8Array, textArray, timestamptzArray } from '../../platform/db/binary-array.js';
import { oneOf } from '../../platform/db/set-statement.js';
import type { Transaction } from '../../platform/db/transaction.js';
import type { LineageSlot } from '../model/index.js';
import type { Lineage, SlotView } from './lineage.js';
import type { CertificateName, ConfirmedSlot, LineageStore, SlotConfirmation } from './lineage-store.js';

const SLOT = `s.id, s.lineage_id AS "lineageId", s.unit_id AS "unitId", s.generation, s.state, s.spki_hash AS "spkiHash",
  s.issuer_id AS "issuerId", s.serial, s.not_before AS "notBefore", s.not_after AS "notAfter",
  s.attempt_id AS "attemptId", s.preissued, s.renew_from AS "renewFrom", s.renew_until AS "renewUntil",
  s.created_at AS "createdAt", s.confirmed_at AS "confirmedAt", s.displaced_at AS "displacedAt"`;

const LINEAGE = `id, unit_id AS "unitId", state, opened_at AS "openedAt", closed_at AS "closedAt",
  close_reason AS "closeReason", token_hash AS "tokenHash", last_soft_at AS "lastSoftAt"`;

const viewBySerial = oneOf(viewsBySerial);
const lockBySerial = oneOf(lockedBySerial);
const slotsOfLineage = oneOf(slotsOfLineages);
const lineage = oneOf((tx, ids: readonly number[]) => lineagesById(tx, ids, ''));
// In id order, so that two sets with crossed lineages wait for each other instead of deadlocking.
const lockedLineage = oneOf((tx, ids: readonly number[]) => lineagesById(tx, ids, 'FOR NO KEY UPDATE'));
const confirm = oneOf(confirmSlots);

export const lineageStore: LineageStore = {
  viewBySerial: (tx, issuerId, serial) => viewBySerial(tx, { issuerId, serial }),
  lockBySerial: (tx, issuerId, serial) => lockBySerial(tx, { issuerId, serial }),
  slotsByKey: async (tx, spkiHash) => {
    const sql = `SELECT ${SLOT} FROM lineage_slot s WHERE s.spki_hash = $1 ORDER BY s.id DESC`;
    return (await tx.query<LineageSlot>(sql, [spkiHash])).rows;
  },
  slotById: (tx, slotId) => one<LineageSlot>(tx, `SELECT ${SLOT} FROM lineage_slot s WHERE s.id = $1`, [slotId]),
  lineage: (tx, lineageId, lock) => (lock ? lockedLineage : lineage)(tx, lineageId),
  liveLineageOfUnit: (tx, unitId, lock) =>
    one<Lineage>(
      tx,
      `SELECT ${LINEAGE} FROM lineage WHERE unit_id = $1 AND state <> 'closed'${lock ? ' FOR NO KEY UPDATE' : ''}`,
      [unitId],
    ),
  slots: (tx, lineageId) => slotsOfLineage(tx, lineageId),
  confirm: (tx, change) => confirm(tx, change),
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

const BESIDE_SLOT = `l.state AS "lineageState", l.opened_at AS "openedAt", l.closed_at AS "closedAt",
  l.close_reason AS "closeReason", l.token_hash AS "tokenHash", l.last_soft_at AS "lastSoftAt"`;

/** A slot with the lineage that it belongs to. */
type PlacedRow = LineageSlot & {
  readonly n: number;
  readonly lineageState: Lineage['state'];
  readonly openedAt: Date;
  readonly closedAt: Date | null;
  readonly closeReason: string | null;
  readonly tokenHash: Buffer | null;
  readonly lastSoftAt: Date | null;
};
type ViewRow = PlacedRow & { readonly presentedId: number };

/** In id order, as every lock of lineages. */
async function lockedBySerial(
  tx: Transaction,
  names: readonly CertificateName[],
): Promise<({ slot: LineageSlot; lineage: Lineage } | null)[]> {
  const { rows } = await tx.query<PlacedRow>(
    `SELECT k.n::int AS n, ${BESIDE_SLOT}, ${SLOT}
     FROM unnest($1::smallint[], $2::bytea[]) WITH ORDINALITY AS k(issuer_id, serial, n)
       JOIN lineage_slot s ON s.issuer_id = k.issuer_id AND s.serial = k.serial
       JOIN lineage l ON l.id = s.lineage_id
     ORDER BY l.id FOR NO KEY UPDATE OF l`,
    [names.map(({ issuerId }) => issuerId), byteaArray(names.map(({ serial }) => serial))],
    { preparedAs: 'lineages-locked-by-serial' },
  );
  const found = new Map(rows.map((row) => [row.n, { slot: row, lineage: lineageBeside(row) }]));
  return names.map((_, index) => found.get(index + 1) ?? null);
}

function lineageBeside(row: PlacedRow): Lineage {
  const { lineageId, unitId, lineageState: state, openedAt, closedAt, closeReason, tokenHash, lastSoftAt } = row;
  return { id: lineageId, unitId, state, openedAt, closedAt, closeReason, tokenHash, lastSoftAt };
}

async function viewsBySerial(tx: Transaction, names: readonly CertificateName[]): Promise<(SlotView | null)[]> {
  const { rows } = await tx.query<ViewRow>(
    `SELECT k.n::int AS n, p.id AS "presentedId", ${BESIDE_SLOT}, ${SLOT}
     FROM unnest($1::smallint[], $2::bytea[]) WITH ORDINALITY AS k(issuer_id, serial, n)
       JOIN lineage_slot p ON p.issuer_id = k.issuer_id AND p.serial = k.serial
       JOIN lineage l ON l.id = p.lineage_id
       JOIN lineage_slot s ON s.lineage_id = l.id
     ORDER BY k.n, s.generation, s.id`,
    [names.map(({ issuerId }) => issuerId), byteaArray(names.map(({ serial }) => serial))],
    { preparedAs: 'lineages-by-serial' },
  );
  const rowsOf = new Map<number, ViewRow[]>();
  for (const row of rows) {
    const known = rowsOf.get(row.n);
    if (known === undefined) rowsOf.set(row.n, [row]);
    else known.push(row);
  }
  return names.map((_, index) => slotViewOf(rowsOf.get(index + 1) ?? []));
}

function slotViewOf(slots: readonly ViewRow[]): SlotView | null {
  const slot = slots.find(({ id, presentedId }) => id === presentedId);
  return slot === undefined ? null : { slot, view: { lineage: lineageBeside(slot), slots } };
}

async function slotsOfLineages(tx: Transaction, lineageIds: readonly number[]): Promise<LineageSlot[][]> {
  const { rows } = await tx.query<LineageSlot>(
    `SELECT ${SLOT} FROM lineage_slot s WHERE s.lineage_id = ANY($1::bigint[]) ORDER BY s.generation, s.id`,
    [lineageIds],
    { preparedAs: 'slots-of-lineages' },
  );
  const byLineage = new Map<number, LineageSlot[]>(lineageIds.map((id) => [id, []]));
  for (const slot of rows) byLineage.get(slot.lineageId)?.push(slot);
  return lineageIds.map((id) => byLineage.get(id) ?? []);
}

async function lineagesById(tx: Transaction, ids: readonly number[], lock: string): Promise<(Lineage | null)[]> {
  const { rows } = await tx.query<Lineage>(
    `SELECT ${LINEAGE} FROM lineage WHERE id = ANY($1::bigint[]) ORDER BY id ${lock}`,
    [ids],
    { preparedAs: lock === '' ? 'lineages' : 'lineages-locked' },
  );
  const found = new Map(rows.map((row) => [row.id, row]));
  return ids.map((id) => found.get(id) ?? null);
}

async function confirmSlots(tx: Transaction, changes: readonly SlotConfirmation[]): Promise<(ConfirmedSlot | null)[]> {
  const { rows } = await tx.query<ConfirmedSlot>(
    `UPDATE lineage_slot s
     SET state = 'confirmed', confirmed_at = c.at, confirmed_by = c.by, line_id = coalesce(c.line_id, s.line_id)
     FROM unnest($1::bigint[], $2::timestamptz[], $3::text[], $4::int[]) AS c(id, at, by, line_id), unit u
     WHERE s.id = c.id AND s.state = 'pending' AND u.id = s.unit_id
     RETURNING ${SLOT}, u.serial_number AS "unitSerialNumber"`,
    [
      int8Array(changes.map(({ slotId }) => slotId)),
      timestamptzArray(changes.map(({ at }) => at)),
      textArray(changes.map(({ by }) => by)),
      int4Array(changes.map(({ lineId }) => lineId)),
    ],
    { preparedAs: 'slots-confirm' },
  );
  const confirmed = new Map(rows.map((row) => [row.id, row]));
  return changes.map(({ slotId }) => {
    const row = confirmed.get(slotId) ?? null;
    // Asked for twice in one set: one of them did it.
    confirmed.delete(slotId);
    return row;
  });
}
