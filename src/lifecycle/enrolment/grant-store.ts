import type { Transaction } from '../../platform/db/transaction.js';
import type { Actor } from '../model/index.js';
import type { GrantCodeHash } from './grant-code.js';

/** Leave to activate one unit on one line, once. */
export interface Grant {
  readonly id: number;
  readonly unitId: number;
  readonly kind: 'code' | 'order';
  /** Null for an order. */
  readonly code: GrantCodeHash | null;
  readonly lineId: number;
  readonly state: 'open' | 'spent' | 'locked' | 'withdrawn';
  /** Wrong codes from callers who had proved the bootstrap key. */
  readonly tries: number;
  readonly createdBy: Actor;
  readonly approvedBy: Actor | null;
  readonly createdAt: Date;
  readonly expiresAt: Date;
  readonly spentAt: Date | null;
}

export type NewGrant = Omit<Grant, 'id' | 'state' | 'tries' | 'spentAt'>;

export interface GrantStore {
  /** @throws FemtoError STATE_CONFLICT when the unit has an open one */
  insert(tx: Transaction, grant: NewGrant): Promise<Grant>;
  byId(tx: Transaction, grantId: number): Promise<Grant | null>;
  /** The unit's newest grant that was not withdrawn: open, locked or spent. */
  latest(tx: Transaction, unitId: number): Promise<Grant | null>;
  /** Counts a wrong code; at `triesMax` an open grant is locked. */
  countTry(tx: Transaction, grantId: number, triesMax: number): Promise<Grant>;
  /** open → spent; false when it is no longer open or has expired. */
  spend(tx: Transaction, spending: { grantId: number; attemptId: string; at: Date }): Promise<boolean>;
  /** open or locked → withdrawn. */
  withdraw(tx: Transaction, grantId: number): Promise<boolean>;
  /** Expired open grants of the unit become withdrawn, so that a new one can be made. */
  withdrawExpired(tx: Transaction, unitId: number, now: Date): Promise<void>;
  /** People were asked for a grant against the unit's live head and have not all answered. */
  isAwaitingApproval(tx: Transaction, unitSerialNumber: string, now: Date): Promise<boolean>;
  /** The switch of the whole fleet, or of one model (ENR-5). */
  isAdmissionFrozen(tx: Transaction, model: string): Promise<boolean>;
}
