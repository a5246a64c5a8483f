import { factoryCredentialStore } from '../lifecycle/factory/credential-store.pg.js';
import { type FactoryOffice, makeFactoryOffice, makeFactoryRefusals } from '../lifecycle/factory/index.js';
import { macSecretStore } from '../lifecycle/factory/mac-secret-store.pg.js';
import { onceGuard } from '../lifecycle/factory/once-guard.pg.js';
import { certificateReader as bootstrapReader } from '../lifecycle/issuance/certificate-reader.pg.js';
import type { Issuance } from '../lifecycle/issuance/index.js';
import type { NetworkGate } from '../lifecycle/registry/index.js';
import { issuerStore } from '../lifecycle/registry/issuer-store.pg.js';
import { makerStore } from '../lifecycle/registry/maker-store.pg.js';
import { unitStore } from '../lifecycle/registry/unit-store.pg.js';
import { NO_GEO } from '../platform/net/geo-databases.js';
import type { RefusalCounter } from '../platform/refusals.js';
import { type FactoryRouterDeps, makeFactoryListener } from '../protocol/factory/factory-router.js';
import { wireNetworkGate } from './wire-admission.js';
import type { Core } from './wire-core.js';

export interface FactoryWiring extends Pick<FactoryRouterDeps, 'peerOf' | 'trustedProxies' | 'onInternal'> {
  readonly issuance: Issuance;
  /** 32 bytes; see sharedKeyFile. */
  readonly macKey: Buffer;
  readonly refusals: RefusalCounter;
  /** Default: the policy without a database of addresses. */
  readonly network?: NetworkGate;
}

/** The factory room, and its API for paths under `/v1/factory`, as enrol-server wires them. */
export function wireFactory(
  core: Core,
  { issuance, macKey, refusals, network = wireNetworkGate(core, NO_GEO), ...rim }: FactoryWiring,
): { factory: FactoryOffice; listener: ReturnType<typeof makeFactoryListener> } {
  const factory = makeFactoryOffice({
    ...core,
    units: unitStore,
    makers: makerStore,
    installation: issuerStore,
    credentials: factoryCredentialStore,
    guard: onceGuard,
    macSecrets: macSecretStore,
    macKey,
    bootstraps: bootstrapReader,
    issuance,
    network,
  });
  const recordRefusal = makeFactoryRefusals({ ...core, counter: refusals });
  return { factory, listener: makeFactoryListener({ factory, recordRefusal, ...rim }) };
}
