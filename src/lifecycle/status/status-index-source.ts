import type { Transaction } from '../../platform/db/transaction.js';

/** Issued serials of one CA that expire on one day. */
export interface IssuedGroup {
  readonly issuerId: number;
  /** Whole days since 1970. */
  readonly expiryDay: number;
  /** Serials of 16 bytes, one after another. */
  readonly serials: Buffer;
  /** Those of another length, hex. */
  readonly otherHex: readonly string[];
}

/** Status rows of one CA: records of {@link ROW_RECORD_BYTES}. */
export interface RowGroup {
  readonly issuerId: number;
  /** serial (16) ‖ revokedAt in ms (8) ‖ expiry day (4) ‖ reason (2) ‖ state (2: 0 held, 1 revoked, 2 released). */
  readonly records: Buffer;
  readonly others: readonly {
    readonly serialHex: string;
    readonly revokedAtMs: number;
    readonly expiryDay: number;
    readonly reason: number;
    readonly state: number;
  }[];
}

export const ROW_RECORD_BYTES = 32;

/** Opaque: where a page ended. Null after the last page. */
export type PageEnd = readonly unknown[] | null;

/** The tables as the index loads them: page by page, each a statement of its own, so that no snapshot is held for long. */
export interface StatusIndexSource {
  /** @param after  `[]` to begin */
  issued(
    tx: Transaction,
    keptFrom: Date,
    after: readonly unknown[],
    limit: number,
  ): Promise<{ readonly groups: readonly IssuedGroup[]; readonly end: PageEnd }>;
  rows(
    tx: Transaction,
    keptFrom: Date,
    after: readonly unknown[],
    limit: number,
  ): Promise<{ readonly groups: readonly RowGroup[]; readonly end: PageEnd }>;
  /** When the oldest intent that is still being signed was made; null when there is none. */
  oldestOpenIntent(tx: Transaction): Promise<Date | null>;
}
