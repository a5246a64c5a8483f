import { tmpdir } from 'node:os';
import { feedStore } from '../lifecycle/feed/feed-store.pg.js';
import { type Feed, makeFeed } from '../lifecycle/feed/index.js';
import { type Lineages, makeLineages } from '../lifecycle/lineage/index.js';
import { lineageStore } from '../lifecycle/lineage/lineage-store.pg.js';
import { caStore } from '../lifecycle/registry/ca-store.pg.js';
import {
  type CaOffice,
  type IssuerDirectory,
  type MachineOffice,
  type ModelOffice,
  makeCaOffice,
  makeIssuerDirectory,
  makeMachineOffice,
  makeModelOffice,
  makeRegistry,
  makeRegistryOffice,
  makeVendorAnchors,
  makeVendorOffice,
  type Registry,
  type RegistryOffice,
  type VendorAnchors,
  type VendorOffice,
} from '../lifecycle/registry/index.js';
import { issuerStore } from '../lifecycle/registry/issuer-store.pg.js';
import { machineStore } from '../lifecycle/registry/machine-store.pg.js';
import { makerStore } from '../lifecycle/registry/maker-store.pg.js';
import { modelStore } from '../lifecycle/registry/model-store.pg.js';
import { placeStore } from '../lifecycle/registry/place-store.pg.js';
import { unitStore } from '../lifecycle/registry/unit-store.pg.js';
import { vendorAnchorStore } from '../lifecycle/registry/vendor-anchor-store.pg.js';
import { makeRevocation, type Revocation } from '../lifecycle/revocation/index.js';
import { revocationStore } from '../lifecycle/revocation/revocation-store.pg.js';
import { statusRowStore } from '../lifecycle/status/status-row-store.pg.js';
import type { Clock, RandomBytes } from '../platform/clock.js';
import type { Transactor } from '../platform/db/transaction.js';
import { cursors } from '../platform/ledger/cursors.pg.js';
import type { Ledger } from '../platform/ledger/ledger.js';
import { ledger } from '../platform/ledger/ledger.pg.js';
import { makeOpensslJudge } from '../platform/openssl-verify.js';
import { systemClock, systemRandom } from '../platform/system-clock.js';
import { type CertificateReader, pgCertificateReader } from './certificate-reader.js';

/** What nearly every process stands on, over one database: the registry, lineages, revocation, the feed, the ledger. */
export interface Core {
  readonly transactor: Transactor;
  readonly clock: Clock;
  readonly random: RandomBytes;
  readonly ledger: Ledger;
  readonly issuers: IssuerDirectory;
  /** Our CAs coming into use and going out of it. */
  readonly caOffice: CaOffice;
  readonly registry: Registry;
  readonly office: RegistryOffice;
  readonly machines: MachineOffice;
  readonly models: ModelOffice;
  /** Whose a vendor's certificate is. */
  readonly vendors: VendorAnchors;
  readonly vendorOffice: VendorOffice;
  readonly lineages: Lineages;
  readonly revocation: Revocation;
  readonly feed: Feed;
  readonly certificates: CertificateReader;
}

export function wireCore(transactor: Transactor, clock: Clock = systemClock, random: RandomBytes = systemRandom): Core {
  const issuers = makeIssuerDirectory({ transactor, issuers: issuerStore, clock });
  const registry = makeRegistry({ units: unitStore, places: placeStore, models: modelStore, ledger });
  const office = makeRegistryOffice({ transactor, makers: makerStore, places: placeStore, ledger, clock });
  const machines = makeMachineOffice({ transactor, machines: machineStore, makers: makerStore, ledger, clock });
  const models = makeModelOffice({ transactor, makers: makerStore, models: modelStore, ledger, clock });
  const judge = makeOpensslJudge({ directory: tmpdir() });
  const vendors = makeVendorAnchors({
    transactor,
    units: unitStore,
    models: modelStore,
    anchors: vendorAnchorStore,
    judge,
  });
  const vendorOffice = makeVendorOffice({
    transactor,
    makers: makerStore,
    anchors: vendorAnchorStore,
    issuers,
    judge,
    ledger,
    clock,
  });
  const lineages = makeLineages({ store: lineageStore, ledger });
  const revocation = makeRevocation({
    store: revocationStore,
    statusRows: statusRowStore,
    registry,
    units: unitStore,
    lineages,
    ledger,
    transactor,
    clock,
  });
  return {
    transactor,
    clock,
    random,
    ledger,
    issuers,
    caOffice: makeCaOffice({ transactor, cas: caStore, machines: machineStore, issuers, ledger, clock }),
    registry,
    office,
    machines,
    models,
    vendors,
    vendorOffice,
    lineages,
    revocation,
    feed: makeFeed({ transactor, cursors, store: feedStore, clock }),
    certificates: pgCertificateReader,
  };
}

/** DER of a recorded certificate; null when it is not there. */
export function certificateDer(
  core: Core,
): (key: { issuerId: number; serial: Buffer; notAfter: Date }) => Promise<Buffer | null> {
  return async (key) => (await core.certificates.record(core.transactor.read, key))?.der ?? null;
}
