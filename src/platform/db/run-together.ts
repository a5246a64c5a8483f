import type { Transaction } from './transaction.js';

export type Work = (tx: Transaction) => Promise<unknown>;
type Outcome = PromiseSettledResult<unknown>;

/**
 * Runs works side by side in one transaction. Where one of them fails all are rolled back: those that failed are run again
 * each alone, so that their own contents decide, and the others together once more.
 *
 * @param run  opens the transaction that its works share
 * @returns how each work ended, in order; for {@link gather}
 */
export function runTogether(
  run: (all: (tx: Transaction) => Promise<Outcome[]>) => Promise<Outcome[]>,
): (works: readonly Work[]) => Promise<Outcome[]> {
  const attempt = async (works: readonly Work[]): Promise<Outcome[]> => {
    let inside: Outcome[] = [];
    try {
      return await run(async (tx) => {
        inside = [];
        inside = await Promise.allSettled(works.map((work) => work(tx)));
        const failed = inside.find(isRejected);
        if (failed !== undefined) throw failed.reason;
        return inside;
      });
    } catch (thrown) {
      // With no work to blame it was the transaction: its outcome may be unknown, and nothing is run again.
      if (works.length === 1 || !inside.some(isRejected))
        return works.map(() => ({ status: 'rejected', reason: thrown }));
      return runApart(works, inside);
    }
  };
  const runApart = async (works: readonly Work[], inside: readonly Outcome[]): Promise<Outcome[]> => {
    const isBlamed = (index: number): boolean => inside[index]?.status !== 'fulfilled';
    const innocent = works.filter((_, index) => !isBlamed(index));
    const again = innocent.length === 0 ? [] : await attempt(innocent);
    // Side by side: where a set waited in vain for one row's lock, only that row goes on waiting.
    const alone = await Promise.all(works.filter((_, index) => isBlamed(index)).map((work) => attempt([work])));
    return works.flatMap((_, index) => (isBlamed(index) ? (alone.shift() ?? []) : again.splice(0, 1)));
  };
  return attempt;
}

function isRejected(outcome: Outcome): outcome is PromiseRejectedResult {
  return outcome.status === 'rejected';
}
