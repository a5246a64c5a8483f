import type { Transaction } from '../platform/db/transaction.js';

/** What the renewal loop asks of the tasks' rows beside the room's own store. Every change is guarded by the row's state. */
export interface RenewalBook {
  /**
   * Ends tasks that have nothing left to do: the successor is confirmed, the lineage is closed, the unit may not serve.
   * @returns how many
   */
  closeSettled(tx: Transaction, at: Date): Promise<number>;
  /** Moves tasks past their window's end to `overdue`; returns them for the record. */
  markOverdue(tx: Transaction, at: Date, limit: number): Promise<TaskNote[]>;
  /** Open tasks that need work now, by slot id: never reminded, or last reminded before `remindedBefore`. */
  needingWork(tx: Transaction, options: WorkQuery): Promise<OpenWork[]>;
  /**
   * Counts a reminder for those of the slots that still need one, and only once however often the job runs.
   * @returns those that were counted by this call
   */
  markReminded(
    tx: Transaction,
    options: { slotIds: readonly number[]; at: Date; remindedBefore: Date },
  ): Promise<TaskNote[]>;
}

export interface WorkQuery {
  readonly afterSlotId: number;
  readonly remindedBefore: Date;
  readonly limit: number;
}

export interface OpenWork {
  readonly slotId: number;
  readonly renewalMode: 'rekey' | 'preissue';
}

export interface TaskNote {
  readonly slotId: number;
  readonly unitSerialNumber: string;
  readonly generation: number;
  readonly renewUntil: Date;
  readonly notAfter: Date;
  readonly reminders: number;
}
