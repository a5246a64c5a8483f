import { createHash } from 'node:crypto';
import type { Clock } from '../../platform/clock.js';
import type { Lease, Leases } from '../../platform/db/lease.js';
import type { Transactor } from '../../platform/db/transaction.js';
import { asFemtoError, FemtoError } from '../../platform/errors.js';
import { failpoint } from '../../platform/failpoint.js';
import type { Signer } from '../../platform/signer.js';
import { assembleCrl } from '../../x509/crl.js';
import { isShardCount } from '../../x509/crl-part.js';
import { type IssuerSignature, verifySignature } from '../../x509/signature-algorithm.js';
import { readSpki, type Spki } from '../../x509/spki.js';
import { type BuiltPart, buildDelta, buildShards } from './build-crl-parts.js';
import { type BehindCa, type CrlPartStore, type NewPart, RELEASED_MAX, type RecordedPart } from './crl-part-store.js';
import type { CrlFiles, CrlStore } from './crl-store.js';

export interface CrlPartsDeps {
  readonly store: CrlPartStore;
  readonly completes: Pick<CrlStore, 'der'>;
  readonly transactor: Transactor;
  readonly leases: Leases;
  readonly signer: Signer;
  readonly files: CrlFiles;
  readonly clock: Clock;
  readonly holder: string;
  /** An unchanged shard is signed again at least this often. */
  readonly everySeconds: number;
  readonly deltas: boolean;
  /** 0: none; otherwise a power of two. For Device CAs. */
  readonly shards: number;
  /** Where relying parties reach status-server: part of a shard's name. */
  readonly statusUrl: string;
}

export interface PartOutcome {
  readonly issuer: string;
  readonly outcome: 'published' | 'file-restored' | 'failed';
  /** Parts that were written, `delta` or `shard-<count>-<index>`. */
  readonly parts: readonly string[];
  readonly number?: number;
  readonly error?: FemtoError;
}

export interface CrlPartsPublisher {
  /**
   * Lets deltas and shards follow the complete CRLs that were published. Call it after each look of the CRL publisher; it
   * holds a lease of its own, and any other only brings what was recorded to its own host's disk. One CA's failure keeps nobody
   * back, and never a complete CRL: those go first, without it.
   */
  publishDue(): Promise<PartOutcome[]>;
}

const LEASE = 'crl-parts-publication';
const LEASE_MS = 20_000;
const RETRY_MS = 5_000;
/** Between two looks at whether the files are still there. */
const HEAL_EVERY_MS = 30_000;
/** A row's changed_at is its transaction's; the base was read up to so much later. */
const RELEASED_MARGIN_MS = 60_000;

export function makeCrlPartsPublisher(deps: CrlPartsDeps): CrlPartsPublisher {
  if (deps.shards !== 0 && !isShardCount(deps.shards)) throw new RangeError(`${deps.shards} is no count of shards`);
  const nextTryAt = new Map<number, number>();
  let healedAtMs = Number.NEGATIVE_INFINITY;
  return {
    publishDue: async () => {
      const lease = await deps.leases.acquire(LEASE, deps.holder, LEASE_MS);
      const nowMs = deps.clock.now().getTime();
      const outcomes: PartOutcome[] = [];
      if (!lease) {
        if (Math.abs(nowMs - healedAtMs) < HEAL_EVERY_MS) return [];
        healedAtMs = nowMs;
        // Whoever publishes may still be on the way to a disk that is shared.
        const old = (await deps.store.newest(deps.transactor.read)).filter(
          ({ thisUpdate }) => nowMs - thisUpdate.getTime() >= HEAL_EVERY_MS,
        );
        return heal(deps, old);
      }
      const behind = await deps.store.behind(deps.transactor.read, deps.clock.now());
      const isHealDue = Math.abs(nowMs - healedAtMs) >= HEAL_EVERY_MS;
      const recorded = behind.length > 0 || isHealDue ? await deps.store.newest(deps.transactor.read) : [];
      if (isHealDue) {
        outcomes.push(...(await heal(deps, recorded)));
        healedAtMs = nowMs;
      }
      for (const ca of behind) {
        const waitMs = (nextTryAt.get(ca.issuerId) ?? nowMs) - nowMs;
        if (waitMs > 0 && waitMs <= RETRY_MS) continue;
        try {
          const mine = recorded.filter(({ issuerId }) => issuerId === ca.issuerId);
          const parts = await follow(deps, lease, ca, mine);
          nextTryAt.delete(ca.issuerId);
          if (parts.length > 0)
            outcomes.push({ issuer: ca.label, outcome: 'published', parts, number: ca.complete.number });
        } catch (thrown) {
          nextTryAt.set(ca.issuerId, nowMs + RETRY_MS);
          outcomes.push({ issuer: ca.label, outcome: 'failed', parts: [], error: asFemtoError(thrown) });
        }
      }
      return outcomes;
    },
  };
}

/** 1 what is due → 2 build and lint → 3 sign → 4 check → 5 record under the lease → 6 publish the files. */
async function follow(
  deps: CrlPartsDeps,
  lease: Lease,
  ca: BehindCa,
  recorded: readonly RecordedPart[],
): Promise<string[]> {
  if (!(await deps.leases.renew(lease, LEASE_MS))) {
    throw new FemtoError('STATE_CONFLICT', `The lease "${lease.name}" was lost; another worker publishes.`);
  }
  const { number } = ca.complete;
  const completeDer = await deps.completes.der(deps.transactor.read, { issuerId: ca.issuerId, number });
  if (!completeDer) {
    throw new FemtoError('STATE_CONFLICT', `CRL ${number} of ${ca.label} has gone; its parts follow the next.`);
  }
  const spki = readSpki(ca.spkiDer);
  const algorithm: IssuerSignature = spki.algorithm === 'P-384' ? 'ecdsa-with-SHA384' : 'ecdsa-with-SHA256';
  const delta = deps.deltas ? await deltaOf(deps, ca, completeDer, algorithm) : null;
  const { shards: count, statusUrl } = deps;
  const shards = ca.isDeviceCa && count > 0 ? buildShards(ca, { completeDer, count, statusUrl }, algorithm) : [];
  const due = [...(delta ? [delta] : []), ...shards].filter((part) => isDue(deps, ca, part, recorded));
  const parts = await signParts(deps.signer, ca, spki, algorithm, due);
  await failpoint('crl-parts-after-sign');
  const base = deps.deltas && needsBase(ca, delta) ? { ...ca.complete, der: completeDer } : null;
  await deps.transactor.run(async (tx) => {
    await deps.leases.check(tx, lease);
    await deps.store.record(tx, ca.issuerId, parts, lease);
    await deps.store.markDone(tx, ca.issuerId, number, base);
  });
  await failpoint('crl-parts-after-record');
  for (const { part, der } of parts) {
    await deps.files.publish(`${ca.label}.${part}`, der);
    await deps.store.markPublished(deps.transactor.read, { issuerId: ca.issuerId, part, number }, deps.clock.now());
  }
  return parts.map(({ part }) => part);
}

async function deltaOf(
  { store, transactor }: CrlPartsDeps,
  ca: BehindCa,
  completeDer: Buffer,
  algorithm: IssuerSignature,
): Promise<BuiltPart | null> {
  const { base, complete, issuerId } = ca;
  // Rules 6.5: a base that nobody may hold any more is none.
  if (!base || base.number >= complete.number || base.nextUpdate <= complete.thisUpdate) return null;
  const baseDer = await store.baseDer(transactor.read, issuerId);
  if (!baseDer) return null;
  const since = new Date(base.thisUpdate.getTime() - RELEASED_MARGIN_MS);
  const released = await store.released(transactor.read, issuerId, since, complete.thisUpdate);
  if (released.length > RELEASED_MAX) return null;
  return buildDelta(ca, { completeDer, baseDer, released }, algorithm);
}

/** The next delta builds on this CRL when there is no base, a half-spent one, or one that is too far away. */
function needsBase({ base, complete }: BehindCa, delta: BuiltPart | null): boolean {
  if (!base || !delta) return true;
  const halfLifeMs = (base.nextUpdate.getTime() - base.thisUpdate.getTime()) / 2;
  return complete.thisUpdate.getTime() - base.thisUpdate.getTime() >= halfLifeMs;
}

function isDue(deps: CrlPartsDeps, ca: BehindCa, built: BuiltPart, recorded: readonly RecordedPart[]): boolean {
  const last = recorded.find(({ part }) => part === built.part);
  if (!last) return true;
  if (last.number >= ca.complete.number) return false;
  // A delta says of which time it speaks, so it goes with every complete CRL; a shard that says the same again may wait.
  if (built.part === 'delta' || !last.entriesSha256.equals(built.entriesSha256)) return true;
  return ca.complete.thisUpdate.getTime() - last.thisUpdate.getTime() >= deps.everySeconds * 1_000;
}

async function signParts(
  signer: Signer,
  ca: BehindCa,
  spki: Spki,
  algorithm: IssuerSignature,
  due: readonly BuiltPart[],
): Promise<NewPart[]> {
  if (due.length === 0) return [];
  const { number, thisUpdate, nextUpdate } = ca.complete;
  const results = await signer.sign(
    due.map(({ part, tbsDer, evidence }) => ({
      purpose: 'crl' as const,
      keyLabel: ca.keyLabel,
      name: `crl-part:${ca.keyLabel}:${part}:${number}`,
      tbs: tbsDer,
      ...(evidence && { evidence }),
    })),
  );
  return due.map((built, index) => {
    const { part, baseNumber, entryCount, entriesSha256, tbsDer } = built;
    const result = results[index];
    if (!result?.ok) {
      throw new FemtoError(
        result?.code ?? 'HSM_UNAVAILABLE',
        `The signer did not sign ${part} of ${ca.label}: ${result?.message ?? 'no answer'} The old one stays; see the signer's log.`,
        { facts: { issuer: ca.label, part, number } },
      );
    }
    if (!verifySignature(algorithm, tbsDer, spki, result.signature)) {
      throw new FemtoError(
        'HSM_UNAVAILABLE',
        `The token's signature on ${part} of ${ca.label} does not verify; check the token.`,
        { facts: { issuer: ca.label, part, number } },
      );
    }
    const der = assembleCrl(tbsDer, algorithm, result.signature);
    const sha256 = createHash('sha256').update(der).digest();
    const tbsSha256 = createHash('sha256').update(tbsDer).digest();
    return { part, number, baseNumber, thisUpdate, nextUpdate, entryCount, entriesSha256, tbsSha256, sha256, der };
  });
}

/** A crash between record and file, or a lost directory: what is recorded is what the world must be able to fetch. */
async function heal(deps: CrlPartsDeps, recorded: readonly RecordedPart[]): Promise<PartOutcome[]> {
  const outcomes: PartOutcome[] = [];
  for (const row of recorded) {
    const { label, part, number } = row;
    const name = `${label}.${part}`;
    try {
      const lies = await deps.files.newest(name);
      if (lies && lies.number >= BigInt(number)) continue;
      const der = await deps.store.der(deps.transactor.read, row);
      if (!der) continue;
      await deps.files.publish(name, der);
      await deps.store.markPublished(deps.transactor.read, row, deps.clock.now());
      outcomes.push({ issuer: label, outcome: 'file-restored', parts: [part], number });
    } catch (thrown) {
      outcomes.push({ issuer: label, outcome: 'failed', parts: [part], number, error: asFemtoError(thrown) });
    }
  }
  return outcomes;
}
