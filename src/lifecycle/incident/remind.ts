import type { Clock } from '../../platform/clock.js';
import type { Transaction, Transactor } from '../../platform/db/transaction.js';
import type { CaseDesk } from './case-desk.js';
import { lateness } from './rule-packs.js';

export interface OwedDutyReader {
  /** Reports not made yet that are due before then; oldest first, at most 1,000. */
  owed(tx: Transaction, dueBefore: Date): Promise<{ id: number; caseId: number; duty: string; dueAt: Date }[]>;
}

export interface CaseClockDeps {
  readonly db: Transactor;
  readonly clock: Clock;
  readonly cases: Pick<CaseDesk, 'startAwareness'>;
  readonly duties: OwedDutyReader;
  readonly alarm: (what: string, facts: Record<string, unknown>) => void;
}

const HOUR_MS = 3_600_000;
/** Hours left at which people are told once more; 0: it is late. */
const REMINDERS_AT = [0, 1, 4, 12] as const;

/**
 * One look at the clock: starts awareness where nobody would, and tells what is owed at 12, 4 and 1 hours left and when it is
 * late. What was told is remembered by this process only: whoever takes over tells it again.
 */
export function makeCaseClock(deps: CaseClockDeps): () => Promise<void> {
  const told = new Map<number, number>();
  return async () => {
    const now = deps.clock.now();
    const begun = await deps.db.run((tx) => deps.cases.startAwareness(tx, now));
    for (const caseId of begun) {
      deps.alarm('hard evidence was not looked at for four hours; the times of its reports run', { caseId });
    }
    const owed = await deps.duties.owed(deps.db.read, new Date(now.getTime() + 12 * HOUR_MS));
    for (const { id, caseId, duty, dueAt } of owed) {
      const hoursLeft = (dueAt.getTime() - now.getTime()) / HOUR_MS;
      const step = REMINDERS_AT.find((hours) => hoursLeft <= hours) ?? 12;
      if ((told.get(id) ?? Number.POSITIVE_INFINITY) <= step) continue;
      told.set(id, step);
      const late = lateness(dueAt, null, now);
      deps.alarm(late ? 'a report about a case is late' : 'a report about a case is due', {
        caseId,
        duty,
        dueAt: dueAt.toISOString(),
        ...(late ? { late } : { hoursLeft: Math.ceil(hoursLeft) }),
      });
    }
    const ids = new Set(owed.map(({ id }) => id));
    for (const id of told.keys()) if (!ids.has(id)) told.delete(id);
  };
}
