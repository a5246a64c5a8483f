import type { Transaction } from '../platform/db/transaction.js';

/** Where a scan of markers goes on. Microseconds since 1970, as a decimal: a Date would lose some, and then a marker. */
export interface DuePlace {
  readonly dueMicros: string;
  readonly slotId: number;
}

/** A run of markers, in their order: a job's worth. */
export interface DueBlock {
  readonly slotIds: readonly number[];
  readonly fromMicros: string;
  readonly untilMicros: string;
}

/** What the worker asks of `renewal_due` and the tasks. A marker is consumed in the transaction that acted on it. */
export interface RenewalBook {
  /** What is due after a place, in blocks of `units` ids, `blocks` at most; reads the markers' index alone. */
  dueBlocks(
    tx: Transaction,
    options: { readonly now: Date; readonly after: DuePlace | null; readonly units: number; readonly blocks: number },
  ): Promise<DueBlock[]>;
  /**
   * Looks at those slots whose markers lie in the range and writes what follows: the task, its next marker, or none where
   * nothing more is to be done. A marker that somebody else consumed is no work of this call.
   */
  attend(tx: Transaction, look: DueLook): Promise<Attended[]>;
}

export type DueLook = DueBlock & { readonly at: Date };

/** One slot that was looked at and needs somebody to hear of it, or to act. */
export interface Attended {
  readonly slotId: number;
  readonly unitSerialNumber: string;
  readonly generation: number;
  readonly renewUntil: Date;
  readonly notAfter: Date;
  readonly reminders: number;
  readonly isReminded: boolean;
  /** Passed the end of its window since the last look. */
  readonly isOverdue: boolean;
  /** Its next certificate is to be made ahead of time. */
  readonly needsPreissue: boolean;
}
