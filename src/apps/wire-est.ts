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
    caCertificates: async () => [
      ...(await issuers.all())
        .filter(({ kind, state }) => SHOWN.has(kind) && state !== 'retired')
        .map(({ certificateDer }) => certificateDer),
      // The ways between roots, so that whoever has either accepts the other (RFC 7030 section 4.1.3).
      ...(await issuers.successions()).flatMap(({ newWithOld, oldWithNew }) => [newWithOld, oldWithNew]),
    ],
    modelByLabel: (label) => registry.modelByLabel(transactor.read, label),
  });
}

/** What units meet in the field. The Bootstrap Root is nobody's trust anchor but ours. */
const SHOWN: ReadonlySet<IssuerKind> = new Set(['root-access', 'device-ca', 'root-services', 'services-ca']);
