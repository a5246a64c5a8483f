/**
 * May this unit connect?
 * Promises: every check runs and every reason is told; no answer from a part is never a permit, nor is a state older than
 * 5 s; only a call that says the gateway verified IKE AUTH may confirm a certificate or weigh more than soft; the line
 * comes from the operator's own table, never from the caller; a certificate that chains to us but is not in the record is
 * denied and revoked; whoever asks together is read at one instant and written down in one commit before the answers.
 */
export type * from './admission-deps.js';
export * from './authorise.js';
export * from './decision.js';
export * from './dry-run.js';
export type * from './facts.js';
export * from './session.js';
export { makeSessionDesk, type SessionDeskDeps } from './session-desk.js';
export * from './snapshot.js';
export * from './unknown-alarm.js';
