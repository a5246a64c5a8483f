import { DAY_MS, type Finding, namesOf, RAW_EVENTS_MAX, type RawEvent } from './finding.js';

/** A unit's denials within one hour. */
export interface DeniedHour {
  readonly hour: Date;
  readonly lastAt: Date;
  readonly denials: number;
  /** Each once. */
  readonly reasons: readonly string[];
  readonly gateways: readonly string[];
  readonly raw: readonly RawEvent[];
}

export interface DeniedUnit {
  readonly unitId: number;
  readonly serialNumber: string;
  /** Of seven days, in order of time. */
  readonly hours: readonly DeniedHour[];
}

const AN_HOUR_MAX = 10;
const A_WEEK_MAX = 20;
const DAYS_OF_A_DRIP = 3;

/**
 * DET-4: one unit that is denied again and again, in a burst or slowly enough to stay below it. Always soft: what it was denied
 * for weighs by itself, and a unit whose clock or line is wrong knocks like this, too.
 */
export function judgeDenials({ unitId, serialNumber, hours }: DeniedUnit): Finding | null {
  const [first] = hours;
  const last = hours.at(-1);
  if (first === undefined || last === undefined) return null;
  const total = sum(hours);
  const days = new Set(hours.map(({ hour }) => Math.floor(hour.getTime() / DAY_MS))).size;
  const isBurst = last.denials >= AN_HOUR_MAX;
  const isDrip = total >= A_WEEK_MAX && days >= DAYS_OF_A_DRIP;
  if (!isBurst && !isDrip) return null;
  const shown = isBurst ? [last] : hours;
  const reasons = [...new Set(shown.flatMap((hour) => hour.reasons))].sort();
  const when = isBurst ? 'within an hour' : `within 7 days, on ${days} of them`;
  return {
    rule: 'REPEATED_DENIALS',
    subject: `unit:${serialNumber}`,
    unitId,
    grade: 'soft',
    firstAt: isBurst ? last.hour : first.hour,
    lastAt: last.lastAt,
    words: `Denied ${isBurst ? last.denials : total} times ${when}: ${reasons.join(', ')}`,
    facts: { denials: isBurst ? last.denials : total, days: isBurst ? 1 : days, reasons },
    gateways: namesOf(shown.flatMap(({ gateways }) => gateways)),
    raw: shown.flatMap(({ raw }) => raw).slice(-RAW_EVENTS_MAX),
  };
}

function sum(hours: readonly DeniedHour[]): number {
  return hours.reduce((total, { denials }) => total + denials, 0);
}

/** A unit at a gateway, and perhaps on a line, where it was not in the seven days before. */
export interface Newcomer {
  readonly unitId: number;
  readonly serialNumber: string;
  readonly gateway: string;
  /** Gateways where it was in these days. */
  readonly before: readonly string[];
  /** Null: the line is not known for certain, or it is no news. */
  readonly newLine: string | null;
  readonly at: Date;
  readonly raw: readonly RawEvent[];
}

/** DET-4: where a unit was never seen. Always soft: a gateway that fails moves its units to the next. */
export function judgeNewcomer({ unitId, serialNumber, gateway, before, newLine, at, raw }: Newcomer): Finding {
  const line = newLine === null ? '' : `, and on line ${newLine} for the first time`;
  return {
    rule: 'NEW_GATEWAY',
    subject: `unit:${serialNumber}`,
    unitId,
    grade: 'soft',
    firstAt: at,
    lastAt: at,
    words: `At ${gateway}, where it was not in the 7 days before (${before.join(', ')})${line}`,
    facts: { gateway, before, newLine },
    gateways: [gateway],
    raw,
  };
}
