import type { Transaction } from '../../platform/db/transaction.js';

/** A manufacturer: a tenant with its own manifest key and its own EUI ranges. */
export interface Maker {
  readonly id: number;
  readonly name: string;
  /** SubjectPublicKeyInfo of the P-256 key that signs its manifests. */
  readonly manifestKeySpki: Buffer;
  /** Lower-case hex prefixes of its EUIs; no maker's prefix is a prefix of another's. */
  readonly euiPrefixes: readonly string[];
  readonly state: 'active' | 'frozen';
}

export interface Batch {
  readonly id: number;
  readonly makerId: number;
  readonly name: string;
  readonly model: string;
  /** 64 lower-case hex digits. */
  readonly firmwareSha256: string;
  readonly state: 'submitted' | 'open' | 'closed';
  readonly manifestSha256: Buffer;
  readonly unitCount: number;
  readonly submittedAt: Date;
  readonly acceptedAt: Date | null;
  readonly closedAt: Date | null;
}

export interface NewBatch {
  readonly makerId: number;
  readonly name: string;
  readonly model: string;
  readonly firmwareSha256: string;
  readonly manifestSha256: Buffer;
  /** The signed manifest as received, kept as proof of what the maker said. */
  readonly manifestJws: string;
  readonly unitCount: number;
  readonly submittedAt: Date;
}

/** Rows of `maker` and `batch`. */
export interface MakerStore {
  maker(tx: Transaction, by: { id: number } | { name: string }): Promise<Maker | null>;
  makers(tx: Transaction): Promise<Maker[]>;
  /** Locks the table against another maker with overlapping prefixes at the same moment. Null when the name is taken. */
  addMaker(tx: Transaction, maker: Omit<Maker, 'id' | 'state'> & { createdAt: Date }): Promise<Maker | null>;
  lockMakers(tx: Transaction): Promise<void>;
  setMakerState(tx: Transaction, makerId: number, state: Maker['state']): Promise<void>;

  batch(
    tx: Transaction,
    by: { id: number } | { makerId: number; name: string },
    lock?: 'update',
  ): Promise<Batch | null>;
  batchByManifest(tx: Transaction, manifestSha256: Buffer): Promise<Batch | null>;
  batches(tx: Transaction, filter: { makerId?: number; afterId: number; limit: number }): Promise<Batch[]>;
  manifestJws(tx: Transaction, batchId: number): Promise<string | null>;
  /** Null when this manifest, or this maker's batch name, is known already. */
  addBatch(tx: Transaction, batch: NewBatch): Promise<Batch | null>;
  setBatchState(tx: Transaction, batchId: number, state: 'open' | 'closed', at: Date): Promise<void>;
  /** Units of a batch by state. */
  countByState(tx: Transaction, batchId: number): Promise<Readonly<Record<string, number>>>;
}
