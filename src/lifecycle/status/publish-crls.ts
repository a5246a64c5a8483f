import { createHash } from 'node:crypto';
import type { Clock } from '../../platform/clock.js';
import type { Lease, Leases } from '../../platform/db/lease.js';
import type { Transactor } from '../../platform/db/transaction.js';
import { asFemtoError, FemtoError } from '../../platform/errors.js';
import { failpoint } from '../../platform/failpoint.js';
import type { Ledger } from '../../platform/ledger/ledger.js';
import type { Signer } from '../../platform/signer.js';
import { readSpki } from '../../x509/spki.js';
import { buildCrl } from './build-crl.js';
import { CrlBookCheck } from './crl-book-check.js';
import { CrlBooks } from './crl-books.js';
import type { CrlFiles, CrlIssuer, CrlStanding, CrlStore, RecordedCrl } from './crl-store.js';
import { spkiOfCertificate } from './issuer-key.js';
import { type LyingCrl, PublishedCrls } from './published-crls.js';
import { recordCrl } from './record-crl.js';
import { signCrl } from './sign-crl.js';
import type { StatusChangeReader } from './status-changes.js';

export interface CrlPublisherDeps {
  readonly store: CrlStore;
  readonly changes: StatusChangeReader;
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
  /**
   * A CA whose CRL took a second rests so many before the next; default 0. A list of less than four
   * megabytes, and what is due by its age, never rests.
   */
  readonly restFactor?: number;
  /** Where the deltas of a CA are, when there are any (RFC 5280 section 5.2.6). */
  readonly freshestCrlUrlOf?: (label: string) => string;
}

export interface PublicationOutcome {
  readonly issuer: string;
  readonly outcome: 'published' | 'file-restored' | 'failed';
  readonly number?: number;
  readonly entryCount?: number;
  /** Of the entries. Above {@link CRL_ENTRIES_BYTES_ALARM} the CA is nearly full. */
  readonly entriesBytes?: number;
  /** For `failed`: somebody must act when it goes on; the old CRL stays until its nextUpdate. */
  readonly error?: FemtoError;
}

export interface CrlPublisher {
  /**
   * Publishes what is due: first the CAs with a revocation since their last CRL, then those whose CRL is older than
   * `everySeconds`. Call it in a loop, at most a second apart; calls never overlap, and only the holder of the lease publishes:
   * any other only brings what was published to its own host's disk.
   * One CA's failure never keeps another's CRL back. Never throws but for a database that is away.
   */
  publishDue(): Promise<PublicationOutcome[]>;
}

const LEASE = 'crl-publication';
/** Longer than one CRL takes with the signer at its deadline; renewed before each. */
const LEASE_MS = 20_000;
const RETRY_MS_MIN = 1_000;
/** How far the disk of a host that does not publish may be behind. */
const HEAL_EVERY_MS = 5_000;
/** Of retries and rests alike: half of what a revocation may take to its CRL (requirements section 1). */
const WAIT_MS_MAX = 30_000;
/** A list of some 80,000. Shorter ones keep no disk busy, however long they took on a busy machine. */
const REST_FROM_BYTES = 4 * 1_048_576;
/** A refusal goes to the ledger once in this time, not with every try. */
const WITHHELD_EVERY_MS = 600_000;

/** CRLs in the making at once: the token, the disk and the database each wait while another is at work. */
const AT_ONCE = 4;

interface Trouble {
  tries: number;
  nextTryAt: number;
  recordedAt: number;
}

/** What the holder of the lease keeps between two runs. */
interface Memory {
  readonly troubles: Map<number, Trouble>;
  /** Until when a CA rests, ms since 1970. */
  readonly rests: Map<number, number>;
  /** CAs whose list was wrong: their next CRL waits for nothing. */
  readonly wronged: Set<number>;
  readonly books: CrlBooks;
  readonly check: CrlBookCheck;
  readonly published: PublishedCrls;
  /** When a worker without the lease last looked after its own files, ms since 1970. */
  healedAtMs: number;
}

export function makeCrlPublisher(deps: CrlPublisherDeps): CrlPublisher {
  const memory: Memory = {
    troubles: new Map(),
    rests: new Map(),
    wronged: new Set(),
    books: new CrlBooks(deps),
    check: new CrlBookCheck(),
    published: new PublishedCrls(deps.files),
    healedAtMs: Number.NEGATIVE_INFINITY,
  };
  let running: Promise<PublicationOutcome[]> | undefined;
  return {
    publishDue: () => {
      running ??= publishDue(deps, memory).finally(() => {
        running = undefined;
      });
      return running;
    },
  };
}

async function publishDue(deps: CrlPublisherDeps, memory: Memory): Promise<PublicationOutcome[]> {
  const lease = await deps.leases.acquire(LEASE, deps.holder, LEASE_MS);
  if (!lease) {
    memory.books.clear();
    return healOwnFiles(deps, memory);
  }
  const standings = await deps.store.standings(deps.transactor.read, deps.clock.now());
  // After the marks were read: whatever they stand for is in the lists from here on.
  await memory.books.catchUp();
  const waiting = standings.filter((standing) => !mustWait(deps, memory, standing)).sort(byUrgency);
  const outcomes: (PublicationOutcome | undefined)[] = [];
  let taken = 0;
  const work = async (): Promise<void> => {
    for (let turn = taken++; turn < waiting.length; turn = taken++) {
      outcomes[turn] = await publishOrNote(deps, memory, lease, waiting[turn] as CrlStanding);
    }
  };
  const ended = await Promise.allSettled(Array.from({ length: AT_ONCE }, work));
  for (const end of ended) if (end.status === 'rejected') throw end.reason;
  const told = outcomes.filter((outcome) => outcome !== undefined);
  return told.length > 0 ? told : checkBooks(deps, memory, standings);
}

/** Another host's worker publishes; what it recorded shall lie on this host's disk, too. */
async function healOwnFiles(deps: CrlPublisherDeps, memory: Memory): Promise<PublicationOutcome[]> {
  const nowMs = deps.clock.now().getTime();
  if (Math.abs(nowMs - memory.healedAtMs) < HEAL_EVERY_MS) return [];
  memory.healedAtMs = nowMs;
  const outcomes: PublicationOutcome[] = [];
  for (const { issuer, newest } of await deps.store.standings(deps.transactor.read, deps.clock.now())) {
    // Whoever publishes may still be on the way to a disk that is shared.
    if (nowMs - (newest?.thisUpdate.getTime() ?? nowMs) < HEAL_EVERY_MS) continue;
    try {
      const lies = await memory.published.of(issuer.label);
      const restored = await restoreFile(deps, memory, issuer, { newest, lies });
      if (restored) outcomes.push(restored.outcome);
    } catch (thrown) {
      outcomes.push({ issuer: issuer.label, outcome: 'failed', error: asFemtoError(thrown) });
    }
  }
  return outcomes;
}

/** When there is nothing else to do. */
async function checkBooks(
  { clock }: CrlPublisherDeps,
  { books, check, wronged }: Memory,
  standings: readonly CrlStanding[],
): Promise<PublicationOutcome[]> {
  const issuers = standings.map(({ issuer }) => issuer);
  const wrong = await check.step(books, issuers, clock.now().getTime());
  if (!wrong) return [];
  const { issuer, serials } = wrong;
  books.forget(issuer.id);
  wronged.add(issuer.id);
  const error = new FemtoError(
    'STATE_CONFLICT',
    `The list of ${issuer.label} in memory is not what revoked_certificate says, and the ledger tells of no change; the next CRL is made of the rows. Compare the rows named with the ledger.`,
    { facts: { issuer: issuer.label, serials } },
  );
  return [{ issuer: issuer.label, outcome: 'failed', error }];
}

/** CAs with a revocation first, of those the one whose CRL is oldest. */
function byUrgency(a: CrlStanding, b: CrlStanding): number {
  const age = (a.newest?.thisUpdate.getTime() ?? 0) - (b.newest?.thisUpdate.getTime() ?? 0);
  return Number(b.dirty !== null) - Number(a.dirty !== null) || age || a.issuer.id - b.issuer.id;
}

/** After a failure each CA waits, and one whose list is large rests between two: it shall not keep the disks busy. */
function mustWait({ clock }: CrlPublisherDeps, { troubles, rests }: Memory, { issuer, dirty }: CrlStanding): boolean {
  const until = troubles.get(issuer.id)?.nextTryAt ?? (dirty === null ? undefined : rests.get(issuer.id));
  const nowMs = clock.now().getTime();
  // A clock that was set back must not silence anything for hours.
  return until !== undefined && nowMs < until && until - nowMs <= WAIT_MS_MAX;
}

async function publishOrNote(
  deps: CrlPublisherDeps,
  memory: Memory,
  lease: Lease,
  standing: CrlStanding,
): Promise<PublicationOutcome | undefined> {
  const { issuer } = standing;
  try {
    const outcome = await publishIfDue(deps, memory, lease, standing);
    memory.troubles.delete(issuer.id);
    return outcome;
  } catch (thrown) {
    const error = asFemtoError(thrown);
    // Whatever was wrong, the next try begins with what the database has.
    memory.books.forget(issuer.id);
    memory.troubles.set(issuer.id, await noteTrouble(deps, issuer, error, memory.troubles.get(issuer.id)));
    return { issuer: issuer.label, outcome: 'failed', error };
  }
}

/** 1 heal the file → 2 due? → 3 give out a number, build and lint → 4 sign → 5 check → 6 record under the lease → 7 publish the file. */
async function publishIfDue(
  deps: CrlPublisherDeps,
  memory: Memory,
  lease: Lease,
  { issuer, newest, dirty }: CrlStanding,
): Promise<PublicationOutcome | undefined> {
  const lies = await memory.published.of(issuer.label);
  const restored = await restoreFile(deps, memory, issuer, { newest, lies });
  const previous = restored?.crl ?? lies;
  const isWronged = memory.wronged.has(issuer.id);
  if (dirty === null && previous && !isOld(deps, previous) && !isWronged) return restored?.outcome;

  const renew = async (): Promise<void> => {
    if (!(await deps.leases.renew(lease, LEASE_MS))) throw lostLease(lease);
  };
  await renew();
  const now = deps.clock.now();
  const { lifeSeconds, restFactor = 0 } = deps;
  const book = await memory.books.of(issuer.id, Math.floor(now.getTime() / 1_000) - lifeSeconds);
  const spki = readSpki(spkiOfCertificate(issuer.certificateDer));
  const building = { witnesses: deps.store.witnesses, tx: deps.transactor.read, onWait: renew };
  const freshestCrlUrl = deps.freshestCrlUrlOf?.(issuer.label);
  const given = await deps.store.giveNumber(deps.transactor.read, issuer.id, Number(previous?.number ?? 0n));
  const built = await buildCrl(building, {
    issuer: { ...issuer, numberLast: given - 1 },
    spki,
    book,
    previous,
    now,
    lifeSeconds,
    freshestCrlUrl,
  });
  const der = await signCrl(deps.signer, issuer, spki, built);
  await failpoint('crl-after-sign');
  const sha256 = await recordCrl(deps, { issuer, lease, built, der, dirty });
  memory.wronged.delete(issuer.id);
  await failpoint('crl-after-record');
  await memory.published.publish(issuer.label, der, sha256, built.judged);
  const { number, entryCount } = built;
  await deps.store.markPublished(deps.transactor.read, issuer.id, number, deps.clock.now());
  await deps.store.dropBytes(deps.transactor.read, issuer.id, newest?.number ?? 0);
  const endMs = deps.clock.now().getTime();
  const tookMs = endMs - now.getTime();
  memory.rests.set(issuer.id, endMs + (book.bytes < REST_FROM_BYTES ? 0 : Math.min(WAIT_MS_MAX, tookMs * restFactor)));
  return { issuer: issuer.label, outcome: 'published', number, entryCount, entriesBytes: book.bytes };
}

/** A crash between record and file, or a lost directory: what is recorded is what the world must be able to fetch. */
async function restoreFile(
  deps: CrlPublisherDeps,
  { published }: Memory,
  issuer: CrlIssuer,
  { newest, lies }: { newest: RecordedCrl | null; lies: LyingCrl | null },
): Promise<{ crl: LyingCrl; outcome: PublicationOutcome } | undefined> {
  if (!newest) return undefined;
  const { number, entryCount, sha256 } = newest;
  const isAhead = lies && lies.number > BigInt(number);
  if (isAhead || lies?.sha256.equals(sha256)) return undefined;
  const der = await deps.store.der(deps.transactor.read, { issuerId: issuer.id, number });
  if (!der || !createHash('sha256').update(der).digest().equals(sha256)) {
    throw new FemtoError(
      'STATE_CONFLICT',
      `The bytes of CRL ${number} of ${issuer.label} in the database are not those that were recorded; nothing is published. Put back a file that verifies, or the database of a backup.`,
      { facts: { issuer: issuer.label, number } },
    );
  }
  const crl = await published.publish(issuer.label, der, sha256);
  await deps.store.markPublished(deps.transactor.read, issuer.id, number, deps.clock.now());
  return { crl, outcome: { issuer: issuer.label, outcome: 'file-restored', number, entryCount } };
}

function isOld(deps: CrlPublisherDeps, previous: { readonly thisUpdate: Date }): boolean {
  const ageMs = deps.clock.now().getTime() - previous.thisUpdate.getTime();
  return ageMs >= deps.everySeconds * 1_000;
}

async function noteTrouble(
  deps: CrlPublisherDeps,
  issuer: CrlIssuer,
  error: FemtoError,
  earlier: Trouble | undefined,
): Promise<Trouble> {
  const now = deps.clock.now();
  const tries = (earlier?.tries ?? 0) + 1;
  const nextTryAt = now.getTime() + Math.min(WAIT_MS_MAX, RETRY_MS_MIN * 2 ** Math.min(tries - 1, 10));
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
