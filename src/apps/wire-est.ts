import type { IssuerKind } from '../lifecycle/model/index.js';
import type { PeerReader } from '../protocol/device/tls-peer.js';
import { type EstRouterDeps, makeEstRouter } from '../protocol/est/est-router.js';
import { keyBlocker } from './key-blocker.js';
import type { Core } from './wire-core.js';
import type { EnrolRooms } from './wire-enrol.js';

/** EST over the rooms that serve the device API; to be mounted under EST_PATH of the TLS listener. */
export function wireEst(
  core: Core,
  rooms: Pick<EnrolRooms, 'enrolment' | 'renewal' | 'recordRefusal'>,
  rim: {
    readonly peerOf: PeerReader;
    readonly trustedProxies: readonly string[];
    readonly onInternal: EstRouterDeps['onInternal'];
  },
): ReturnType<typeof makeEstRouter> {
  const { issuers, registry, transactor } = core;
  const { enrolment, renewal, recordRefusal } = rooms;
  return makeEstRouter({
    ...rim,
    enrolment,
    renewal,
    recordRefusal,
    blockExposedKeys: keyBlocker(core),
    caCertificates: async () =>
      (await issuers.all()).filter(({ kind }) => SHOWN.has(kind)).map(({ certificateDer }) => certificateDer),
    modelByLabel: (label) => registry.modelByLabel(transactor.read, label),
  });
}

/** What units meet in the field. The Bootstrap Root is nobody's trust anchor but ours. */
const SHOWN: ReadonlySet<IssuerKind> = new Set(['root-access', 'device-ca', 'root-services', 'services-ca']);
