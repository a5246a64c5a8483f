import type { Transaction } from '../db/transaction.js';

/**
 * One fact, appended in the transaction that made it true. `body` holds plain JSON values (hex for bytes, ISO 8601 for
 * times), never a secret, a key or a subscriber identifier; at most 16 KiB.
 */
export interface LedgerEntry {
  /** `<noun>.<past participle>`, e.g. `certificate.intended`, `certificate.issued`, `unit.state-changed`, `request.refused`. */
  readonly kind: string;
  /** What it is about: `unit:<serial number>`, `issuer:<label>`, `person:<name>`, `batch:<id>`, … */
  readonly subject: string;
  readonly at: Date;
  readonly body: Readonly<Record<string, unknown>>;
}

/** The only way into the ledger: unordered here, numbered later by the sequencer (rules 7.1). */
export interface Ledger {
  append(tx: Transaction, entries: readonly LedgerEntry[]): Promise<void>;
}
