import type { Lease } from '../../platform/db/lease.js';
import type { Snapshot, Transaction } from '../../platform/db/transaction.js';

/** A CA whose CRL we sign online. */
export interface CrlIssuer {
  readonly id: number;
  readonly label: string;
  readonly keyLabel: string;
  readonly subjectDer: Buffer;
  readonly keyIdentifier: Buffer;
  readonly certificateDer: Buffer;
  /** Highest number ever recorded, published or not. */
  readonly numberLast: number;
}

/** A CRL as recorded (T2), without its bytes: there may be tens of megabytes of them, and this is read all the time. */
export interface RecordedCrl {
  readonly number: number;
  readonly thisUpdate: Date;
  readonly nextUpdate: Date;
  readonly entryCount: number;
  /** Of the whole CRL. */
  readonly sha256: Buffer;
  /** Null until its file was written. */
  readonly publishedAt: Date | null;
}

/** Opaque version of a `crl_dirty` row. */
export type DirtyToken = string;

/** Where one CA stands, in one snapshot with all others. */
export interface CrlStanding {
  readonly issuer: CrlIssuer;
  readonly newest: RecordedCrl | null;
  /** Null: nothing was held, revoked or released since the newest CRL was begun. */
  readonly dirty: DirtyToken | null;
}

/** What is to be recorded with a new CRL. */
export interface NewCrl extends Omit<RecordedCrl, 'publishedAt'> {
  readonly issuerId: number;
  readonly der: Buffer;
  /** Of the TBSCertList, as the signer's journal has it. */
  readonly tbsSha256: Buffer;
  readonly lease: Lease;
}

/** Entries of one CA, in order of serial. */
export interface ListedPage {
  /** Ready entries, one after another. */
  readonly entriesDer: Buffer;
  /** One a entry: u32 big-endian, seconds since 1970, notAfter rounded up. */
  readonly notAfters: Buffer;
  /** True: there may be more behind the last serial. */
  readonly isFull: boolean;
}

/** Some entries of one CA, in no order. */
export interface ListedPart extends Pick<ListedPage, 'entriesDer' | 'notAfters'> {
  readonly issuerId: number;
}

export interface CrlStore {
  /** Device, Bootstrap and Services CAs that may still have unexpired certificates; by id. One statement. */
  standings(tx: Transaction, now: Date): Promise<CrlStanding[]>;
  /** Null: no such CRL, or its bytes are not kept any more. Read in slices, so that no statement and no parse is long. */
  der(tx: Transaction, crl: { readonly issuerId: number; readonly number: number }): Promise<Buffer | null>;
  /** The newest CRL of one CA, and how long it is. */
  newestOf(tx: Transaction, issuerId: number): Promise<{ number: number; thisUpdate: Date; bytes: number } | null>;
  /** Recorded CRLs with a number above the known one of their label; for servers that do not share the publisher's disk. */
  newerThan(
    tx: Transaction,
    known: ReadonlyMap<string, bigint>,
  ): Promise<{ label: string; issuerId: number; number: number }[]>;
  /**
   * Held and revoked certificates of one CA by serial, as the statement finds them.
   *
   * @param after  the last serial of the page before; empty to begin
   * @param expiringAfter  whole seconds; certificates that end then or before are left out
   */
  listedPage(
    tx: Transaction,
    page: { readonly issuerId: number; readonly expiringAfter: Date; readonly after: Buffer; readonly limit: number },
  ): Promise<ListedPage>;
  /**
   * The same of every CA, in the order in which the rows lie, and in one snapshot: for whoever has nothing in memory. By
   * serial each row would be fetched from another place on the disk.
   */
  listedParts(snapshot: Snapshot, expiringAfter: Date, take: (part: ListedPart) => void): Promise<void>;
  /**
   * Gives out the next number, above `above` and all given out or recorded before; committed before the signer is asked, because
   * that signs no number twice. What becomes of it does not matter: numbers rise, they need not be without a gap.
   */
  giveNumber(tx: Transaction, issuerId: number, above: number): Promise<number>;
  /** Inserts the row and tells {@link CRL_CHANNEL}; 23514 from the trigger means that the number does not rise. */
  record(tx: Transaction, crl: NewCrl): Promise<void>;
  /** Removes the mark only when it is still the version seen before the entries were read. */
  clearDirty(tx: Transaction, issuerId: number, token: DirtyToken): Promise<void>;
  markPublished(tx: Transaction, issuerId: number, number: number, at: Date): Promise<void>;
  /** Drops the bytes of CRLs below this number; their rows and hashes stay. */
  dropBytes(tx: Transaction, issuerId: number, belowNumber: number): Promise<void>;
  /**
   * What the record says about entries that are gone: read from the ledger (sequenced or not), not from the rows that
   * the CRL is made of, so that one faulty read or one edited row cannot shorten a CRL.
   */
  witnesses(tx: Transaction, issuerId: number, serials: readonly Buffer[]): Promise<StatusWitness[]>;
}

/** PostgreSQL channel that names each CRL when it is recorded: `<label>:<number>`. A hint; the rows are the truth. */
export const CRL_CHANNEL = 'femtopki_crl';

export interface StatusWitness {
  readonly serialHex: string;
  readonly kind: 'certificate.revoked' | 'certificate.held' | 'certificate.released';
  readonly notAfter: Date;
  readonly at: Date;
}

/** Where CRLs lie for the world to fetch: `<label>.crl`, written whole or not at all. A directory, or a bucket. */
export interface CrlFiles {
  /** Another one for every file that is put there; null: there is none. Asked several times a second for each CA. */
  stamp(label: string): Promise<string | null>;
  /** Null: there is none, or what lies there is no CRL. */
  newest(label: string): Promise<PublishedCrl | null>;
  /**
   * Returns when the new bytes and their name are safe: a reader finds them, and a power cut does not take them back.
   * @returns its stamp
   * @throws when the disk refuses; the old file stays whole. FemtoError STATE_CONFLICT where several hosts write and a list
   *   of a higher number lies there
   */
  publish(label: string, der: Buffer): Promise<string>;
}

export interface PublishedCrl {
  readonly number: bigint;
  readonly thisUpdate: Date;
  readonly nextUpdate: Date | undefined;
  readonly der: Buffer;
}
