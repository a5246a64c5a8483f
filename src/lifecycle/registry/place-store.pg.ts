import { textArray, timestamptzArray } from '../../platform/db/binary-array.js';
import { oneOf } from '../../platform/db/set-statement.js';
import type { Transaction } from '../../platform/db/transaction.js';
import type { BindingHistoryRow, LinePrefix, PlaceStore } from './place-store.js';
import type { Cell, Line, ResolvedLine } from './registry.js';

const LINE_COLUMNS = 'id, name, region';
const CELL_COLUMNS = 'id, unit_id AS "unitId", segw_address AS "segwAddress"';
const PREFIX_COLUMNS = `prefix::text AS prefix, line_id AS "lineId", authoritative, valid_from AS "validFrom", valid_to AS "validTo"`;

const lineAt = oneOf(linesAt);

export const placeStore: PlaceStore = {
  lineAt: (tx, address, at) => lineAt(tx, { address, at }),

  line: async (tx, by, lock) => {
    const [column, value] = 'id' in by ? ['id', by.id] : ['name', by.name];
    const { rows } = await tx.query<Line>(
      `SELECT ${LINE_COLUMNS} FROM line WHERE ${column} = $1 ${lock === undefined ? '' : 'FOR NO KEY UPDATE'}`,
      [value],
    );
    return rows[0] ?? null;
  },

  lines: async (tx, { afterId, limit }) =>
    (await tx.query<Line>(`SELECT ${LINE_COLUMNS} FROM line WHERE id > $1 ORDER BY id LIMIT $2`, [afterId, limit]))
      .rows,

  addLine: async (tx, { name, region }) => {
    const { rows } = await tx.query<Line>(
      `INSERT INTO line (name, region) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING ${LINE_COLUMNS}`,
      [name, region],
    );
    return rows[0] ?? null;
  },

  addPrefix: async (tx, { prefix, lineId, authoritative, validFrom, validTo }) => {
    const { rowCount } = await tx.query(
      `INSERT INTO line_prefix (prefix, line_id, authoritative, valid_from, valid_to)
       VALUES ($1::cidr, $2, $3, $4, $5) ON CONFLICT DO NOTHING`,
      [prefix, lineId, authoritative, validFrom, validTo],
    );
    return rowCount === 1;
  },

  prefixes: async (tx, lineId) =>
    (
      await tx.query<LinePrefix>(
        `SELECT ${PREFIX_COLUMNS} FROM line_prefix WHERE line_id = $1 ORDER BY line_prefix.prefix, valid_from`,
        [lineId],
      )
    ).rows,

  endPrefix: async (tx, prefix, at) => {
    const { rowCount } = await tx.query(
      `UPDATE line_prefix SET valid_to = $2
       WHERE prefix = $1::cidr AND valid_from <= $2 AND (valid_to IS NULL OR valid_to > $2)`,
      [prefix, at],
    );
    return rowCount > 0;
  },

  cell: async (tx, by, lock) => {
    const [column, value] = 'id' in by ? ['id', by.id] : ['unit_id', by.unitId];
    const { rows } = await tx.query<Cell>(
      `SELECT ${CELL_COLUMNS} FROM cell WHERE ${column} = $1 ${lock === undefined ? '' : 'FOR NO KEY UPDATE'}`,
      [value],
    );
    return rows[0] ?? null;
  },

  cells: async (tx, { afterId, limit }) =>
    (await tx.query<Cell>(`SELECT ${CELL_COLUMNS} FROM cell WHERE id > $1 ORDER BY id LIMIT $2`, [afterId, limit]))
      .rows,

  freeCell: async (tx) => {
    // Two activations at once each take another cell instead of waiting for the same one.
    const { rows } = await tx.query<Cell>(
      `SELECT ${CELL_COLUMNS} FROM cell WHERE unit_id IS NULL ORDER BY id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED`,
    );
    return rows[0] ?? null;
  },

  addCell: async (tx, { id, segwAddress }) => {
    const { rowCount } = await tx.query('INSERT INTO cell (id, segw_address) VALUES ($1, $2) ON CONFLICT DO NOTHING', [
      id,
      segwAddress,
    ]);
    return rowCount === 1;
  },

  writeCellUnit: async (tx, cellId, unitId) => {
    await tx.query('UPDATE cell SET unit_id = $2 WHERE id = $1', [cellId, unitId]);
  },

  appendBinding: async (tx, { unitId, what, value, action, actor, at }) => {
    await tx.query(
      'INSERT INTO binding_history (unit_id, what, value, action, actor, at) VALUES ($1, $2, $3, $4, $5, $6)',
      [unitId, what, value, action, actor, at],
    );
  },

  bindings: async (tx, unitId) =>
    (
      await tx.query<BindingHistoryRow>(
        'SELECT what, value, action, actor, at FROM binding_history WHERE unit_id = $1 ORDER BY id',
        [unitId],
      )
    ).rows,
};

/** The longest prefix that held at that moment, of each address. */
async function linesAt(
  tx: Transaction,
  asked: readonly { readonly address: string; readonly at: Date }[],
): Promise<(ResolvedLine | null)[]> {
  const { rows } = await tx.query<ResolvedLine & { n: number }>(
    `SELECT a.n::int AS n, found.*
     FROM unnest($1::text[], $2::timestamptz[]) WITH ORDINALITY AS a(address, at, n) CROSS JOIN LATERAL (
       SELECT p.line_id AS "lineId", l.name, p.authoritative
       FROM line_prefix p JOIN line l ON l.id = p.line_id
       WHERE p.prefix >>= a.address::inet AND p.valid_from <= a.at AND (p.valid_to IS NULL OR p.valid_to > a.at)
       ORDER BY masklen(p.prefix) DESC, p.valid_from DESC LIMIT 1) found`,
    [textArray(asked.map(({ address }) => address)), timestamptzArray(asked.map(({ at }) => at))],
    { preparedAs: 'lines-at' },
  );
  const found = new Map(rows.map(({ n, ...line }) => [n, line]));
  return asked.map((_, index) => found.get(index + 1) ?? null);
}
