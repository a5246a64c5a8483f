import type { EvidenceGrade } from '../../model/index.js';

/** A decision that shows it, by the key of its table. */
export interface RawEvent {
  readonly id: number;
  /** As PostgreSQL writes it, to the microsecond: a Date would lose the row. */
  readonly at: string;
}

/** What a rule makes of traffic. Pure rules return it; it is written once a rule, subject and day. */
export interface Finding {
  readonly rule: TrafficRuleName;
  /** As the ledger names it. */
  readonly subject: string;
  readonly unitId: number | null;
  readonly grade: EvidenceGrade;
  readonly firstAt: Date;
  /** Its UTC day is the finding's. */
  readonly lastAt: Date;
  /** One sentence for people. */
  readonly words: string;
  readonly facts: Readonly<Record<string, unknown>>;
  /** On whose word it rests (rules 5.6). */
  readonly gateways: readonly string[];
  /** At most {@link RAW_EVENTS_MAX}. */
  readonly raw: readonly RawEvent[];
}

export const TRAFFIC_RULES = [
  'MOBILE_USE',
  'CELL_CONFLICT',
  'REPEATED_DENIALS',
  'NEW_GATEWAY',
  'DISTRICT_BURST',
  'DISTRICT_DRIP',
] as const;
export type TrafficRuleName = (typeof TRAFFIC_RULES)[number];

export const RAW_EVENTS_MAX = 100;
export const HOUR_MS = 3_600_000;
export const DAY_MS = 24 * HOUR_MS;

/** Each once, in order of their names. */
export function namesOf(gateways: Iterable<string>): string[] {
  return [...new Set(gateways)].sort();
}
