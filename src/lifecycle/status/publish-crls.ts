import { createHash } from 'node:crypto';
import type { Clock } from '../../platform/clock.js';
import type { Lease, Leases } from '../../platform/db/lease.js';
import type { Transactor } from '../../platform/db/transaction.js';
import { asFemtoError, FemtoError } from '../../platform/errors.js';
import { failpoint } from '../../platform/failpoint.js';
import type { Ledger } from '../../platform/ledger/ledger.js';
import type { Signer } from '../../platform/signer.js';
import { assembleCrl, readCrl, verifyCrlSignature } from '../../x509/crl.js';
import { readSpki } from '../../x509/spki.js';
import { type BuiltCrl, buildCrl } from './build-crl.js';
import type { CrlFiles, CrlIssuer, CrlStore, DirtyToken, PublishedCrl, RecordedCrl } from './crl-store.js';

export interface CrlPublisherDeps {
  readonly store: CrlStore;
  readonly transactor: Transactor;
  readonly ledger: Ledger;
  readonly leases: Leases;
  /** Of the worker's socket: the role that may sign CRLs. */
  readonly signer: Signer;
  readonly files: CrlFiles;
  readonly clock: Clock;
  /** This process, e.g. `rotation-worker:4711`. */
  readonly holder: string;
  /** A CRL at least this often; default 3,600 s. */
  readonly everySeconds: number;
  /** nextUpdate − thisUpdate; default 21,600 s. */
  readonly lifeSeconds: number;
}

export interface PublicationOutcome {
  readonly issuer: string;
  readonly outcome: 'published' | 'file-restored' | 'failed';
  readonly number?: number;
  readonly entryCount?: number;
  /** For `failed`: somebody must act when it goes on; the old CRL stays until its nextUpdate. */
  readonly error?: FemtoError;
}

export interface CrlPublisher {
  /**
   * Publishes what is due: first the CAs with a revocation since their last CRL, then those whose CRL is older than
   * `everySeconds`. Call it in a loop, at most a second apart; calls never overlap, and only the holder of the lease works.
   * One CA's failure never keeps another's CRL back. Never throws but for a database that is away.
   */
  publishDue(): Promise<PublicationOutcome[]>;
}

const LEASE = 'crl-publication';
/** Longer than one CRL takes with the signer at its deadline; renewed before each. */
const LEASE_MS = 20_000;
const RETRY_MS_MIN = 1_000;
const RETRY_MS_MAX = 30_000;
/** A refusal goes to the ledger once in this time, not with every try. */
const WITHHELD_EVERY_MS = 600_000;

interface Trouble {
  tries: number;
  nextTryAt: number;
  recordedAt: number;
}

export function makeCrlPublisher(deps: CrlPublisherDeps): CrlPublisher {
  const troubles = new Map<number, Trouble>();
  let running: Promise<PublicationOutcome[]> | undefined;
  return {
    publishDue: () => {
      running ??= publishDue(deps, troubles).finally(() => {
        running = undefined;
      });
      return running;
    },
  };
}

async function publishDue(deps: CrlPublisherDeps, troubles: Map<number, Trouble>): Promise<PublicationOutcome[]> {
  const lease = await deps.leases.acquire(LEASE, deps.holder, LEASE_MS);
  if (!lease) return [];
  const dirty = await deps.store.dirtyTokens(deps.transactor.read);
  const issuers = await deps.store.issuers(deps.transactor.read, deps.clock.now());
  const ordered = [...issuers].sort((a, b) => Number(dirty.has(b.id)) - Number(dirty.has(a.id)) || a.id - b.id);
  const outcomes: PublicationOutcome[] = [];
  for (const issuer of ordered) {
    const nowMs = deps.clock.now().getTime();
    const trouble = troubles.get(issuer.id);
    // A clock that was set back must not silence the retries for hours.
    if (trouble && nowMs < trouble.nextTryAt && trouble.nextTryAt - nowMs <= RETRY_MS_MAX) continue;
    try {
      const outcome = await publishIfDue(deps, lease, issuer, dirty.get(issuer.id));
      troubles.delete(issuer.id);
      if (outcome) outcomes.push(outcome);
    } catch (thrown) {
      const error = asFemtoError(thrown);
      troubles.set(issuer.id, await noteTrouble(deps, issuer, error, trouble));
      outcomes.push({ issuer: issuer.label, outcome: 'failed', error });
    }
  }
  return outcomes;
}

/** 1 heal the file → 2 due? → 3 build and lint → 4 sign → 5 check → 6 record under the lease → 7 publish the file. */
async function publishIfDue(
  deps: CrlPublisherDeps,
  lease: Lease,
  issuer: CrlIssuer,
  dirtyToken: DirtyToken | undefined,
): Promise<PublicationOutcome | undefined> {
  const recorded = await deps.store.newest(deps.transactor.read, issuer.id);
  const onDisk = await deps.files.newest(issuer.label);
  const restored = await restoreFile(deps, issuer, recorded, onDisk);
  const previous = newer(recorded, onDisk);
  if (dirtyToken === undefined && previous && !isOld(deps, previous)) return restored;

  if (!(await deps.leases.renew(lease, LEASE_MS))) throw lostLease(lease);
  const now = deps.clock.now();
  const input = { issuer, previous, now, lifeSeconds: deps.lifeSeconds };
  const built = await buildCrl(deps.store, deps.transactor.read, input);
  const der = await signCrl(deps.signer, issuer, built);
  await failpoint('crl-after-sign');
  await record(deps, { issuer, lease, built, der, dirtyToken });
  await failpoint('crl-after-record');
  await deps.files.publish(issuer.label, der);
  await deps.store.markPublished(deps.transactor.read, issuer.id, built.number, deps.clock.now());
  return { issuer: issuer.label, outcome: 'published', number: built.number, entryCount: built.entryCount };
}

/** A crash between record and file, or a lost directory: what is recorded is what the world must be able to fetch. */
async function restoreFile(
  deps: CrlPublisherDeps,
  issuer: CrlIssuer,
  recorded: RecordedCrl | null,
  onDisk: PublishedCrl | null,
): Promise<PublicationOutcome | undefined> {
  if (!recorded || (onDisk && onDisk.number >= BigInt(recorded.number))) return undefined;
  await deps.files.publish(issuer.label, recorded.der);
  await deps.store.markPublished(deps.transactor.read, issuer.id, recorded.number, deps.clock.now());
  return { issuer: issuer.label, outcome: 'file-restored', number: recorded.number, entryCount: recorded.entryCount };
}

function newer(recorded: RecordedCrl | null, onDisk: PublishedCrl | null): PublishedCrl | null {
  if (!recorded) return onDisk;
  if (onDisk && onDisk.number > BigInt(recorded.number)) return onDisk;
  return { ...recorded, number: BigInt(recorded.number) };
}

function isOld(deps: CrlPublisherDeps, previous: PublishedCrl): boolean {
  const ageMs = deps.clock.now().getTime() - previous.thisUpdate.getTime();
  return ageMs >= deps.everySeconds * 1_000;
}

async function signCrl(signer: Signer, issuer: CrlIssuer, built: BuiltCrl): Promise<Buffer> {
  const [result] = await signer.sign([
    { purpose: 'crl', keyLabel: issuer.keyLabel, name: `crl:${issuer.keyLabel}:${built.number}`, tbs: built.tbsDer },
  ]);
  if (!result?.ok) {
    throw new FemtoError(
      result?.code ?? 'HSM_UNAVAILABLE',
      `The signer did not sign the CRL of ${issuer.label}: ${result?.message ?? 'no answer'} The old CRL stays; see the signer's log.`,
      { facts: { issuer: issuer.label, number: built.number } },
    );
  }
  const der = assembleCrl(built.tbsDer, built.algorithm, result.signature);
  if (!verifyCrlSignature(readCrl(der), readSpki(issuer.spkiDer))) {
    throw new FemtoError(
      'HSM_UNAVAILABLE',
      `The token's signature on the CRL of ${issuer.label} does not verify; check the token.`,
      {
        facts: { issuer: issuer.label, number: built.number },
      },
    );
  }
  return der;
}

async function record(
  deps: CrlPublisherDeps,
  {
    issuer,
    lease,
    built,
    der,
    dirtyToken,
  }: {
    issuer: CrlIssuer;
    lease: Lease;
    built: BuiltCrl;
    der: Buffer;
    dirtyToken: DirtyToken | undefined;
  },
): Promise<void> {
  const sha256 = createHash('sha256').update(der).digest();
  const { number, thisUpdate, nextUpdate, entryCount } = built;
  await deps.transactor.run(async (tx) => {
    await deps.leases.check(tx, lease);
    const crl = {
      issuerId: issuer.id,
      number,
      thisUpdate,
      nextUpdate,
      entryCount,
      sha256,
      der,
      publishedAt: null,
      lease,
    };
    await deps.store.record(tx, crl);
    if (dirtyToken !== undefined) await deps.store.clearDirty(tx, issuer.id, dirtyToken);
    await deps.ledger.append(tx, [
      {
        kind: 'crl.published',
        subject: `issuer:${issuer.label}`,
        at: deps.clock.now(),
        body: { issuerId: issuer.id, number, thisUpdate, nextUpdate, entryCount, sha256, fence: lease.fence },
      },
    ]);
  });
}

async function noteTrouble(
  deps: CrlPublisherDeps,
  issuer: CrlIssuer,
  error: FemtoError,
  earlier: Trouble | undefined,
): Promise<Trouble> {
  const now = deps.clock.now();
  const tries = (earlier?.tries ?? 0) + 1;
  const nextTryAt = now.getTime() + Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** Math.min(tries - 1, 10));
  let recordedAt = earlier?.recordedAt ?? 0;
  if (Math.abs(now.getTime() - recordedAt) >= WITHHELD_EVERY_MS) {
    recordedAt = now.getTime();
    await deps.transactor.run((tx) =>
      deps.ledger.append(tx, [
        {
          kind: 'crl.withheld',
          subject: `issuer:${issuer.label}`,
          at: now,
          body: { issuerId: issuer.id, code: error.code, message: error.message, ...error.facts },
        },
      ]),
    );
  }
  return { tries, nextTryAt, recordedAt };
}

function lostLease(lease: Lease): FemtoError {
  return new FemtoError('STATE_CONFLICT', `The lease "${lease.name}" was lost; another worker publishes.`);
}
