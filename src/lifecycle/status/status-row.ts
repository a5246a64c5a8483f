import type { Transaction } from '../../platform/db/transaction.js';
import type { CredentialStatus } from '../model/index.js';

export type StatusState = 'held' | 'revoked' | 'released';

/** What the world is told about one certificate that is not simply good. */
export interface StatusRow {
  readonly issuerId: number;
  readonly serial: Buffer;
  readonly notAfter: Date;
  readonly unitId: number | null;
  readonly state: StatusState;
  /** RFC 5280 section 5.3.1 code. */
  readonly reason: number;
  readonly revokedAt: Date;
  /** The ready CRL entry, DER: a CRL only joins these. */
  readonly entryDer: Buffer;
  readonly changedAt: Date;
}

/** A certificate by value. */
export interface StatusSubject {
  readonly issuerId: number;
  readonly serial: Buffer;
  readonly notAfter: Date;
  readonly unitId: number | null;
}

export interface StatusRowStore {
  /** Rows that exist, locked until the transaction ends. */
  lockRows(tx: Transaction, subjects: readonly StatusSubject[]): Promise<StatusRow[]>;
  /** Inserts or overwrites. A row that somebody else revoked meanwhile is left as it is. Returns the rows written. */
  writeRows(tx: Transaction, rows: readonly StatusRow[]): Promise<StatusRow[]>;
  /**
   * Marks the CRLs of these issuers as out of date and wakes publishers and caches when the transaction commits.
   * Last statement of the caller's work: the mark is one row an issuer, and everybody who revokes waits for it.
   */
  markDirty(tx: Transaction, issuerIds: readonly number[], changed: readonly StatusRow[]): Promise<void>;
}

/** Is a certificate good, by its row alone: what our own doors ask, where OCSP asks `StatusReader`. */
export interface CredentialStatusReader {
  status(
    tx: Transaction,
    certificate: { readonly issuerId: number; readonly serial: Buffer },
  ): Promise<CredentialStatus>;
}

/** PostgreSQL channel on which {@link StatusRowStore.markDirty} speaks; payload: `*`, or `<issuerId>:<serial hex>` by spaces. */
export const STATUS_CHANNEL = 'femtopki_status';
/** A NOTIFY carries at most 8,000 bytes; beyond this many serials it says `*`. */
export const SERIALS_IN_NOTICE_MAX = 100;
