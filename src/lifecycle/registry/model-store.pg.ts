import type { ListedModel, Tolerance, UnitModel } from './model.js';
import type { ModelStore } from './model-store.js';

const COLUMNS = `m.maker_id AS "makerId", m.model, m.label, m.tolerances, m.mac_allowed AS "macAllowed"`;

type ModelRow<Model extends UnitModel> = Omit<Model, 'tolerances'> & { tolerances: Tolerance[] };

export const modelStore: ModelStore = {
  model: async (tx, { makerId, model }, lock) => {
    // A row that is not there cannot be locked; its maker's can, so that two who configure it first take turns.
    if (lock !== undefined) await tx.query('SELECT 1 FROM maker WHERE id = $1 FOR NO KEY UPDATE', [makerId]);
    const { rows } = await tx.query<ModelRow<UnitModel>>(
      `SELECT ${COLUMNS} FROM unit_model m WHERE m.maker_id = $1 AND m.model = $2`,
      [makerId, model],
    );
    return rows[0] === undefined ? null : modelOf(rows[0]);
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
