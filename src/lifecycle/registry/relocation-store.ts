import type { Transaction } from '../../platform/db/transaction.js';
import type { Actor } from '../model/index.js';

/** Leave for one unit to move to one new line, once, until it expires (NET-2). */
export interface RelocationOrder {
  readonly id: number;
  readonly unitId: number;
  readonly serialNumber: string;
  readonly lineId: number;
  readonly lineName: string;
  readonly state: 'open' | 'spent' | 'expired' | 'withdrawn';
  readonly reason: string;
  readonly createdBy: Actor;
  readonly createdAt: Date;
  readonly expiresAt: Date;
  readonly closedAt: Date | null;
}

/** Rows of `relocation_order`. */
export interface RelocationStore {
  /** False when the unit or the line has an open order already. */
  add(
    tx: Transaction,
    order: { unitId: number; lineId: number; reason: string; createdBy: Actor; createdAt: Date; expiresAt: Date },
  ): Promise<number | null>;
  /** Open orders of a unit or to a line whose time is over become `expired`. */
  expire(tx: Transaction, of: { unitId: number; lineId: number; at: Date }): Promise<void>;
  /** The open, unexpired order of a unit to a line, locked. */
  open(tx: Transaction, of: { unitId: number; lineId: number; at: Date }): Promise<RelocationOrder | null>;
  /** False when it was not open any more. */
  close(tx: Transaction, change: { id: number; state: 'spent' | 'withdrawn'; at: Date }): Promise<boolean>;
  openOf(tx: Transaction, unitId: number): Promise<RelocationOrder | null>;
  /** Newest first. */
  list(tx: Transaction, page: { unitId?: number; limit: number }): Promise<RelocationOrder[]>;
}
