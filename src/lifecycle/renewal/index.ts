/**
 * A unit's certificate is followed by the next one, in time, once.
 * Promises: the fork table of the lineage decides, and what it decides is recorded before the answer; a lost answer or a
 * power cut gets the same certificate; a hard fork is contained in the transaction that saw it; no window passes 90 % of
 * a life; the worker's decisions run twice without effect twice.
 */
export type * from './renewal.js';
