import type { Transaction } from '../../../platform/db/transaction.js';
import type { EvidenceGrade } from '../../model/index.js';
import type { Finding } from './finding.js';
import type { MovedUnit } from './movement.js';

/** Decisions by their time, session events by when they were received: after `from`, up to and with `until`. */
export interface TrafficWindow {
  readonly from: Date;
  readonly until: Date;
}

/** A unit to look at, and the last time in the window at which it did what the rule asks about. */
export interface Suspect {
  readonly unitId: number;
  readonly at: Date;
}

/** Suspects in the order of their units, those after one; at most `limit`. */
export type FindSuspects = (
  tx: Transaction,
  window: TrafficWindow,
  page: { afterUnitId: number; limit: number },
) => Promise<Suspect[]>;

export interface TrafficStore {
  lookedUntil(tx: Transaction): Promise<Date>;
  moveMark(tx: Transaction, until: Date): Promise<void>;
  /** Units that were seen on a line that is not their own. */
  movers: FindSuspects;
  /** The day of each that ends at its time. */
  moved(tx: Transaction, suspects: readonly Suspect[]): Promise<MovedUnit[]>;
  /** Writes findings, one row a rule, subject and day; the grade only rises. In the order given. */
  raise(tx: Transaction, findings: readonly Finding[]): Promise<{ id: number; before: EvidenceGrade | null }[]>;
}
