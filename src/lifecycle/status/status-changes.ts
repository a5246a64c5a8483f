import type { Transaction } from '../../platform/db/transaction.js';
import type { LedgerPosition } from '../../platform/ledger/cursors.js';
import type { StatusRow } from './status-row.js';

/** Ledger kinds that change what may be said about a certificate. */
export type StatusChangeKind =
  | 'certificate.issued'
  | 'certificate.revoked'
  | 'certificate.held'
  | 'certificate.released';

export interface StatusChangeQuery {
  /** Everything up to here has been taken in. */
  readonly after: LedgerPosition;
  readonly kinds: readonly StatusChangeKind[];
  /** Ledger rows of any kind that one call looks through; default 10,000. */
  readonly numberedMax?: number;
  /** Rows of the wanted kinds that one call takes out of the inbox; default 10,000. */
  readonly unnumberedMax?: number;
}

/** A certificate that the ledger speaks of, as its rows stand in the snapshot, whatever the entries said before. */
export interface ChangedCertificate {
  readonly issuerId: number;
  readonly serial: Buffer;
  readonly notAfter: Date;
  /** An entry of these tells that it was issued. False proves nothing: its entry may lie before `after`. */
  readonly isIssued: boolean;
  /** Null: neither held nor revoked, nor ever was. */
  readonly row: StatusRow | null;
}

/** What one snapshot of the database was. */
export interface StatusSnapshot {
  /** The primary's last heartbeat in it; null before the first. */
  readonly heartbeatAt: Date | null;
  readonly isPrimary: boolean;
  /** The last numbered entry in it. */
  readonly end: LedgerPosition;
}

export type StatusChanges =
  | {
      readonly kind: 'changes';
      readonly snapshot: StatusSnapshot;
      /**
       * Each certificate once. Taking one in twice is harmless: what is in the inbox now comes again with its number.
       */
      readonly certificates: readonly ChangedCertificate[];
      /** The caller's next `after`. */
      readonly position: LedgerPosition;
      /**
       * True when nothing that is committed in the snapshot was left out, so that the caller stands where the snapshot
       * does. False at a page bound: read on at `position`, and claim nothing new until it is true.
       */
      readonly isWhole: boolean;
    }
  /**
   * The position means nothing here: another epoch (a restore), beyond the end, rows missing behind it, or an entry that
   * names no certificate. Drop what was derived, rebuild it from tables that are read after this call, and go on from `to`.
   */
  | {
      readonly kind: 'resync';
      readonly reason: 'unknown-epoch' | 'beyond-end' | 'gap' | 'unreadable';
      readonly snapshot: StatusSnapshot;
      readonly to: LedgerPosition;
    };

/**
 * Every change of status after a position, in one snapshot: what is numbered, and what is committed and not numbered yet.
 *
 * A transaction that commits late is in the inbox or gets a number beyond `position`: it is never passed over (rules 7.2).
 * A reader that starts anew takes {@link StatusSnapshot.end} first, reads its tables in as many statements as it likes,
 * and goes on from that end: whatever its tables were too early to see comes after it.
 */
export interface StatusChangeReader {
  /** @param tx  the primary or a replica; writes nothing */
  changesAfter(tx: Transaction, query: StatusChangeQuery): Promise<StatusChanges>;
  snapshot(tx: Transaction): Promise<StatusSnapshot>;
}
