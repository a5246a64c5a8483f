import type { Lease } from '../../platform/db/lease.js';
import type { Transaction } from '../../platform/db/transaction.js';
import type { CrlPart } from '../../x509/crl-part.js';

/** A CA whose parts are behind its newest complete CRL. */
export interface BehindCa {
  readonly issuerId: number;
  readonly label: string;
  readonly keyLabel: string;
  readonly isDeviceCa: boolean;
  readonly subjectDer: Buffer;
  readonly keyIdentifier: Buffer;
  readonly spkiDer: Buffer;
  readonly complete: { readonly number: number; readonly thisUpdate: Date; readonly nextUpdate: Date };
  /** What the next delta builds on; null: there has been no delta yet. */
  readonly base: { readonly number: number; readonly thisUpdate: Date; readonly nextUpdate: Date } | null;
}

/** The newest of a part, as recorded, without its bytes. */
export interface RecordedPart {
  readonly issuerId: number;
  readonly label: string;
  readonly part: CrlPart;
  readonly number: number;
  readonly thisUpdate: Date;
  readonly entriesSha256: Buffer;
  /** Null until its file was written. */
  readonly publishedAt: Date | null;
}

export interface NewPart {
  readonly part: CrlPart;
  readonly number: number;
  /** For a delta. */
  readonly baseNumber: number | null;
  readonly thisUpdate: Date;
  readonly nextUpdate: Date;
  readonly entryCount: number;
  readonly entriesSha256: Buffer;
  readonly tbsSha256: Buffer;
  readonly sha256: Buffer;
  readonly der: Buffer;
}

export interface NewBase {
  readonly number: number;
  readonly thisUpdate: Date;
  readonly nextUpdate: Date;
  readonly der: Buffer;
}

/** Tables `crl_part` and `crl_parts_state`: never `crl`, whose newest row of a CA is its complete CRL. */
export interface CrlPartStore {
  /** By id; CAs whose newest CRL is of the time from `now` on. */
  behind(tx: Transaction, now: Date): Promise<BehindCa[]>;
  newest(tx: Transaction): Promise<RecordedPart[]>;
  der(tx: Transaction, part: Pick<RecordedPart, 'issuerId' | 'part' | 'number'>): Promise<Buffer | null>;
  baseDer(tx: Transaction, issuerId: number): Promise<Buffer | null>;
  /** Unexpired certificates that were let go since then, by serial; at most {@link RELEASED_MAX} + 1. */
  released(tx: Transaction, issuerId: number, since: Date, now: Date): Promise<{ serial: Buffer; at: Date }[]>;
  /** Inserts the rows, keeps only their bytes and tells `CRL_CHANNEL`; 23514 from the trigger means that a number does not rise. */
  record(tx: Transaction, issuerId: number, parts: readonly NewPart[], lease: Lease): Promise<void>;
  /** The parts have followed the complete CRL of this number; `base` where the next delta builds on another one. */
  markDone(tx: Transaction, issuerId: number, number: number, base: NewBase | null): Promise<void>;
  markPublished(tx: Transaction, part: Pick<RecordedPart, 'issuerId' | 'part' | 'number'>, at: Date): Promise<void>;
  /** Newest parts above the known number of their name (`<label>.<part>`); for servers that do not share the publisher's disk. */
  newerThan(tx: Transaction, known: ReadonlyMap<string, bigint>): Promise<RecordedPart[]>;
}

/** A delta of more is no use: the complete CRL of a CA with so many is hardly larger. */
export const RELEASED_MAX = 50_000;
