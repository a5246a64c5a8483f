import type { Transaction, Transactor } from '../../platform/db/transaction.js';
import type { Ledger } from '../../platform/ledger/ledger.js';

/** Switches of the installation. They live in rows, so a restart or another server sees the same at once. */
export interface InstallationSwitches {
  /** @param model  null: the whole fleet */
  setFrozen(frozen: boolean, model: string | null, by: { actor: string; reason: string; at: Date }): Promise<void>;
}

export interface InstallationRow {
  setFrozen(tx: Transaction, frozen: boolean): Promise<void>;
  setModelFrozen(tx: Transaction, frozen: boolean, freeze: ModelFreeze): Promise<void>;
}

export interface ModelFreeze {
  readonly model: string;
  readonly actor: string;
  readonly reason: string;
  readonly at: Date;
}

export function makeInstallationSwitches(deps: {
  db: Transactor;
  ledger: Ledger;
  row: InstallationRow;
}): InstallationSwitches {
  return {
    setFrozen: (frozen, model, { actor, reason, at }) =>
      deps.db.run(async (tx) => {
        if (model === null) await deps.row.setFrozen(tx, frozen);
        else await deps.row.setModelFrozen(tx, frozen, { model, actor, reason, at });
        const kind = frozen ? 'admission.frozen' : 'admission.thawed';
        const subject = model === null ? 'installation' : `model:${model}`;
        await deps.ledger.append(tx, [{ kind, subject, at, body: { actor, reason } }]);
      }),
  };
}
