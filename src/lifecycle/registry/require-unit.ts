import type { Transaction } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import type { Ledger } from '../../platform/ledger/ledger.js';
import type { Unit } from '../model/index.js';
import type { ModelStore } from './model-store.js';
import type { PlaceStore } from './place-store.js';
import type { RowLock } from './registry.js';
import type { UnitStore } from './unit-store.js';

export interface RegistryDeps {
  readonly units: UnitStore;
  readonly places: PlaceStore;
  readonly models: ModelStore;
  readonly ledger: Ledger;
}

/** @throws FemtoError NOT_FOUND */
export async function requireUnit(units: UnitStore, tx: Transaction, unitId: number, lock?: RowLock): Promise<Unit> {
  const unit = await units.find(tx, { id: unitId }, lock);
  if (unit === null) throw new FemtoError('NOT_FOUND', 'There is no such unit; check its serial number.');
  return unit;
}
