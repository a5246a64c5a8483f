import { caseStore } from '../lifecycle/incident/case-store.pg.js';
import { makeCaseClock, makeCaseDesk } from '../lifecycle/incident/index.js';
import { owedDutyReader } from '../lifecycle/incident/owed-duties.pg.js';
import type { Logger } from '../platform/log.js';
import type { Core } from './wire-core.js';

export const CASES_LOOK_MS = 30_000;

/** One look at what is owed about cases; see makeCaseClock. */
export function caseClock({ transactor, clock, ledger }: Core, log: Logger): () => Promise<undefined> {
  const look = makeCaseClock({
    db: transactor,
    clock,
    cases: makeCaseDesk({ store: caseStore, ledger }),
    duties: owedDutyReader,
    alarm: (what, facts) => log.error({ alarm: true, ...facts }, what),
  });
  return async () => {
    await look();
    return undefined;
  };
}
