import type { FleetJudge } from './fleet-order.js';
import type { FleetOrderStore } from './fleet-order-store.js';
import type { RevocationDeps } from './revocation-deps.js';

export interface FleetDeps extends RevocationDeps {
  readonly orders: FleetOrderStore;
  readonly judge: FleetJudge;
}
