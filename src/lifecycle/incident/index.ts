/**
 * What people must answer for: cases, opened by evidence, acknowledged by name, never deleted.
 * Promises: one open case per unit and kind, its counter rises instead of a second alarm; an open case can be
 * acknowledged and closed, and both moments stay.
 */
export * from './case-desk.js';
