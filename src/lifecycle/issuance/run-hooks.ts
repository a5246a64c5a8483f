import { runTogether, type Work } from '../../platform/db/run-together.js';
import type { Transaction } from '../../platform/db/transaction.js';
import { asFemtoError, type FemtoError } from '../../platform/errors.js';
import type { Draft } from './draft-certificate.js';
import type { IssuanceStore } from './issuance-store.js';

/** What runs in a flush's transaction for one of its drafts. */
export interface Hook {
  readonly draft: Draft;
  readonly work: Work;
}

/**
 * Runs hooks inside a transaction, each to its own fate: a hook that throws leaves nothing behind, and its neighbours do not
 * notice. Those that may, run side by side under one savepoint; the others one after another, each under its own.
 *
 * @returns why they were undone, by attempt; a hook that stands is not in it
 * @throws what breaks the transaction itself
 */
export async function runHooks(
  store: IssuanceStore,
  tx: Transaction,
  hooks: readonly Hook[],
): Promise<Map<string, FemtoError>> {
  const [together, alone] = divide(hooks);
  const errors = new Map<string, FemtoError>();
  let last: Promise<unknown> = Promise.resolve();
  /** One savepoint at a time: they are nested by nature. */
  const inTurn = <T>(run: () => Promise<T>): Promise<T> => {
    const result = last.then(run);
    last = result.catch(() => undefined);
    return result;
  };
  const run = runTogether((all) => inTurn(() => inSavepoint(tx, () => all(tx.sideBySide?.() ?? tx))));
  if (together.length > 0) {
    const outcomes = await run(together.map(({ work }) => work));
    for (const [index, outcome] of outcomes.entries()) {
      if (outcome.status === 'fulfilled') continue;
      if (store.faultOf(outcome.reason) === 'transaction') throw outcome.reason;
      errors.set(together[index]?.draft.attemptId ?? '', asFemtoError(outcome.reason));
    }
  }
  for (const { draft, work } of alone) {
    try {
      await inSavepoint(tx, () => work(tx));
    } catch (thrown) {
      if (store.faultOf(thrown) === 'transaction') throw thrown;
      errors.set(draft.attemptId, asFemtoError(thrown));
    }
  }
  return errors;
}

/** Two of one unit never side by side: the second must see what the first did. */
function divide(hooks: readonly Hook[]): [Hook[], Hook[]] {
  const units = new Set<number>();
  const together: Hook[] = [];
  const alone: Hook[] = [];
  for (const hook of hooks) {
    const { unitId, hooksTogether } = hook.draft.request;
    const mayJoin = hooksTogether === true && unitId !== null && !units.has(unitId);
    (mayJoin ? together : alone).push(hook);
    if (unitId !== null) units.add(unitId);
  }
  return [together, alone];
}

/** Rolled back when the work throws; whether the transaction can go on is for the caller to judge by what was thrown. */
export async function inSavepoint<T>(tx: Transaction, work: () => Promise<T>): Promise<T> {
  await tx.query('SAVEPOINT one_row');
  try {
    const value = await work();
    await tx.query('RELEASE SAVEPOINT one_row');
    return value;
  } catch (thrown) {
    // Where even this fails the connection is gone, and what was thrown first says more.
    await tx.query('ROLLBACK TO SAVEPOINT one_row').catch(() => undefined);
    throw thrown;
  }
}
