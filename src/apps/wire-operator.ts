import { dryRunPolicy, makeUnknownAlarms } from '../lifecycle/admission/index.js';
import { trafficReader } from '../lifecycle/admission/traffic-reader.pg.js';
import { unknownAlarmStore } from '../lifecycle/admission/unknown-alarm-store.pg.js';
import { trafficAlarmReader } from '../lifecycle/detection/traffic-alarms.pg.js';
import { pgGrantStore } from '../lifecycle/enrolment/grant-store.pg.js';
import { createGrant, withdrawGrant } from '../lifecycle/enrolment/index.js';
import { factoryCredentialStore } from '../lifecycle/factory/credential-store.pg.js';
import { makeFactoryOffice } from '../lifecycle/factory/index.js';
import { macSecretStore } from '../lifecycle/factory/mac-secret-store.pg.js';
import { onceGuard } from '../lifecycle/factory/once-guard.pg.js';
import { caseStore } from '../lifecycle/incident/case-store.pg.js';
import { makeCaseDesk } from '../lifecycle/incident/index.js';
import { certificateReader as bootstrapReader } from '../lifecycle/issuance/certificate-reader.pg.js';
import { makeNetworkOffice, makeRelocations } from '../lifecycle/registry/index.js';
import { issuerStore } from '../lifecycle/registry/issuer-store.pg.js';
import { makerStore } from '../lifecycle/registry/maker-store.pg.js';
import { networkPolicyStore } from '../lifecycle/registry/network-store.pg.js';
import { relocationStore } from '../lifecycle/registry/relocation-store.pg.js';
import { unitStore } from '../lifecycle/registry/unit-store.pg.js';
import { campaignStore } from '../lifecycle/renewal/campaign/campaign-store.pg.js';
import { makeCampaigns, moveWindow } from '../lifecycle/renewal/index.js';
import { pgRenewalStore } from '../lifecycle/renewal/renewal-store.pg.js';
import { fleetOrderStore } from '../lifecycle/revocation/fleet-order-store.pg.js';
import { makeFleetOrders } from '../lifecycle/revocation/index.js';
import { revocationStore } from '../lifecycle/revocation/revocation-store.pg.js';
import { statusRowStore } from '../lifecycle/status/status-row-store.pg.js';
import { makeFleetRunner } from '../operator/api/fleet-runner.js';
import { installationRow } from '../operator/api/installation-row.pg.js';
import { makeInstallationSwitches } from '../operator/api/installation-switches.js';
import type { OperatorDeps } from '../operator/api/operator-deps.js';
import { resolveCampaign, resolveUnits } from '../operator/api/selections.js';
import { operatorViews } from '../operator/api/views.prisma.js';
import { campaignJudge } from '../operator/people/campaign-act.js';
import { fleetJudge } from '../operator/people/fleet-act.js';
import { approvalStore, personStore } from '../operator/people/person-store.prisma.js';
import type { Prisma } from '../platform/db/client.prisma.js';
import { FemtoError } from '../platform/errors.js';
import { type GeoLookup, NO_GEO } from '../platform/net/geo-databases.js';
import { wireNetworkGate } from './wire-admission.js';
import type { Core } from './wire-core.js';

/**
 * The operator API records decisions; it has no way to the signer, so nothing here can issue.
 *
 * @param keys.geo     the operator's databases of addresses, for dry runs
 * @param keys.macKey  32 bytes, as enrol-server has them; see sharedKeyFile
 * @param keys.onFleetError  hears of an order over many units that did not go on; it is tried again
 */
export function wireOperator(
  core: Core,
  prisma: Prisma,
  {
    macKey,
    geo = NO_GEO,
    onFleetError,
  }: { macKey: Buffer; geo?: GeoLookup; onFleetError?: (error: unknown, orderId: number) => void },
): OperatorDeps {
  const network = makeNetworkOffice({ ...core, policies: networkPolicyStore });
  const dryRun = { traffic: trafficReader(core.transactor), network, geo, clock: core.clock, db: core.transactor };
  const { transactor, ledger, clock, random, registry, lineages } = core;
  const granting = { transactor, clock, registry, grants: pgGrantStore, ledger };
  const [people, approvals] = [personStore(prisma), approvalStore(prisma)];
  const resolving = { db: transactor, registry, selections: revocationStore };
  const fleet = makeFleetOrders({
    ...core,
    store: revocationStore,
    statusRows: statusRowStore,
    units: unitStore,
    orders: fleetOrderStore,
    judge: fleetJudge({ people, approvals, clock, ledger, resolveUnits: (select) => resolveUnits(resolving, select) }),
  });
  return {
    ...core,
    db: transactor,
    random,
    people,
    approvals,
    selections: revocationStore,
    fleet,
    fleetRunner: makeFleetRunner(fleet, onFleetError),
    campaigns: makeCampaigns({
      ...core,
      campaigns: campaignStore,
      windows: pgRenewalStore,
      units: revocationStore,
      judge: campaignJudge({
        people,
        approvals,
        clock,
        ledger,
        resolve: (select) => resolveCampaign({ ...resolving, issuers: core.issuers }, select),
      }),
    }),
    views: operatorViews(prisma),
    factory: makeFactoryOffice({
      ...core,
      units: unitStore,
      makers: makerStore,
      installation: issuerStore,
      credentials: factoryCredentialStore,
      guard: onceGuard,
      macSecrets: macSecretStore,
      macKey,
      bootstraps: bootstrapReader,
      network: wireNetworkGate(core, geo),
      issuance: { issue: () => Promise.reject(new FemtoError('DENIED', 'The operator API issues nothing.')) },
    }),
    enrolment: {
      createGrant: (request) => createGrant({ ...granting, lineages, random }, request),
      withdrawGrant: (request) => withdrawGrant(granting, request),
    },
    renewal: { moveWindow: (tx, move) => moveWindow({ store: pgRenewalStore, ledger }, tx, move) },
    network,
    dryRunPolicy: (run) => dryRunPolicy(dryRun, run),
    relocations: makeRelocations({ ...core, orders: relocationStore }),
    trafficAlarms: trafficAlarmReader,
    unknownAlarms: makeUnknownAlarms({ db: transactor, store: unknownAlarmStore, ledger, clock }),
    cases: makeCaseDesk({ store: caseStore, ledger }),
    installation: makeInstallationSwitches({ db: transactor, ledger, row: installationRow }),
  };
}
