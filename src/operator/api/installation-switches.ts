import type { Transactor } from '../../platform/db/transaction.js';
import type { Ledger } from '../../platform/ledger/ledger.js';

/** Switches of the whole installation. They live in a row, so a restart or another server sees the same. */
export interface InstallationSwitches {
  setFrozen(frozen: boolean, by: { actor: string; reason: string; at: Date }): Promise<void>;
}

export interface InstallationRow {
  setFrozen(tx: Parameters<Parameters<Transactor['run']>[0]>[0], frozen: boolean): Promise<void>;
}

export function makeInstallationSwitches(deps: {
  db: Transactor;
  ledger: Ledger;
  row: InstallationRow;
}): InstallationSwitches {
  return {
    setFrozen: (frozen, { actor, reason, at }) =>
      deps.db.run(async (tx) => {
        await deps.row.setFrozen(tx, frozen);
        const kind = frozen ? 'admission.frozen' : 'admission.thawed';
        await deps.ledger.append(tx, [{ kind, subject: 'installation', at, body: { actor, reason } }]);
      }),
  };
}
