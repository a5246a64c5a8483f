import type { Lease } from '../../platform/db/lease.js';
import type { Transaction } from '../../platform/db/transaction.js';

/** A CA whose CRL we sign online. */
export interface CrlIssuer {
  readonly id: number;
  readonly label: string;
  readonly keyLabel: string;
  readonly subjectDer: Buffer;
  readonly keyIdentifier: Buffer;
  readonly spkiDer: Buffer;
  /** Highest number ever given out, published or not. */
  readonly numberLast: number;
}

/** A CRL as recorded (T2). */
export interface RecordedCrl {
  readonly issuerId: number;
  readonly number: number;
  readonly thisUpdate: Date;
  readonly nextUpdate: Date;
  readonly entryCount: number;
  readonly sha256: Buffer;
  readonly der: Buffer;
  /** Null until its file was written. */
  readonly publishedAt: Date | null;
}

export interface ListedEntry {
  readonly serial: Buffer;
  readonly entryDer: Buffer;
}

/** Opaque version of a `crl_dirty` row. */
export type DirtyToken = string;

export interface CrlStore {
  /** Device, Bootstrap and Services CAs that may still have unexpired certificates; by id. */
  issuers(tx: Transaction, now: Date): Promise<CrlIssuer[]>;
  dirtyTokens(tx: Transaction): Promise<ReadonlyMap<number, DirtyToken>>;
  newest(tx: Transaction, issuerId: number): Promise<RecordedCrl | null>;
  /** Published CRLs with a number above the known one of their label; for servers that do not share the publisher's disk. */
  newerThan(tx: Transaction, known: ReadonlyMap<string, bigint>): Promise<{ label: string; der: Buffer }[]>;
  /** Held and revoked certificates that expire after `expiringAfter`, by serial. */
  listed(tx: Transaction, issuerId: number, expiringAfter: Date): Promise<ListedEntry[]>;
  /** Inserts the row; 23514 from the trigger means that the number does not rise. */
  record(tx: Transaction, crl: RecordedCrl & { readonly lease: Lease }): Promise<void>;
  /** Removes the mark only when it is still the version seen before the entries were read. */
  clearDirty(tx: Transaction, issuerId: number, token: DirtyToken): Promise<void>;
  markPublished(tx: Transaction, issuerId: number, number: number, at: Date): Promise<void>;
  /**
   * What the record says about entries that are gone: read from the ledger (sequenced or not), not from the rows that
   * the CRL is made of, so that one faulty read or one edited row cannot shorten a CRL.
   */
  witnesses(tx: Transaction, issuerId: number, serials: readonly Buffer[]): Promise<StatusWitness[]>;
}

export interface StatusWitness {
  readonly serialHex: string;
  readonly kind: 'certificate.revoked' | 'certificate.held' | 'certificate.released';
  readonly notAfter: Date;
  readonly at: Date;
}

/** Where CRLs lie for the world to fetch: a directory of `<label>.crl`, written whole or not at all. */
export interface CrlFiles {
  /** Null: there is none, or what lies there is no CRL. */
  newest(label: string): Promise<PublishedCrl | null>;
  /** Returns when the new bytes and their name are on the disk. @throws when the disk refuses; the old file stays whole. */
  publish(label: string, der: Buffer): Promise<void>;
}

export interface PublishedCrl {
  readonly number: bigint;
  readonly thisUpdate: Date;
  readonly nextUpdate: Date | undefined;
  readonly der: Buffer;
}
