import type { Transaction } from '../../../platform/db/transaction.js';
import type { EvidenceGrade } from '../../model/index.js';
import type { ClaimingUnit } from './cell-conflict.js';
import type { DeniedUnit, Newcomer } from './denials.js';
import type { District } from './district.js';
import type { Finding, RawEvent } from './finding.js';
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

export interface MarkStore {
  lookedUntil(tx: Transaction): Promise<Date>;
  moveMark(tx: Transaction, until: Date): Promise<void>;
  /** Writes findings, one row a rule, subject and day; the grade only rises. In the order given. */
  raise(tx: Transaction, findings: readonly Finding[]): Promise<{ id: number; before: EvidenceGrade | null }[]>;
}

export interface UnitTraffic {
  /** Units that were seen on a line that is not their own. */
  movers: FindSuspects;
  /** The day of each that ends at its time. */
  moved(tx: Transaction, suspects: readonly Suspect[]): Promise<MovedUnit[]>;
  /** Units that registered with a cell that is not their own. */
  claimers: FindSuspects;
  /** Their claims of the day that ends at their time. */
  claimed(tx: Transaction, suspects: readonly Suspect[]): Promise<ClaimingUnit[]>;
  /** Units that were denied. */
  denied: FindSuspects;
  /** Their denials of the seven days that end at their time. */
  denials(tx: Transaction, suspects: readonly Suspect[]): Promise<DeniedUnit[]>;
  /** Units that authenticated where they were not in seven days, looking at no more than `limit` authentications. */
  newcomers(tx: Transaction, window: TrafficWindow, limit: number): Promise<Newcomer[]>;
}

export interface DistrictTraffic {
  /** Adds what is in the window to its districts' hours: once a window. */
  count(tx: Transaction, window: TrafficWindow): Promise<void>;
  /** Districts that had traffic in the hour of an instant, at most `limit`, each with a fortnight. */
  districts(tx: Transaction, at: Date, limit: number): Promise<District[]>;
  /** The newest decisions of a district's units in the window: denials, or those with the key proved. */
  newest(
    tx: Transaction,
    of: TrafficWindow & { region: string; what: 'attempts' | 'denied'; limit: number },
  ): Promise<RawEvent[]>;
}

export type TrafficStore = MarkStore & UnitTraffic & DistrictTraffic;
