/**
 * From factory identity to the first operational certificate.
 * Promises: nothing is issued without proof of the bootstrap key, an open grant for this unit and line, and a fresh key;
 * a code alone is worth nothing; only tries that proved the key count, and five lock the grant; the same request gets
 * the same certificate; a second live claim after the first was confirmed holds both.
 */

export type { AuthenticationDeps, VendorJudge } from './authenticate-credential.js';
export { authenticateCredential } from './authenticate-credential.js';
export type { ActivationDeps } from './claim.js';
export { createGrant, type GrantDeps, withdrawGrant } from './create-grant.js';
export type * from './credential.js';
export type * from './enrolment.js';
export type { Grant, GrantStore } from './grant-store.js';
export { type EnrolmentDeps, makeEnrolment } from './make-enrolment.js';
export { makeNonces, NONCE_LIFE_MS, type Nonces, type VerifiedNonce } from './nonce.js';
export { makeRefusalRecorder, type RefusalRecorder, type RefusedRequest } from './record-refusal.js';
export type { IdempotencyScope, RequestGuard } from './request-guard.js';
