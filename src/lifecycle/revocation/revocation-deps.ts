import type { Clock } from '../../platform/clock.js';
import type { Transaction, Transactor } from '../../platform/db/transaction.js';
import type { Ledger } from '../../platform/ledger/ledger.js';
import type { Actor, LineageSlot } from '../model/index.js';
import type { Registry, UnitStore } from '../registry/index.js';
import type { StatusRowStore } from '../status/index.js';
import type { RevocationStore } from './revocation-store.js';

export interface RevocationDeps {
  readonly store: RevocationStore;
  readonly statusRows: StatusRowStore;
  readonly registry: Pick<Registry, 'changeState' | 'changeStates' | 'raiseRevocationEpoch'>;
  readonly units: Pick<UnitStore, 'writeRework'>;
  readonly lineages: LineageRoom;
  readonly ledger: Ledger;
  readonly transactor: Transactor;
  readonly clock: Clock;
}

/** What revocation needs of the lineage room, which itself asks revocation: named here, so that there is no way back. */
export interface LineageRoom {
  liveViewOfUnit(
    tx: Transaction,
    unitId: number,
    options?: { lock?: boolean },
  ): Promise<{
    readonly lineage: { readonly id: number; readonly state: string };
    readonly slots: readonly LineageSlot[];
  } | null>;
  closeLineage(
    tx: Transaction,
    options: { lineageId: number; reason: string; actor: Actor; at: Date },
  ): Promise<boolean>;
}
