import type { Transaction } from '../../../platform/db/transaction.js';

/** What is admitted apart, so that neither can starve the other. */
export type Lane = 'renewal' | 'activation';

/** One rate over all servers, counted where all of them see it (rules 8.5). */
export interface RateShare {
  /**
   * Takes what there is of a lane's rate, up to so many. Unused rate is kept for a quarter of a second and then lost.
   *
   * @returns how many; 0 means ask again
   */
  take(
    tx: Transaction,
    want: { readonly lane: Lane; readonly count: number; readonly perSecond: number },
  ): Promise<number>;
}
