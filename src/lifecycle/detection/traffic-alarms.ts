import type { Transaction } from '../../platform/db/transaction.js';
import type { EvidenceGrade } from '../model/index.js';
import type { TrafficRuleName } from './traffic/finding.js';

/** What traffic showed on one day about one subject, as people look at it. */
export interface TrafficAlarm {
  readonly id: number;
  readonly rule: TrafficRuleName;
  /** `unit:<serial number>` or `district:<region>`. */
  readonly subject: string;
  readonly grade: EvidenceGrade;
  readonly firstAt: Date;
  readonly lastAt: Date;
  readonly words: string;
}

/** A decision that an alarm rests on. */
export interface ShownDecision {
  readonly at: Date;
  readonly gateway: string | null;
  readonly stage: string;
  readonly verdict: string;
  readonly reasons: readonly string[];
  readonly keyProved: boolean;
  readonly address: string | null;
  readonly line: string | null;
  readonly cell: string | null;
}

/** Evidence of any kind, with the ledger entry it was read from. */
export interface ShownEvidence {
  readonly at: Date;
  readonly code: string;
  readonly grade: EvidenceGrade;
  readonly caseId: number | null;
  readonly facts: Readonly<Record<string, unknown>>;
}

export interface TrafficAlarmReader {
  /** Newest first. */
  list(
    tx: Transaction,
    filter: { unit?: string | undefined; rule?: TrafficRuleName | undefined; limit: number },
  ): Promise<TrafficAlarm[]>;
  /** With what it rests on, and the decisions that show it as far as they are kept; null: there is none. */
  show(
    tx: Transaction,
    id: number,
  ): Promise<(TrafficAlarm & { facts: Readonly<Record<string, unknown>>; decisions: readonly ShownDecision[] }) | null>;
  /** Newest first. */
  evidence(tx: Transaction, serialNumber: string, limit: number): Promise<ShownEvidence[]>;
}
