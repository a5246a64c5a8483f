import type { Transaction } from '../db/transaction.js';
import type { NumberedEntry } from './entry-hash.js';

/** A place in the one order: everything up to and including `seq` of `epoch` has been taken in. `seq` 0 = nothing yet. */
export interface LedgerPosition {
  readonly epoch: number;
  readonly seq: number;
}

export type LedgerPage =
  | { readonly kind: 'entries'; readonly entries: readonly NumberedEntry[]; readonly position: LedgerPosition }
  /**
   * The position means nothing here: another epoch (a restore), beyond the end, or rows are missing behind it. The reader
   * drops what it derived, rebuilds it from tables, and goes on from `to`.
   */
  | { readonly kind: 'resync'; readonly reason: 'unknown-epoch' | 'beyond-end' | 'gap'; readonly to: LedgerPosition };

/** Readers of the order. A reader writes its effects and its advance in one transaction: so each entry acts once. */
export interface LedgerCursors {
  /** The next entries after a position that the caller keeps itself, e.g. a gateway's. At most `limit`. */
  readAfter(tx: Transaction, position: LedgerPosition, limit: number): Promise<LedgerPage>;
  /** The same for a named cursor of ours; locks it until `tx` ends. A new name starts at the beginning of the epoch. */
  readFrom(tx: Transaction, name: string, limit: number): Promise<LedgerPage>;
  /** @throws FemtoError STATE_CONFLICT when the cursor would go back within its epoch */
  advance(tx: Transaction, name: string, to: LedgerPosition): Promise<void>;
  /** The last numbered entry. */
  end(tx: Transaction): Promise<LedgerPosition>;
  /**
   * Age in milliseconds of the oldest entry that is not numbered yet, by the database's clock; 0 when there is none.
   * Above 60 s issuing stops, revoking goes on (rules 7.3).
   */
  backlogAgeMs(tx: Transaction): Promise<number>;
}

export const BACKLOG_MS_MAX = 60_000;
