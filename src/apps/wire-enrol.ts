import { setTimeout as sleep } from 'node:timers/promises';
import { pgGrantStore } from '../lifecycle/enrolment/grant-store.pg.js';
import {
  type Enrolment,
  makeEnrolment,
  makeNonces,
  makeRefusalRecorder,
  type RefusalRecorder,
} from '../lifecycle/enrolment/index.js';
import { pgRequestGuard } from '../lifecycle/enrolment/request-guard.pg.js';
import type { Issuance } from '../lifecycle/issuance/index.js';
import type { Issuer } from '../lifecycle/model/index.js';
import type { NetworkGate } from '../lifecycle/registry/index.js';
import { makeRenewal, type Renewal } from '../lifecycle/renewal/index.js';
import { pgRenewalStore } from '../lifecycle/renewal/renewal-store.pg.js';
import { pgTaskStore } from '../lifecycle/renewal/task-store.pg.js';
import { NO_GEO } from '../platform/net/geo-databases.js';
import { onceAMinute } from '../platform/once-a-minute.js';
import { makeRefusalCounter, type RefusalCounter } from '../platform/refusals.js';
import { openRefusalStore } from '../platform/refusals.pg.js';
import { type DeviceRouterDeps, makeDeviceRouter } from '../protocol/device/device-router.js';
import type { PeerReader } from '../protocol/device/tls-peer.js';
import { keyBlocker } from './key-blocker.js';
import { wireNetworkGate } from './wire-admission.js';
import type { Core } from './wire-core.js';
import { inTurn, type Storm, type StormWiring, wireStorm } from './wire-storm.js';

export interface EnrolRooms {
  readonly enrolment: Enrolment;
  readonly renewal: Renewal;
  readonly refusals: RefusalCounter;
  readonly recordRefusal: RefusalRecorder;
  /** Null where there is no gate: the worker asks for nobody. */
  readonly storm: Storm | null;
  /** The device API; EST and CMP take the rooms above instead. */
  deviceRouter(options: {
    peerOf: PeerReader;
    trustedProxies: readonly string[];
    onInternal: DeviceRouterDeps['onInternal'];
  }): ReturnType<typeof makeDeviceRouter>;
}

export interface EnrolWiring {
  readonly issuance: Issuance;
  /** 32 bytes; see sharedKeyFile. */
  readonly nonceKey: Buffer;
  /** Pre-issue for units whose profile says so: tests and the story only, until attested keys are checked (KEY-7). */
  readonly preissueAllowed: boolean;
  /** Rates of renewals and activations over all enrol-servers (REN-7). */
  readonly storm?: StormWiring;
  /** Default: the policy without a database of addresses. */
  readonly network?: NetworkGate;
  readonly alarm: (what: string, facts: Record<string, unknown>) => void;
}

/** Activation and renewal as enrol-server (and, for pre-issue, the worker) wires them. */
export function wireEnrol(core: Core, wiring: EnrolWiring): EnrolRooms {
  const { transactor, clock, ledger, issuers, registry, revocation } = core;
  const nonces = makeNonces({ key: wiring.nonceKey, clock, random: core.random });
  const network = wiring.network ?? wireNetworkGate(core, NO_GEO);
  const shared = {
    ...core,
    issuance: wiring.issuance,
    network,
    nonces,
    pause: (milliseconds: number) => sleep(milliseconds),
  };
  const ungated = makeEnrolment({
    ...shared,
    grants: pgGrantStore,
    guard: pgRequestGuard,
    onUnrecorded: async (certificate, issuer, address) => {
      const { serial, notAfter, spki } = certificate;
      wiring.alarm('a certificate that chains to us is in no record', { issuer: issuer.label, address });
      await transactor.run((tx) =>
        revocation.revokeUnrecorded(
          tx,
          { issuerId: issuer.id, serial, notAfter, spkiHash: spki.spkiHash },
          { actor: 'system:enrol-server', at: clock.now() },
        ),
      );
    },
  });
  const tellOfAddress = onceAMinute<Record<string, unknown>>(clock, (what, facts) => wiring.alarm(what, facts));
  const renewals = makeRenewal({
    ...shared,
    store: pgRenewalStore,
    tasks: pgTaskStore,
    preissueAllowed: wiring.preissueAllowed,
    alarm: tellOfAddress,
  });
  const storm =
    wiring.storm === undefined
      ? null
      : wireStorm(core, wiring.storm, (error) =>
          wiring.alarm('the common rate cannot be counted', { error: String(error) }),
        );
  const plain = { enrolment: ungated, renewal: renewals };
  const { enrolment, renewal } = storm === null ? plain : inTurn(plain, core, storm);
  const refusals = makeRefusalCounter(openRefusalStore(transactor), (error) =>
    wiring.alarm('refusals could not be counted', { error: String(error) }),
  );
  const recordRefusal = makeRefusalRecorder({ transactor, ledger, counter: refusals, clock });
  return {
    enrolment,
    renewal,
    refusals,
    recordRefusal,
    storm,
    deviceRouter: ({ peerOf, trustedProxies, onInternal }) =>
      makeDeviceRouter({
        enrolment,
        renewal,
        peerOf,
        trustedProxies,
        onInternal,
        recordRefusal,
        chainOf: (issuerId) => chainOf(core, issuerId),
        roots: async () => ({
          deviceChains: shownChains(await issuers.all()),
          servicesRoot: (await issuers.all()).find(({ kind }) => kind === 'root-services') ?? null,
        }),
        anchors: async () => ({
          roots: (await issuers.all()).filter(({ kind, state }) => kind === 'root-access' && state !== 'retired'),
          links: await issuers.successions(),
        }),
        placeOf: async (unitId) => {
          const cell = await registry.cellOf(transactor.read, unitId);
          return cell === null ? null : { cell: cell.id, segw: cell.segwAddress };
        },
        blockExposedKeys: keyBlocker(core),
      }),
  };
}

/**
 * Roots, and the newest Device CAs that issue: what fits a small unit's buffer. A unit gets the chain of its own certificate
 * with that certificate.
 */
function shownChains(all: readonly Issuer[]): readonly Issuer[] {
  const roots = all.filter(({ kind, state }) => kind === 'root-access' && state !== 'retired');
  const issuing = all.filter(({ kind, state }) => kind === 'device-ca' && state === 'active');
  return [...issuing.slice(-SHOWN_CAS_MAX), ...roots.slice(-SHOWN_ROOTS_MAX)];
}

const SHOWN_CAS_MAX = 4;
const SHOWN_ROOTS_MAX = 2;

/** Issuing CA first, then what signed it, up to its root. */
async function chainOf({ issuers }: Core, issuerId: number): Promise<readonly Buffer[]> {
  const issuer = await issuers.byId(issuerId);
  if (issuer === null) return [];
  const parent = await issuers.bySpkiOrSignature({ der: issuer.certificateDer });
  return parent === null || parent.id === issuer.id
    ? [issuer.certificateDer]
    : [issuer.certificateDer, parent.certificateDer];
}
