/**
 * Facts become evidence, evidence becomes a grade, a grade becomes an answer.
 * Promises: reads the one ordered ledger by its own cursor, each entry exactly once; hard evidence, or two strong ones
 * of different kinds within a day, quarantines the unit and opens a case; soft evidence alone restricts nobody.
 * Nobody imports detection: who has seen something writes it to the ledger.
 */
export * from './grade-fact.js';
export * from './weigh-facts.js';
