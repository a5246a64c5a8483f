import type { Transaction } from '../platform/db/transaction.js';

/** Rows that mean nothing any more, and tables that will be needed. Nothing here is evidence: that is kept (AUD-3). */
export interface Housekeeping {
  /** @returns rows removed by table, or emptied by `table.column`; -1 for a table that went whole, as days of decisions do */
  purge(tx: Transaction): Promise<Readonly<Record<string, number>>>;
  /** Partitions for the months to come; harmless when they are there. */
  ensurePartitions(tx: Transaction): Promise<void>;
}
