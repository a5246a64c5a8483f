/**
 * A certificate, key, unit, lineage or batch stops being trusted; holds and releases.
 * Promises: one transaction does all of it (state, status rows, CRL entries, ledger); a repeat changes nothing; whatever is
 * being signed for a revoked unit meanwhile is void; leaving LOST or QUARANTINED never revives an old certificate; more
 * than a hundred units a person and day need a second person.
 */
export { makeRevocation } from './make-revocation.js';
export { UNITS_ALONE_MAX } from './restriction-budget.js';
export type * from './revocation.js';
export type { LineageRoom, RevocationDeps } from './revocation-deps.js';
export type * from './revocation-store.js';
