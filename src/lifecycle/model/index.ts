/**
 * The nouns every room shares and the legal transitions between their states.
 * Promises: plain values, no I/O, no clock; nothing here knows a technology.
 */
export * from './nouns.js';
export type * from './proved-credential.js';
export * from './unit-state.js';
