import type { Transaction } from '../../platform/db/transaction.js';
import type { UnitState } from '../model/index.js';
import type { FleetAct, FleetOrder, FleetOrderState, FleetProgress, NewFleetOrder } from './fleet-order.js';
import type { CertificateReference } from './revocation.js';

/** What would change of some units, or of some certificates. */
export interface ChangeCounts {
  readonly byState: readonly { readonly state: string; readonly units: number; readonly changing: number }[];
  readonly byCa: readonly { readonly ca: string; readonly certificates: number; readonly changing: number }[];
}

export interface FleetOrderStore {
  /** Null when the same text was placed before. */
  insert(
    tx: Transaction,
    order: NewFleetOrder & { serialNumbers: readonly string[]; state: FleetOrderState; at: Date },
  ): Promise<number | null>;
  byId(tx: Transaction, orderId: number): Promise<FleetOrder | null>;
  byHash(tx: Transaction, requestHash: Buffer): Promise<FleetOrder | null>;
  recent(tx: Transaction): Promise<FleetOrder[]>;
  listOf(tx: Transaction, orderId: number): Promise<string[]>;
  running(tx: Transaction): Promise<number[]>;
  /** Waiting becomes running; false when it was not waiting. */
  start(tx: Transaction, orderId: number, at: Date): Promise<boolean>;
  /** Locks a running order; null when it is not running, or another transaction has it. */
  lockRunning(tx: Transaction, orderId: number): Promise<{ done: number; units: number } | null>;
  /** The ledger has the end of the order of this subject. */
  isClosed(tx: Transaction, subject: string): Promise<boolean>;
  /** Adds what one part changed; `done` is the new place on the list. */
  advance(tx: Transaction, orderId: number, part: FleetProgress & { isLast: boolean; at: Date }): Promise<void>;
  writeError(tx: Transaction, orderId: number, sentence: string): Promise<void>;

  serialNumbersOf(tx: Transaction, unitIds: readonly number[]): Promise<string[]>;
  countChanges(
    tx: Transaction,
    act: FleetAct,
    unitIds: readonly number[],
    by: { at: Date; moving: readonly UnitState[] },
  ): Promise<ChangeCounts>;
  /** Of these certificates, the ones that the act would change. */
  changeable(
    tx: Transaction,
    act: FleetAct,
    certificates: readonly CertificateReference[],
  ): Promise<{ readonly ca: string; readonly unitId: number | null; readonly changes: boolean }[]>;
  /** Machines' names with how many of these units they let in since. */
  gatewaysOf(
    tx: Transaction,
    unitIds: readonly number[],
    since: Date,
  ): Promise<{ readonly gateway: string; readonly units: number }[]>;
}
