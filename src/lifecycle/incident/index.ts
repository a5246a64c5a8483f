/**
 * What people must answer for: cases, opened by evidence, acknowledged by name, never deleted.
 * Promises: one open case per unit and kind, its counter rises instead of a second alarm; since when somebody knew is said once
 * and stays, and hard evidence that nobody looks at starts that time by itself; what is owed to whom until when is written down
 * as the rules of that day have it; a case is not closed while a report is owed.
 */
export * from './case-desk.js';
export { type CaseClockDeps, makeCaseClock, type OwedDutyReader } from './remind.js';
export { lateness, type RulePack } from './rule-packs.js';
