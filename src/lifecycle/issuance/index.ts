/**
 * An approved request becomes a recorded, signed certificate.
 * Promises: nothing is signed before its intent is committed; nothing is answered before its record is; one serial, one
 * signature; what a crash leaves behind is turned into a revoked serial by the reconciler.
 * The only caller of the signer for leaves.
 */

export type { AbandonDeps } from './abandon-attempts.js';
export { CLOCK_TOLERANCE_MS, type ClockGuard, makeClockGuard } from './clock-guard.js';
export { BACKDATE_SECONDS, type IssuerUrls } from './draft-certificate.js';
export type * from './issuance.js';
export type { IssuanceStore } from './issuance-store.js';
export { type IssuanceDeps, type IssuanceOptions, makeIssuance } from './make-issuance.js';
export { type ReconcileOptions, reconcile } from './reconcile.js';
