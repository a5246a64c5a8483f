import { setTimeout as sleep } from 'node:timers/promises';
import type { FactoryOffice } from '../lifecycle/factory/index.js';
import { certificateReader } from '../lifecycle/issuance/certificate-reader.pg.js';
import type { RootSuccession } from '../lifecycle/registry/index.js';
import { crlStore } from '../lifecycle/status/crl-store.pg.js';
import type { CmpDeps, CmpRa, SecretDesk } from '../protocol/cmp/cmp-deps.js';
import { makeCmpRouter } from '../protocol/cmp/cmp-router.js';
import { makeTransactionPruner } from '../protocol/cmp/prune-transactions.js';
import { pgTransactionStore } from '../protocol/cmp/transaction-store.pg.js';
import { makeCrlDirectory } from '../protocol/crl/crl-directory.js';
import type { HttpHandler } from '../protocol/mount.js';
import { keyBlocker } from './key-blocker.js';
import { type Core, certificateDer } from './wire-core.js';
import type { EnrolRooms } from './wire-enrol.js';

export interface CmpWiring extends Pick<CmpDeps, 'trustedProxies' | 'onInternal'> {
  readonly ra: CmpRa;
  /** Shared secrets, for models that may have them. */
  readonly factory: Pick<FactoryOffice, keyof SecretDesk>;
  /** Where the ceremonies left the roots' CRLs on this host. */
  readonly rootCrlDir: string;
}

const PRUNE_EVERY_MS = 300_000;
/** A unit comes out of a drawer within a year, or sends its certificate. */
const SHOWN_AGAIN_MS = 366 * 86_400_000;

/** CMP over the rooms that serve the device API; one handler for the TLS listener and the plain one. */
export function wireCmp(
  core: Core,
  rooms: Pick<EnrolRooms, 'enrolment' | 'renewal' | 'recordRefusal'>,
  wiring: CmpWiring,
): { readonly handler: HttpHandler; close(): void } {
  const { transactor, clock, random, registry, issuers, revocation, lineages } = core;
  const store = pgTransactionStore;
  const handler = makeCmpRouter({
    ...wiring,
    ...rooms,
    revocation,
    lineages,
    registry,
    issuers,
    store,
    transactor,
    clock,
    random,
    certificateOf: certificateDer(core),
    certificatesOf: async (unitId, keyIdentifier) => {
      const at = new Date(clock.now().getTime() - SHOWN_AGAIN_MS);
      const records = await certificateReader.ofUnitByKeyIdentifier(transactor.read, { unitId, keyIdentifier, at });
      return records.map(({ der }) => der);
    },
    chainOf: chains(core),
    crlOf: crlReader(core, wiring.rootCrlDir),
    blockExposedKeys: keyBlocker(core),
    pause: (milliseconds) => sleep(milliseconds),
  });
  const prune = makeTransactionPruner({ store, transactor, clock });
  const timer = setInterval(
    () => void prune().catch((error: unknown) => wiring.onInternal(error, 'prune')),
    PRUNE_EVERY_MS,
  );
  timer.unref();
  return { handler, close: () => clearInterval(timer) };
}

/** Roots sign their CRLs at ceremonies, so those are files; all others are recorded. */
function crlReader({ issuers, transactor }: Core, rootCrlDir: string): CmpDeps['crlOf'] {
  const files = makeCrlDirectory(rootCrlDir);
  return async (issuerId) => {
    const issuer = await issuers.byId(issuerId);
    if (issuer?.kind.startsWith('root-')) {
      const file = await files.newest(issuer.label);
      return file && { thisUpdate: file.thisUpdate, bytes: file.der.length, der: async () => file.der };
    }
    const newest = await crlStore.newestOf(transactor.read, issuerId);
    return newest && { ...newest, der: () => crlStore.der(transactor.read, { issuerId, number: newest.number }) };
  };
}

/**
 * Issuing CA first, its root last; between them a root that followed another as that one has signed it, back to the first, so
 * that a unit which knows an older root alone comes to the new one. Before the self-signed form: OpenSSL follows the first
 * that fits. Remembered: what is recorded of an issuer's certificates never changes.
 */
function chains({ issuers }: Core): (issuerId: number) => Promise<readonly Buffer[]> {
  const known = new Map<number, readonly Buffer[]>();
  return async (issuerId) => {
    const remembered = known.get(issuerId);
    if (remembered !== undefined) return remembered;
    const issuer = await issuers.byId(issuerId);
    if (issuer === null) return [];
    const parent = await issuers.bySpkiOrSignature({ der: issuer.certificateDer });
    const chain = [issuer.certificateDer];
    if (parent !== null && parent.id !== issuer.id) {
      chain.push(...linksTo(parent.id, await issuers.successions()), parent.certificateDer);
    }
    known.set(issuerId, chain);
    return chain;
  };
}

/** The newest root under the one before it, and so on; none for a first root. */
function linksTo(rootId: number, successions: readonly RootSuccession[]): Buffer[] {
  const links: Buffer[] = [];
  for (let at = rootId; links.length < successions.length; ) {
    const last = successions.find(({ successorId }) => successorId === at);
    if (last === undefined) break;
    links.push(last.newWithOld);
    at = last.predecessorId;
  }
  return links;
}
