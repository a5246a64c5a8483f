import type { Clock } from '../../platform/clock.js';
import type { Transactor } from '../../platform/db/transaction.js';
import type { TransactionStore } from './transaction-store.js';

/** Answers, and requests that wait, are kept for a day; that a message came at all for longer than any certificate lives. */
export const ANSWER_LIFE_MS = 86_400_000;
export const ROW_LIFE_MS = 40 * 86_400_000;

/**
 * One run of forgetting; every replica runs it every few minutes, and twice does no harm. The first run of a process looks at
 * all rows, the next ones at what has come of age since.
 *
 * @returns a function that resolves when what is over is gone
 */
export function makeTransactionPruner(deps: {
  readonly store: Pick<TransactionStore, 'forgetAnswers' | 'removeBefore'>;
  readonly transactor: Transactor;
  readonly clock: Clock;
}): () => Promise<void> {
  let doneUntil = new Date(0);
  return async () => {
    const now = deps.clock.now().getTime();
    const tx = deps.transactor.read;
    const until = new Date(now - ANSWER_LIFE_MS);
    while (doneUntil < until) {
      doneUntil = await deps.store.forgetAnswers(tx, { from: doneUntil, until });
    }
    while ((await deps.store.removeBefore(tx, new Date(now - ROW_LIFE_MS))) > 0);
  };
}
