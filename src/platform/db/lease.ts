import type { Transaction } from './transaction.js';

/** The right to do one thing alone for a while. `fence` rises with every new holder, for ever. */
export interface Lease {
  readonly name: string;
  readonly holder: string;
  readonly fence: number;
}

/**
 * Leases live in PostgreSQL and run on its clock. A holder that was paused past its lease learns it at the next
 * {@link Leases.check}, inside the transaction that would have written: so whatever it writes is fenced.
 */
export interface Leases {
  /** Takes a lease that is free, has run out, or is already this holder's (then the fence stays). Null: another has it. */
  acquire(name: string, holder: string, ttlMs: number): Promise<Lease | null>;
  /** False when it was lost meanwhile: stop. */
  renew(lease: Lease, ttlMs: number): Promise<boolean>;
  /** Gives it back early, so that a successor need not wait. Giving back what is lost changes nothing. */
  release(lease: Lease): Promise<void>;
  /**
   * Proves inside `tx` that the lease is still held, and keeps others from taking it until `tx` ends.
   * @throws FemtoError STATE_CONFLICT when it is not
   */
  check(tx: Transaction, lease: Lease): Promise<void>;
}
