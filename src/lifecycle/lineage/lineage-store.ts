import type { Transaction } from '../../platform/db/transaction.js';
import type { LineageSlot } from '../model/index.js';
import type { ConfirmedBy, Lineage, LineageState, SlotView } from './lineage.js';

/** Rows of `lineage` and `lineage_slot`. Only the lineage room and issuance's T1/T2 write them. */
export interface LineageStore {
  /** The slot with its lineage and all slots of that, in one snapshot. */
  viewBySerial(tx: Transaction, issuerId: number, serial: Buffer): Promise<SlotView | null>;
  /** The slot, and its lineage FOR NO KEY UPDATE. */
  lockBySerial(
    tx: Transaction,
    issuerId: number,
    serial: Buffer,
  ): Promise<{ readonly slot: LineageSlot; readonly lineage: Lineage } | null>;
  slotsByKey(tx: Transaction, spkiHash: Buffer): Promise<LineageSlot[]>;
  slotById(tx: Transaction, slotId: number): Promise<LineageSlot | null>;
  lineage(tx: Transaction, lineageId: number, lock: boolean): Promise<Lineage | null>;
  liveLineageOfUnit(tx: Transaction, unitId: number, lock: boolean): Promise<Lineage | null>;
  /** Oldest generation first, then by id. */
  slots(tx: Transaction, lineageId: number): Promise<LineageSlot[]>;
  /** pending → confirmed; null when the row was not pending. */
  confirm(tx: Transaction, change: SlotConfirmation): Promise<ConfirmedSlot | null>;
  /** pending → displaced, counted as the lineage's displacement of this hour. */
  refuse(tx: Transaction, change: { slotId: number; at: Date }): Promise<'refused' | 'not-pending' | 'too-soon'>;
  touch(tx: Transaction, change: { slotId: number; at: Date; lineId: number | null }): Promise<void>;
  /** Authoritative line of the slot's confirm or last use; null when there was none. */
  lineOf(tx: Transaction, slotId: number): Promise<number | null>;
  setToken(tx: Transaction, change: { lineageId: number; tokenHash: Buffer }): Promise<void>;
  /** Moves a lineage on; false when its state was not one of `from`. Locks unit before lineage, raises the unit's epoch. */
  leave(
    tx: Transaction,
    change: { lineageId: number; from: readonly LineageState[]; to: LineageState; at: Date; reason: string },
  ): Promise<boolean>;
  /** `serial_number` of a lineage's unit, for the ledger. */
  unitSerialNumber(tx: Transaction, lineageId: number): Promise<string>;
}

export interface CertificateName {
  readonly issuerId: number;
  readonly serial: Buffer;
}

export interface SlotConfirmation {
  readonly slotId: number;
  readonly at: Date;
  readonly by: ConfirmedBy;
  readonly lineId: number | null;
}

/** A slot as it is afterwards, and whose it is, for the ledger. */
export interface ConfirmedSlot extends LineageSlot {
  readonly unitSerialNumber: string;
}
