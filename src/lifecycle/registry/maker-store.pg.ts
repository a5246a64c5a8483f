import { oneOf } from '../../platform/db/set-statement.js';
import type { Transaction } from '../../platform/db/transaction.js';
import type { Batch, Maker, MakerStore } from './maker-store.js';

const MAKER_COLUMNS = 'id, name, manifest_key_spki AS "manifestKeySpki", eui_prefixes AS "euiPrefixes", state';
const BATCH_COLUMNS = `id, maker_id AS "makerId", name, model, firmware_sha256 AS "firmwareSha256", state,
  manifest_sha256 AS "manifestSha256", unit_count AS "unitCount", submitted_at AS "submittedAt",
  accepted_at AS "acceptedAt", closed_at AS "closedAt"`;

const makerById = oneOf((tx, ids: readonly number[]) => byIds<Maker>(tx, 'maker', MAKER_COLUMNS, ids));
const batchById = oneOf((tx, ids: readonly number[]) => byIds<Batch>(tx, 'batch', BATCH_COLUMNS, ids));

export const makerStore: MakerStore = {
  maker: async (tx, by) => {
    if ('id' in by) return makerById(tx, by.id);
    const { rows } = await tx.query<Maker>(`SELECT ${MAKER_COLUMNS} FROM maker WHERE name = $1`, [by.name]);
    return rows[0] ?? null;
  },

  makers: async (tx) => (await tx.query<Maker>(`SELECT ${MAKER_COLUMNS} FROM maker ORDER BY id`)).rows,

  lockMakers: async (tx) => {
    await tx.query('LOCK TABLE maker IN SHARE ROW EXCLUSIVE MODE');
  },

  addMaker: async (tx, { name, manifestKeySpki, euiPrefixes, createdAt }) => {
    const { rows } = await tx.query<Maker>(
      `INSERT INTO maker (name, manifest_key_spki, eui_prefixes, created_at) VALUES ($1, $2, $3, $4)
       ON CONFLICT DO NOTHING RETURNING ${MAKER_COLUMNS}`,
      [name, manifestKeySpki, euiPrefixes, createdAt],
    );
    return rows[0] ?? null;
  },

  setMakerState: async (tx, makerId, state) => {
    await tx.query('UPDATE maker SET state = $2 WHERE id = $1', [makerId, state]);
  },

  batch: async (tx, by, lock) => {
    if ('id' in by && lock === undefined) return batchById(tx, by.id);
    const forUpdate = lock === undefined ? '' : 'FOR NO KEY UPDATE';
    const { rows } =
      'id' in by
        ? await tx.query<Batch>(`SELECT ${BATCH_COLUMNS} FROM batch WHERE id = $1 ${forUpdate}`, [by.id])
        : await tx.query<Batch>(`SELECT ${BATCH_COLUMNS} FROM batch WHERE maker_id = $1 AND name = $2 ${forUpdate}`, [
            by.makerId,
            by.name,
          ]);
    return rows[0] ?? null;
  },

  batchByManifest: async (tx, manifestSha256) => {
    const { rows } = await tx.query<Batch>(`SELECT ${BATCH_COLUMNS} FROM batch WHERE manifest_sha256 = $1`, [
      manifestSha256,
    ]);
    return rows[0] ?? null;
  },

  batches: async (tx, { makerId, afterId, limit }) =>
    (
      await tx.query<Batch>(
        `SELECT ${BATCH_COLUMNS} FROM batch WHERE id > $1 AND ($2::int IS NULL OR maker_id = $2) ORDER BY id LIMIT $3`,
        [afterId, makerId ?? null, limit],
      )
    ).rows,

  manifestJws: async (tx, batchId) => {
    const { rows } = await tx.query<{ jws: string }>('SELECT manifest_jws AS jws FROM batch WHERE id = $1', [batchId]);
    return rows[0]?.jws ?? null;
  },

  addBatch: async (tx, batch) => {
    const { rows } = await tx.query<Batch>(
      `INSERT INTO batch (maker_id, name, model, firmware_sha256, state, manifest_sha256, manifest_jws, unit_count, submitted_at)
       VALUES ($1, $2, $3, $4, 'submitted', $5, $6, $7, $8) ON CONFLICT DO NOTHING RETURNING ${BATCH_COLUMNS}`,
      [
        batch.makerId,
        batch.name,
        batch.model,
        batch.firmwareSha256,
        batch.manifestSha256,
        batch.manifestJws,
        batch.unitCount,
        batch.submittedAt,
      ],
    );
    return rows[0] ?? null;
  },

  setBatchState: async (tx, batchId, state, at) => {
    const column = state === 'open' ? 'accepted_at' : 'closed_at';
    await tx.query(`UPDATE batch SET state = $2, ${column} = $3 WHERE id = $1`, [batchId, state, at]);
  },

  countByState: async (tx, batchId) => {
    const { rows } = await tx.query<{ state: string; count: number }>(
      'SELECT state, count(*) AS count FROM unit WHERE batch_id = $1 GROUP BY state',
      [batchId],
    );
    return Object.fromEntries(rows.map(({ state, count }) => [state, count]));
  },
};

async function byIds<Row extends { readonly id: number }>(
  tx: Transaction,
  table: 'maker' | 'batch',
  columns: string,
  ids: readonly number[],
): Promise<(Row | null)[]> {
  const { rows } = await tx.query<Row>(
    `SELECT ${columns} FROM ${table} WHERE id = ANY($1::int[])`,
    [[...new Set(ids)]],
    { preparedAs: `${table}s-by-id` },
  );
  const found = new Map(rows.map((row) => [row.id, row]));
  return ids.map((id) => found.get(id) ?? null);
}
