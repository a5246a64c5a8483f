import type { NumberedEntry } from '../../platform/ledger/entry-hash.js';

/** Where a verifier reads a ledger from: a database, or a directory that somebody was handed. Everything streams. */
export interface LedgerSource {
  /** For the report, e.g. `export /tmp/x` or `database`. */
  readonly name: string;
  describe(): Promise<LedgerDescription>;
  /** All stored entries of an epoch by (claimed) number, oldest first. */
  entries(epoch: number): AsyncIterable<NumberedEntry>;
  /** All stored heads of an epoch by size. */
  heads(epoch: number): AsyncIterable<StoredHead>;
  /** Anchors of an epoch by size; null when the source has none to look at. */
  anchors(epoch: number): AsyncIterable<StoredAnchor> | null;
  close(): Promise<void>;
}

export interface LedgerDescription {
  /** Hex id; null when the source does not know it. */
  readonly installation: string | null;
  /** Ascending. Epochs that any row, head or anchor mentions. */
  readonly epochs: readonly number[];
  /** What the sequencer believes it has numbered, by epoch. */
  readonly sizes: ReadonlyMap<number, number>;
  /** Committed entries without a number yet. */
  readonly unsequenced: number;
  readonly oldestUnsequencedAt: Date | null;
  /** PEM; the audit certificates that heads may be signed with. */
  readonly auditCertificates: readonly string[];
}

export interface StoredHead {
  readonly epoch: number;
  readonly size: number;
  readonly merkleRoot: Buffer;
  readonly chainHash: Buffer;
  readonly at: Date;
  readonly headText: string;
  readonly signature: Buffer;
  readonly anchoredAt: Date | null;
}

export interface StoredAnchor {
  readonly fileName: string;
  readonly epoch: number;
  readonly size: number;
  /** The file's content; judged, not believed. */
  readonly text: string;
}
