import type { Clock } from '../../platform/clock.js';
import type { Transactor } from '../../platform/db/transaction.js';
import type { Ledger } from '../../platform/ledger/ledger.js';
import type { Unit } from '../model/index.js';
import type { Registry } from '../registry/index.js';
import type { Revocation } from '../revocation/index.js';
import type { Lineages } from './lineage.js';

export interface HoldBothDeps {
  readonly transactor: Transactor;
  readonly clock: Clock;
  readonly registry: Pick<Registry, 'unitById'>;
  readonly lineages: Pick<Lineages, 'quarantineLineage'>;
  readonly revocation: Pick<Revocation, 'quarantine'>;
  readonly ledger: Ledger;
}

/** Two holders of one unit, and what showed it. */
export interface TwoHolders {
  readonly unit: Pick<Unit, 'id' | 'serialNumber'>;
  readonly lineageId: number;
  /** `CLAIM_CONTESTED` has an entry of its own beside the fork's. */
  readonly code: 'FORK_HARD' | 'CLAIM_CONTESTED';
  /** Name of the verdict's row. */
  readonly row: string;
  /** Slot whose key was presented; null for generation 0. */
  readonly presentedSlotId: number | null;
  readonly successorSlotId: number | null;
  readonly facts: Readonly<Record<string, string | null>>;
}

/**
 * Nobody can know from here which of them is right, so neither goes on: in one transaction the lineage is quarantined, every
 * certificate held, the unit QUARANTINED, and both branches are in the ledger (rules section 4).
 */
export async function holdBoth(deps: HoldBothDeps, { unit, code, facts, ...report }: TwoHolders): Promise<void> {
  const at = deps.clock.now();
  const actor = `unit:${unit.serialNumber}`;
  const told = { code, ...facts };
  await deps.transactor.run(async (tx) => {
    await deps.registry.unitById(tx, unit.id, { lock: 'update' });
    await deps.lineages.quarantineLineage(tx, { ...report, at, actor, facts: told });
    await deps.revocation.quarantine(tx, { unitId: unit.id, actor, note: `${code}: ${report.row}`, at });
    if (code !== 'CLAIM_CONTESTED') return;
    const body = { lineageId: report.lineageId, row: report.row, ...told };
    await deps.ledger.append(tx, [{ kind: 'claim.contested', subject: actor, at, body }]);
  });
}
