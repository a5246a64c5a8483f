import type { RowSource } from '../../platform/db/row-source.js';
import type { Transaction } from '../../platform/db/transaction.js';
import type { EntryPattern } from '../../platform/ledger/entry-pattern.js';
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
   * Adds a row for each certificate of a source that has none yet, with an entry in the ledger.
   *
   * @param source  columns issuer_id, serial, not_after, unit_id, and subject for the entry; each certificate once
   * @returns `left`: how many have a row already, of whatever state, or a serial of another shape; they are as they were
   */
  addRows(
    tx: Transaction,
    source: RowSource,
    addition: {
      readonly state: StatusState;
      readonly reason: number;
      readonly at: Date;
      /** The CRL entry without its serial, which is 16 octets and positive. */
      readonly entry: { readonly before: Buffer; readonly after: Buffer };
      readonly record: EntryPattern<'issuerId' | 'serial' | 'notAfter' | 'unitId'>;
    },
  ): Promise<AddedRows>;
  /**
   * Marks the CRLs of these issuers as out of date and wakes publishers and caches when the transaction commits.
   * Last statement of the caller's work: the mark is one row an issuer, and everybody who revokes waits for it.
   */
  markDirty(tx: Transaction, issuerIds: readonly number[], changed: readonly CertificateKey[]): Promise<void>;
}

export interface CertificateKey {
  readonly issuerId: number;
  readonly serial: Buffer;
}

export interface AddedRows {
  readonly added: number;
  readonly left: number;
  readonly issuerIds: readonly number[];
  readonly unitIds: readonly number[];
  /** Of those added, at most one more than a notice names. */
  readonly some: readonly CertificateKey[];
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
