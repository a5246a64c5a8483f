/**
 * Facts become evidence, evidence becomes a grade, a grade becomes an answer.
 * Promises: reads the one ordered ledger by its own cursor, each entry exactly once; hard evidence, or two strong ones
 * of different kinds within a day, quarantines the unit and opens a case; soft evidence alone restricts nobody.
 * Nobody imports detection: who has seen something writes it to the ledger. What only shows over time (journeys, cells,
 * bursts) is seen by its own look at traffic, and goes the same way: a ledger entry, once a rule, subject and day.
 */
export * from './grade-fact.js';
export { TRAFFIC_RULES } from './traffic/finding.js';
export { TRAFFIC_LEASE, type TrafficDeps, watchTraffic } from './traffic/watch-traffic.js';
export type { TrafficAlarmReader } from './traffic-alarms.js';
export * from './weigh-facts.js';
