import type { Transaction } from '../../platform/db/transaction.js';
import type { LedgerPosition } from '../../platform/ledger/cursors.js';
import type { AckStage, CrlPlace } from './feed.js';

/** A ledger row of the feed's kinds, before anybody has read its body. */
export interface FeedRow {
  readonly epoch: number;
  readonly seq: number;
  /** `certificate.revoked`, `.held` or `.released`. */
  readonly kind: string;
  readonly at: Date;
  readonly body: string;
}

export interface GatewayCursor {
  readonly received: LedgerPosition;
  readonly receivedAt: Date | null;
  readonly enforced: LedgerPosition;
  readonly enforcedAt: Date | null;
}

/** An approved gateway: its cursor, and the decision time of the oldest entry that each stage has not reached. */
export interface GatewayRow {
  readonly name: string;
  readonly approvedAt: Date;
  /** Null before its first acknowledgement. */
  readonly cursor: GatewayCursor | null;
  readonly oldestUnreceivedAt: Date | null;
  readonly oldestUnenforcedAt: Date | null;
}

/** When an approved gateway first acknowledged a position at or beyond an entry; null times are no longer on record. */
export interface EntryReceipt {
  readonly name: string;
  readonly approvedAt: Date;
  readonly received: boolean;
  readonly receivedAt: Date | null;
  readonly enforced: boolean;
  readonly enforcedAt: Date | null;
}

/** The ledger through the feed's eyes, and the rows of `gateway_cursor` and `gateway_receipt`. */
export interface FeedStore {
  /** Rows of the feed with `after.seq` < seq ≤ `toSeq` in the epoch, oldest first. */
  entries(tx: Transaction, after: LedgerPosition, toSeq: number, limit: number): Promise<FeedRow[]>;
  /** How many rows of any kind there are with `after.seq` < seq ≤ `toSeq`. */
  countNumbered(tx: Transaction, after: LedgerPosition, toSeq: number): Promise<number>;
  newest(tx: Transaction, epoch: number): Promise<FeedRow | null>;
  /** The newest row about a certificate with this serial number, in any epoch. */
  newestOf(tx: Transaction, serialHex: string): Promise<FeedRow | null>;
  /** Key identifiers in hex by issuer id. */
  issuerKeys(tx: Transaction, issuerIds: readonly number[]): Promise<ReadonlyMap<number, string>>;
  /** FQDNs by unit id. */
  unitNames(tx: Transaction, unitIds: readonly number[]): Promise<ReadonlyMap<number, string>>;
  crls(tx: Transaction): Promise<CrlPlace[]>;
  /** A position at or before `end` whose entries are all in the newest CRLs. Read `end` first. */
  coveredByCrls(tx: Transaction, end: LedgerPosition): Promise<LedgerPosition>;

  /** Makes the row where there is none, and locks it. */
  lockCursor(tx: Transaction, gatewayId: number): Promise<GatewayCursor>;
  writeCursor(tx: Transaction, gatewayId: number, stage: AckStage, to: LedgerPosition, at: Date): Promise<void>;
  /** Notes the time where an entry of the feed lies beyond `from` and not beyond `to`, which are of one epoch. */
  addReceipt(
    tx: Transaction,
    receipt: { gatewayId: number; stage: AckStage; from: LedgerPosition; to: LedgerPosition; at: Date },
  ): Promise<void>;
  gateways(tx: Transaction, epoch: number): Promise<GatewayRow[]>;
  receipts(tx: Transaction, entry: LedgerPosition): Promise<EntryReceipt[]>;
}
