import type { Transaction } from '../../platform/db/transaction.js';
import type { Actor, LineageSlot } from '../model/index.js';

export type LineageState = 'open' | 'quarantined' | 'closed';

/** A unit's chain of operational certificates; at most one per unit is not closed. */
export interface Lineage {
  readonly id: number;
  readonly unitId: number;
  readonly state: LineageState;
  readonly openedAt: Date;
  readonly closedAt: Date | null;
  readonly closeReason: string | null;
  /** SHA-256 of the token that the last confirm returned; null until one did (pre-issue). */
  readonly tokenHash: Buffer | null;
  /** Last soft displacement: at most one an hour. */
  readonly lastSoftAt: Date | null;
}

/** A lineage with all its slots, oldest generation first; what {@link judgeRenewal} and {@link judgeUse} look at. */
export interface LineageView {
  readonly lineage: Lineage;
  readonly slots: readonly LineageSlot[];
}

/** A slot, and all that stands beside it. */
export interface SlotView {
  readonly slot: LineageSlot;
  readonly view: LineageView;
}

/** How a pending slot came to be proved (rules 4). */
export type ConfirmedBy = 'confirm-call' | 'certConf' | 'first-permit' | 'renewal';

/**
 * Reads and changes lineages inside the caller's transaction. Lock order everywhere: unit, then lineage, then slot; each
 * in ascending id.
 */
export interface Lineages {
  /** The newest slot that holds this key, living ones first. */
  slotByKey(tx: Transaction, spkiHash: Buffer): Promise<LineageSlot | null>;
  /** The slot of a certificate with its whole lineage; null when the serial is not an operational one of ours. */
  viewBySerial(tx: Transaction, issuerId: number, serial: Buffer): Promise<SlotView | null>;
  view(tx: Transaction, lineageId: number): Promise<LineageView | null>;
  /** The lineage as it stays until commit: nobody else changes it, or what takes this lock first. */
  lock(tx: Transaction, lineageId: number): Promise<Lineage | null>;
  /** As `lock`, of the lineage that this certificate's slot belongs to, with the slot. */
  lockBySerial(
    tx: Transaction,
    issuerId: number,
    serial: Buffer,
  ): Promise<{ readonly slot: LineageSlot; readonly lineage: Lineage } | null>;
  /** The unit's lineage that is open or quarantined. */
  liveViewOfUnit(tx: Transaction, unitId: number, options?: { lock?: boolean }): Promise<LineageView | null>;

  /**
   * pending → confirmed, with ledger `lineage.confirmed`. Idempotent: false when it was confirmed already.
   *
   * @param options.lineId  the authoritative line it was proved from, kept for later comparison
   * @throws STATE_CONFLICT when the slot is displaced, abandoned or still signing
   */
  confirmSlot(
    tx: Transaction,
    options: { slotId: number; by: ConfirmedBy; at: Date; actor?: Actor; lineId?: number | null },
  ): Promise<boolean>;
  /**
   * pending → displaced with nothing in its place, ledger `lineage.displaced`: the unit did not take the certificate. It is a
   * displacement like any other: at most one an hour, and the key proved again is a second holder. False when it was
   * displaced already.
   *
   * @throws STATE_CONFLICT when the slot is confirmed or never delivered; RATE_LIMITED within the hour
   */
  refuseSlot(tx: Transaction, options: { slotId: number; at: Date; actor: Actor }): Promise<boolean>;
  /** Notes that a gateway saw the certificate in use; cheap, at most one write a minute a slot. */
  touchSlot(tx: Transaction, options: { slotId: number; at: Date; lineId: number | null }): Promise<void>;
  /** The authoritative line from which a slot was confirmed or last used; null when no such line is known. */
  lineOfSlot(tx: Transaction, slotId: number): Promise<number | null>;
  /** Stores the hash of the token that the next pick-up must present (pre-issue). */
  setToken(tx: Transaction, options: { lineageId: number; tokenHash: Buffer }): Promise<void>;

  /**
   * Hard fork: state `quarantined`, the unit's revocation epoch rises (so that no issuance in flight completes), ledger
   * `lineage.forked` grade hard. Holding the certificates and the unit's state is the caller's next step in the same
   * transaction. False when it was quarantined already.
   */
  quarantineLineage(tx: Transaction, options: ForkReport): Promise<boolean>;
  /** Soft or strong evidence: ledger `lineage.forked`, nothing changes. */
  recordFork(tx: Transaction, options: ForkReport & { grade: 'soft' | 'strong' }): Promise<void>;
  /** open or quarantined → closed, the epoch rises, ledger `lineage.closed`. False when it was closed already. */
  closeLineage(
    tx: Transaction,
    options: { lineageId: number; reason: string; actor: Actor; at: Date },
  ): Promise<boolean>;
}

/** What a fork entry tells: which key was presented against which successor, and what proved it. */
export interface ForkReport {
  readonly lineageId: number;
  readonly at: Date;
  readonly actor: Actor;
  /** Name of the verdict's row, see judge-renewal. */
  readonly row: string;
  /** Slot whose key was presented; null for generation 0. */
  readonly presentedSlotId: number | null;
  readonly successorSlotId: number | null;
  readonly facts?: Readonly<Record<string, unknown>>;
}
