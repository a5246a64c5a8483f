import type { Transaction, Transactor } from '../platform/db/transaction.js';
import type { LedgerCursors, LedgerPage, LedgerPosition } from '../platform/ledger/cursors.js';
import type { NumberedEntry } from '../platform/ledger/entry-hash.js';

/** Somebody who follows the one order by a cursor of their own. */
export interface LedgerConsumer {
  /** The cursor's name. */
  readonly name: string;
  /** Takes a page in, inside the transaction that moves the cursor: so each entry acts once. */
  consume(tx: Transaction, entries: readonly NumberedEntry[]): Promise<void>;
  /** The cursor's place means nothing any more: puts right what was derived, and says where to go on. */
  resync(tx: Transaction, page: Extract<LedgerPage, { kind: 'resync' }>): Promise<LedgerPosition>;
}

const PAGE = 500;

/** @returns true when there may be more to read at once */
export async function consumeLedger(
  deps: { readonly transactor: Transactor; readonly cursors: LedgerCursors },
  consumer: LedgerConsumer,
): Promise<boolean> {
  return deps.transactor.run(async (tx) => {
    const page = await deps.cursors.readFrom(tx, consumer.name, PAGE);
    if (page.kind === 'resync') {
      await deps.cursors.advance(tx, consumer.name, await consumer.resync(tx, page));
      return true;
    }
    if (page.entries.length === 0) return false;
    await consumer.consume(tx, page.entries);
    await deps.cursors.advance(tx, consumer.name, page.position);
    return page.entries.length === PAGE;
  });
}
