import type { Transaction } from '../../platform/db/transaction.js';
import { checkUnitTransition } from '../model/index.js';
import type { Registry } from './registry.js';
import type { RegistryDeps } from './require-unit.js';

const REASON_CHARACTERS_MAX = 500;

/** A batch of 10,000 is four statements, not forty thousand: the locks it holds are felt by everybody else. */
export async function changeStates(
  { units, ledger }: RegistryDeps,
  tx: Transaction,
  change: Parameters<Registry['changeStates']>[1],
): Promise<readonly number[]> {
  const { unitIds, from, to, actor, at } = change;
  for (const state of from) checkUnitTransition(state, to);
  if (unitIds.length === 0) return [];
  const reason = change.reason.slice(0, REASON_CHARACTERS_MAX);
  const evidence = change.evidence ?? null;
  const moved = await units.moveStates(tx, { unitIds, from, to, reason, at });
  if (moved.length === 0) return [];
  await units.appendHistory(
    tx,
    moved.map((unit) => ({ unitId: unit.id, from: unit.from, to, actor, reason, evidence, at })),
  );
  await ledger.append(
    tx,
    moved.map((unit) => ({
      kind: 'unit.state-changed',
      subject: `unit:${unit.serialNumber}`,
      at,
      body: { unitId: unit.id, from: unit.from, to, actor, reason, evidence },
    })),
  );
  return moved.map(({ id }) => id);
}
