import type { PolicyDryRun, UnknownAlarms } from '../../lifecycle/admission/index.js';
import type { TrafficAlarmReader } from '../../lifecycle/detection/index.js';
import type { Enrolment } from '../../lifecycle/enrolment/index.js';
import type { FactoryOffice } from '../../lifecycle/factory/index.js';
import type { Feed } from '../../lifecycle/feed/index.js';
import type { CaseDesk } from '../../lifecycle/incident/index.js';
import type { Lineages } from '../../lifecycle/lineage/index.js';
import type {
  CaOffice,
  IssuerDirectory,
  MachineOffice,
  ModelOffice,
  NetworkOffice,
  NetworkPolicyDocument,
  Registry,
  RegistryOffice,
  Relocations,
  VendorOffice,
} from '../../lifecycle/registry/index.js';
import type { Campaigns, Renewal } from '../../lifecycle/renewal/index.js';
import type { FleetOrders, Revocation, RevocationStore } from '../../lifecycle/revocation/index.js';
import type { Clock, RandomBytes } from '../../platform/clock.js';
import type { Transactor } from '../../platform/db/transaction.js';
import type { Ledger } from '../../platform/ledger/ledger.js';
import type { ApprovalStore, PersonStore } from '../people/person.js';
import type { FleetRunner } from './fleet-runner.js';
import type { InstallationSwitches } from './installation-switches.js';
import type { OperatorViews } from './views.js';

/** What the operator API stands on; `apps/wire-operator.ts` binds it. */
export interface OperatorDeps {
  readonly clock: Clock;
  readonly random: RandomBytes;
  readonly db: Transactor;
  readonly ledger: Ledger;
  readonly people: PersonStore;
  readonly approvals: ApprovalStore;
  readonly views: OperatorViews;
  readonly caOffice: CaOffice;
  readonly issuers: Pick<IssuerDirectory, 'all'>;
  readonly registry: Registry;
  readonly office: RegistryOffice;
  readonly models: ModelOffice;
  readonly vendorOffice: VendorOffice;
  readonly lineages: Lineages;
  readonly installation: InstallationSwitches;
  readonly machines: MachineOffice;
  readonly factory: Omit<
    FactoryOffice,
    'enrol' | 'stationCaller' | 'tokenCaller' | 'checkCredential' | 'macSecret' | 'enrolBySecret'
  >;
  readonly enrolment: Pick<Enrolment, 'createGrant' | 'withdrawGrant'>;
  readonly renewal: Pick<Renewal, 'moveWindow'>;
  readonly revocation: Revocation;
  readonly selections: Pick<RevocationStore, 'batchesNamed' | 'factoryCredentialNamed'>;
  readonly fleet: FleetOrders;
  readonly fleetRunner: FleetRunner;
  readonly campaigns: Campaigns;
  readonly feed: Pick<Feed, 'standings' | 'status'>;
  readonly cases: CaseDesk;
  readonly network: NetworkOffice;
  readonly dryRunPolicy: (run: { document: NetworkPolicyDocument; hours: number }) => Promise<PolicyDryRun>;
  readonly relocations: Relocations;
  readonly unknownAlarms: UnknownAlarms;
  readonly trafficAlarms: TrafficAlarmReader;
}
