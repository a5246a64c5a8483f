import { decisionStore } from '../lifecycle/admission/decision-store.pg.js';
import { factsReader } from '../lifecycle/admission/facts-reader.pg.js';
import type { AdmissionDeps } from '../lifecycle/admission/index.js';
import { makeNetworkGate, makeNetworkGuard, makeRelocations, type NetworkGate } from '../lifecycle/registry/index.js';
import { networkPolicyStore } from '../lifecycle/registry/network-store.pg.js';
import { relocationStore } from '../lifecycle/registry/relocation-store.pg.js';
import type { Config } from '../platform/config/config.js';
import type { Logger } from '../platform/log.js';
import { type GeoDatabases, type GeoLookup, openGeoDatabases } from '../platform/net/geo-databases.js';
import type { Core } from './wire-core.js';

/** What authorise stands on. */
export function wireAdmission(
  core: Core,
  { geo, alarm, onTrouble }: { geo: GeoLookup } & Pick<AdmissionDeps, 'alarm' | 'onTrouble'>,
): AdmissionDeps {
  return {
    ...core,
    db: core.transactor,
    reader: factsReader,
    decisions: decisionStore,
    network: makeNetworkGuard({ policies: networkPolicyStore, geo }),
    relocations: makeRelocations({ ...core, orders: relocationStore }),
    alarm,
    onTrouble,
  };
}

/** The network policy where certificates are given. */
export function wireNetworkGate({ clock }: Core, geo: GeoLookup): NetworkGate {
  return makeNetworkGate({ policies: networkPolicyStore, geo, clock });
}

/** The operator's databases of addresses, as the configuration names them. */
export function openConfiguredGeo({ network }: Config, { clock }: Core, log: Logger): Promise<GeoDatabases> {
  return openGeoDatabases({
    asnFile: network.asnDatabaseFile,
    countryFile: network.countryDatabaseFile,
    ageMaxDays: network.databaseAgeMaxDays,
    clock,
    onChange: ({ file, usable, why }) => {
      if (usable) log.info({ file }, 'a database of addresses is back');
      else
        log.error(
          { alarm: true, file, why },
          'a database of addresses cannot be believed; NET_UNKNOWN where a rule needs it',
        );
    },
  });
}
