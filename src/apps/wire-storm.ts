import { LRUCache } from 'lru-cache';
import type { Enrolment } from '../lifecycle/enrolment/index.js';
import {
  makeStormControl,
  type Renewal,
  type StormControl,
  type StormSettings,
  urgencyOf,
} from '../lifecycle/renewal/index.js';
import { pgRateShare } from '../lifecycle/renewal/storm/rate-share.pg.js';
import type { Config } from '../platform/config/config.js';
import { homeOf, sourcePrefix } from '../platform/net/ip-address.js';
import type { Core } from './wire-core.js';

export interface StormWiring {
  readonly renewals: StormSettings;
  readonly activations: StormSettings;
}

export interface Storm {
  readonly renewals: StormControl;
  readonly activations: StormControl;
  close(): void;
}

export function stormOf({ perSecond, activationsPerSecond, sourceShare }: Config['renewal']): StormWiring {
  return {
    renewals: { perSecond, sourceShare },
    activations: { perSecond: activationsPerSecond, sourceShare },
  };
}

/** Region of a line, remembered: it is asked in the middle of a storm. */
const LINES_REMEMBERED = 65_536;
const REMEMBERED_MS = 600_000;

/** Renewals and activations each behind a gate of their own; revocation has none. */
export function wireStorm(core: Core, wiring: StormWiring, onFault: (error: unknown) => void): Storm {
  const { transactor, clock, random, registry } = core;
  const regions = new LRUCache<number, string>({ max: LINES_REMEMBERED, ttl: REMEMBERED_MS });
  const regionOf = async (lineId: number): Promise<string> => {
    const known = regions.get(lineId);
    if (known !== undefined) return known;
    const region = (await registry.lineById(transactor.read, lineId))?.region ?? '';
    regions.set(lineId, region);
    return region;
  };
  const deps = { transactor, rates: pgRateShare, clock, random, regionOf, onFault };
  const renewals = makeStormControl(deps, 'renewal', wiring.renewals);
  const activations = makeStormControl(deps, 'activation', wiring.activations);
  return {
    renewals,
    activations,
    close: () => {
      renewals.close();
      activations.close();
    },
  };
}

/** The rooms as the rims see them, each expensive step in its turn: REST, EST and CMP alike. */
export function inTurn<Rooms extends { readonly enrolment: Enrolment; readonly renewal: Renewal }>(
  { enrolment, renewal }: Rooms,
  { clock }: Pick<Core, 'clock'>,
  storm: Storm,
): { readonly enrolment: Enrolment; readonly renewal: Renewal } {
  return {
    renewal: {
      ...renewal,
      renew: (request) => {
        const { certificate, unit, address } = request.credential;
        const arrival = {
          unitId: unit.id,
          lineId: unit.lineId,
          urgency: urgencyOf(certificate, clock.now()),
          sources: sourcesOf(address),
        };
        return storm.renewals.inTurn(arrival, () => renewal.renew(request));
      },
    },
    enrolment: {
      ...enrolment,
      activate: (request) => {
        const { unit, address } = request.credential;
        // First come, first served: nothing runs out for a unit that does not serve yet.
        const urgency = { tier: FIRST_COME, endsAtMs: 0 } as const;
        const arrival = { unitId: unit.id, lineId: unit.lineId, urgency, sources: sourcesOf(address) };
        return storm.activations.inTurn(arrival, () => enrolment.activate(request));
      },
    },
  };
}

const FIRST_COME = 2;

/** An address, and the network around it: a home for IPv6, and the same as the address for IPv4. */
function sourcesOf(address: string): readonly string[] {
  return [...new Set([homeOf(address), sourcePrefix(address)])];
}
