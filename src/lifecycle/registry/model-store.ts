import type { Transaction } from '../../platform/db/transaction.js';
import type { ListedModel, ModelKey, UnitModel } from './model.js';

/** Rows of `unit_model`. */
export interface ModelStore {
  /** Null where nobody configured it. `update` locks the row, and the maker's row where there is none yet. */
  model(tx: Transaction, key: ModelKey, lock?: 'update'): Promise<UnitModel | null>;
  modelByLabel(tx: Transaction, label: string): Promise<UnitModel | null>;
  models(tx: Transaction): Promise<ListedModel[]>;
  /** Inserts or replaces. False when another model has the label. */
  writeModel(tx: Transaction, model: UnitModel, by: { actor: string; at: Date }): Promise<boolean>;
}
