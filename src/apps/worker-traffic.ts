import { TRAFFIC_LEASE, watchTraffic } from '../lifecycle/detection/index.js';
import { trafficStore } from '../lifecycle/detection/traffic/traffic-store.pg.js';
import type { Lease, Leases } from '../platform/db/lease.js';
import type { GeoPlaces } from '../platform/net/geo-databases.js';
import type { Core } from './wire-core.js';

export { TRAFFIC_LEASE };
export const TRAFFIC_LOOK_MS = 10_000;

/** One look at what units did since the last; see watchTraffic. */
export function trafficWatch(
  { transactor, clock, ledger }: Pick<Core, 'transactor' | 'clock' | 'ledger'>,
  {
    leases,
    geo,
    alarm,
  }: { leases: Leases; geo: GeoPlaces; alarm: (what: string, facts: Record<string, unknown>) => void },
): (lease: Lease) => Promise<boolean> {
  const deps = {
    db: transactor,
    leases,
    clock,
    ledger,
    traffic: trafficStore,
    alarm,
    placeOf: (address: string) => {
      const fact = geo.place(address);
      return typeof fact === 'string' ? null : fact.known;
    },
  };
  return (lease) => watchTraffic(deps, lease);
}
