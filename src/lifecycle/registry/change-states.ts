import type { Transaction } from '../../platform/db/transaction.js';
import { Slot } from '../../platform/ledger/entry-pattern.js';
import { checkUnitTransition } from '../model/index.js';
import type { Registry } from './registry.js';
import type { RegistryDeps } from './require-unit.js';

const REASON_CHARACTERS_MAX = 500;

/** One statement for a batch of any size: the locks it holds are felt by everybody else. */
export async function changeStates(
  { units }: Pick<RegistryDeps, 'units'>,
  tx: Transaction,
  change: Parameters<Registry['changeStates']>[1],
): Promise<readonly number[]> {
  const { unitIds, from, to, actor, at } = change;
  for (const state of from) checkUnitTransition(state, to);
  if (unitIds.length === 0) return [];
  const reason = change.reason.slice(0, REASON_CHARACTERS_MAX);
  const evidence = change.evidence ?? null;
  const body = { unitId: new Slot('unitId', 'number'), from: new Slot('from', 'text'), to, actor, reason, evidence };
  const entry = { kind: 'unit.state-changed', at, body };
  return units.moveStates(tx, { unitIds, from, to, actor, reason, evidence, at, entry });
}
