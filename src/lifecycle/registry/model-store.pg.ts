import { oneOf } from '../../platform/db/set-statement.js';
import type { Transaction } from '../../platform/db/transaction.js';
import type { ListedModel, ModelKey, Tolerance, UnitModel } from './model.js';
import type { ModelStore } from './model-store.js';

const COLUMNS = `m.maker_id AS "makerId", m.model, m.label, m.tolerances, m.mac_allowed AS "macAllowed"`;

type ModelRow<Model extends UnitModel> = Omit<Model, 'tolerances'> & { tolerances: Tolerance[] };

const model = oneOf(modelsByKey);

export const modelStore: ModelStore = {
  model: async (tx, key, lock) => {
    const { makerId } = key;
    // A row that is not there cannot be locked; its maker's can, so that two who configure it first take turns.
    if (lock !== undefined) await tx.query('SELECT 1 FROM maker WHERE id = $1 FOR NO KEY UPDATE', [makerId]);
    return model(tx, key);
  },

  modelByLabel: async (tx, label) => {
    const { rows } = await tx.query<ModelRow<UnitModel>>(`SELECT ${COLUMNS} FROM unit_model m WHERE m.label = $1`, [
      label,
    ]);
    return rows[0] === undefined ? null : modelOf(rows[0]);
  },

  models: async (tx) => {
    const { rows } = await tx.query<ModelRow<ListedModel>>(
      `SELECT ${COLUMNS}, maker.name AS "makerName", m.changed_by AS "changedBy", m.changed_at AS "changedAt"
       FROM unit_model m JOIN maker ON maker.id = m.maker_id ORDER BY maker.name, m.model`,
    );
    return rows.map(modelOf);
  },

  writeModel: async (tx, { makerId, model, label, tolerances, macAllowed }, { actor, at }) => {
    const taken = await tx.query('SELECT 1 FROM unit_model WHERE label = $1 AND NOT (maker_id = $2 AND model = $3)', [
      label,
      makerId,
      model,
    ]);
    if (taken.rowCount > 0) return false;
    await tx.query(
      `INSERT INTO unit_model (maker_id, model, label, tolerances, mac_allowed, changed_by, changed_at)
       VALUES ($1, $2, $3, $4, $5, $6, $7)
       ON CONFLICT (maker_id, model) DO UPDATE SET label = EXCLUDED.label, tolerances = EXCLUDED.tolerances,
         mac_allowed = EXCLUDED.mac_allowed, changed_by = EXCLUDED.changed_by, changed_at = EXCLUDED.changed_at`,
      [makerId, model, label, [...tolerances].sort(), macAllowed, actor, at],
    );
    return true;
  },
};

function modelOf<Model extends UnitModel>(row: ModelRow<Model>): Model {
  return { ...row, tolerances: new Set(row.tolerances) } as unknown as Model;
}

async function modelsByKey(tx: Transaction, keys: readonly ModelKey[]): Promise<(UnitModel | null)[]> {
  const asked = new Map(keys.map((key) => [nameOf(key), key]));
  const { rows } = await tx.query<ModelRow<UnitModel>>(
    `SELECT ${COLUMNS} FROM unnest($1::int[], $2::text[]) AS k(maker_id, model) JOIN unit_model m USING (maker_id, model)`,
    [[...asked.values()].map(({ makerId }) => makerId), [...asked.values()].map(({ model: name }) => name)],
    { preparedAs: 'models' },
  );
  const found = new Map(rows.map((row) => [nameOf(row), modelOf(row)]));
  return keys.map((key) => found.get(nameOf(key)) ?? null);
}

function nameOf({ makerId, model: name }: ModelKey): string {
  return `${makerId}/${name}`;
}
