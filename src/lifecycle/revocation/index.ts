/**
 * A certificate, key, unit, lineage or batch stops being trusted; holds and releases; the same over a whole fleet.
 * Promises: one transaction does all of it (state, status rows, CRL entries, ledger); a repeat changes nothing; whatever is
 * being signed for a revoked unit meanwhile is void; leaving LOST or QUARANTINED never revives an old certificate; more
 * than a hundred units a person and day need a second person. A fleet order is such transactions one after another, each
 * with its place on the list that people signed: a crash between two continues with the next.
 */
export { KEYS_AT_ONCE_MAX } from './block-keys.js';
export { UNITS_A_PART } from './carry-out-order.js';
export {
  FLEET_ACTS,
  FLEET_UNITS_MAX,
  type FleetAct,
  type FleetJudge,
  type FleetOrder,
  type FleetOrders,
  type FleetPreview,
  type FleetTerms,
  type JudgedOrder,
  listSha256,
} from './fleet-order.js';
export { makeFleetOrders } from './make-fleet-orders.js';
export { makeRevocation } from './make-revocation.js';
export { UNITS_ALONE_MAX } from './restriction-budget.js';
export type * from './revocation.js';
export type { LineageRoom, RevocationDeps } from './revocation-deps.js';
export type * from './revocation-store.js';
