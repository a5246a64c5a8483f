/**
 * The signer's assembly line: queue → judge → journal (one fdatasync a batch) → token threads → answer. While the threads
 * work on one batch, the next is judged and journalled.
 */
import { hash, verify } from 'node:crypto';
import { rawToDer } from '../../x509/ecdsa.js';
import { importPublicKey } from '../../x509/spki.js';
import type { SignerRole, SignPurpose, SignRequest, SignResult } from '../signer.js';
import { writeNewestCrl } from './crl-memory.js';
import { writeSignedPart } from './crl-parts.js';
import type { KeyFacts } from './issuer-facts.js';
import type { Journal } from './journal.js';
import type { Consequence, Judge, Verdict } from './judge.js';
import { type LastHead, writeLastHead } from './judge-head.js';
import type { RateCap } from './rate-cap.js';
import { TokenFault } from './token.js';
import type { TokenKeeper } from './token-keeper.js';

/** Rows that wait here, at most: about a second of work. More is answered at once rather than late. */
const QUEUE_ITEMS_MAX = 20_000;
const QUEUE_BYTES_MAX = 192 * 1024 * 1024;
const BATCH_ITEMS_MAX = 256;
/** The caller has given up after 5 s: what is signed later than that only makes serials to revoke. */
const WAIT_MS_MAX = 4_500;
/** Longest stretch of judging between two looks at the sockets. */
const SLICE_MS = 1;
/** Rows for one thread at a time: a message costs as much as a tenth of a signature. */
const PARCEL_ITEMS_MAX = 32;
/** Journalled rows for each thread below which the next batch joins them: one parcel in work, one waiting. */
const IN_FLIGHT_ITEMS = 2 * PARCEL_ITEMS_MAX;

const LEAVES: ReadonlySet<SignPurpose> = new Set(['operational', 'bootstrap', 'services', 'preissue']);
/** Signed rarely and believed by many: checked here. Issuance checks each leaf itself, at its own cost. */
const SELF_CHECKED: ReadonlySet<SignPurpose> = new Set(['services', 'ocsp-signer', 'crl', 'audit-head']);

export interface DeskItem {
  readonly request: SignRequest;
  readonly role: SignerRole;
  readonly answer: (result: SignResult) => void;
}

interface Waiting extends DeskItem {
  readonly arrivedMs: number;
}

interface Accepted extends Waiting {
  readonly key: KeyFacts;
  readonly consequence: Consequence;
  readonly tbsSha256: Buffer;
}

export interface DeskDeps {
  readonly judge: Judge;
  readonly journal: Journal;
  readonly keeper: TokenKeeper;
  readonly rateCap: RateCap;
  readonly stateDir: string;
  /** False for heads: each is judged against the one before, so that one must be signed first. */
  readonly lookAhead: boolean;
  readonly now: () => Date;
  readonly nowMs: () => number;
  readonly onHeadSigned: (head: LastHead) => void;
  /** The journal or a state file could not be written: the process ends and nothing more is signed. */
  readonly onDiskFailure: (failure: unknown) => void;
  /** A TokenFault is the device's; anything else is a bug of ours. */
  readonly onUnexpected: (failure: unknown) => void;
}

export interface DeskCounts {
  /** Signatures made since this process started, by key label. */
  readonly signed: Readonly<Record<string, number>>;
  readonly refused: Readonly<Record<string, number>>;
  readonly queued: number;
}

export class SigningDesk {
  private queue: Waiting[] = [];
  private queuedBytes = 0;
  private wake: (() => void) | undefined;
  private inFlight = 0;
  private roomMade: (() => void) | undefined;
  /** Rows that change what the signer remembers, one after another: an older CRL must not be remembered after a newer. */
  private inOrder: Promise<void> = Promise.resolve();
  private stopped = false;
  private readonly signed = new Map<string, number>();
  private readonly refused = new Map<string, number>();

  constructor(private readonly deps: DeskDeps) {}

  submit(item: DeskItem): void {
    if (this.queue.length >= QUEUE_ITEMS_MAX || this.queuedBytes > QUEUE_BYTES_MAX) {
      this.refuse(item, { ok: false, code: 'HSM_UNAVAILABLE', message: 'The signer is busy; try again in a second.' });
      return;
    }
    if (this.deps.keeper.isSilent) {
      this.refuse(item, unavailable('The token does not answer; its process is about to be replaced.'));
      return;
    }
    const { request, role, answer } = item;
    this.queue.push({ request, role, answer, arrivedMs: this.deps.nowMs() });
    this.queuedBytes += bytesOf(item);
    this.wake?.();
  }

  counts(): DeskCounts {
    return {
      signed: Object.fromEntries(this.signed),
      refused: Object.fromEntries(this.refused),
      queued: this.queue.length,
    };
  }

  async run(): Promise<void> {
    while (!this.stopped) {
      const batch = await this.prepare();
      while (this.inFlight >= IN_FLIGHT_ITEMS * this.deps.keeper.threadCount) await this.room();
      const signing = this.sign(batch);
      if (!this.deps.lookAhead) await signing;
    }
  }

  stop(): void {
    this.stopped = true;
    this.wake?.();
  }

  /** Judges what waits and writes it to the journal; waits for work when there is none. */
  private async prepare(): Promise<Accepted[]> {
    while (this.queue.length === 0 && !this.stopped) await this.work();
    const batch = this.queue.splice(0, this.deps.lookAhead ? BATCH_ITEMS_MAX : 1);
    const accepted: Accepted[] = [];
    let sliceStartMs = this.deps.nowMs();
    this.deps.judge.startBatch();
    for (const item of batch) {
      this.queuedBytes -= bytesOf(item);
      const verdict = this.verdict(item);
      if (verdict.ok) accepted.push(accept(item, verdict));
      else this.refuse(item, verdict);
      if (this.deps.nowMs() - sliceStartMs > SLICE_MS) {
        await new Promise((resolve) => setImmediate(resolve));
        sliceStartMs = this.deps.nowMs();
      }
    }
    try {
      await this.deps.journal.append(accepted, this.deps.now());
    } catch (failure) {
      this.deps.onDiskFailure(failure);
      for (const item of accepted) this.refuse(item, unavailable('The signer cannot write its journal.'));
      return [];
    }
    return accepted;
  }

  private verdict(item: Waiting): Verdict {
    const { keeper, judge, rateCap, nowMs } = this.deps;
    if (nowMs() - item.arrivedMs > WAIT_MS_MAX) return unavailable('The request waited too long; try again.');
    if (keeper.state !== 'ready') {
      keeper.tryOnDemand();
      return unavailable(
        keeper.state === 'pin-refused'
          ? 'The token refused the PIN; an operator must correct it (femtopki doctor).'
          : 'The token does not answer; it is being opened again.',
      );
    }
    try {
      const verdict = judge.judge(item.request, item.role);
      if (verdict.ok && LEAVES.has(item.request.purpose) && !rateCap.take()) {
        return {
          ok: false,
          code: 'RATE_LIMITED',
          message: 'The signer has reached leavesPerSecondMax; try again in a second.',
        };
      }
      return verdict;
    } catch (failure) {
      this.deps.onUnexpected(failure);
      return unavailable('The signer failed on this request; its log says why.');
    }
  }

  /** Ends when every row has its answer. */
  private async sign(batch: readonly Accepted[]): Promise<void> {
    const { threadCount } = this.deps.keeper;
    const parcelItems = Math.min(PARCEL_ITEMS_MAX, Math.ceil(batch.length / threadCount));
    this.inFlight += batch.length;
    const parcels: Accepted[][] = [];
    for (const item of batch) {
      const last = parcels.at(-1);
      if (hasConsequence(item)) this.inOrder = this.inOrder.then(() => this.signParcel([item]));
      else if (last && last.length < parcelItems && last[0]?.key === item.key) last.push(item);
      else parcels.push([item]);
    }
    await Promise.all([this.inOrder, ...parcels.map((parcel) => this.signParcel(parcel))]);
  }

  /** Rows of one key, in one thread. */
  private async signParcel(parcel: readonly Accepted[]): Promise<void> {
    try {
      const label = parcel[0]?.key.label ?? '';
      const signed = await this.deps.keeper.sign(label, parcel.map(digestOf));
      for (const [index, item] of parcel.entries()) {
        const raw = signed[index];
        if (Buffer.isBuffer(raw)) this.finish(item, raw);
        else this.fail(item, raw);
      }
    } catch (failure) {
      for (const item of parcel) this.fail(item, failure);
    } finally {
      this.inFlight -= parcel.length;
      this.roomMade?.();
    }
  }

  private finish(item: Accepted, raw: Buffer): void {
    const { key, request } = item;
    try {
      const signature = rawToDer(raw);
      this.signed.set(key.label, (this.signed.get(key.label) ?? 0) + 1);
      if (SELF_CHECKED.has(request.purpose) && !verify(key.hash, request.tbs, importPublicKey(key.spki), signature)) {
        throw new TokenFault('C_Sign', 0, 'the token returned a signature that does not verify');
      }
      this.remember(item);
      item.answer({ ok: true, signature });
    } catch (failure) {
      this.fail(item, failure);
    }
  }

  private fail(item: Accepted, failure: unknown): void {
    this.deps.onUnexpected(failure);
    this.refuse(item, unavailable('The token did not sign; try again.'));
  }

  /** Before the signature leaves: once a CRL is out, no `good` may contradict it; once a head is out, none may fork it. */
  private remember({ request, consequence }: Accepted): void {
    try {
      const { crl } = consequence;
      if (crl?.kind === 'complete') writeNewestCrl(this.deps.stateDir, request.keyLabel, crl.crl);
      if (crl?.kind === 'part') writeSignedPart(this.deps.stateDir, request.keyLabel, crl.part, crl.signed);
      if (consequence.head) {
        writeLastHead(this.deps.stateDir, consequence.head);
        this.deps.onHeadSigned(consequence.head);
      }
    } catch (failure) {
      this.deps.onDiskFailure(failure);
      throw failure;
    }
  }

  private refuse(item: DeskItem, result: SignResult & { ok: false }): void {
    this.refused.set(result.code, (this.refused.get(result.code) ?? 0) + 1);
    item.answer(result);
  }

  private room(): Promise<void> {
    return new Promise((resolve) => {
      this.roomMade = () => {
        this.roomMade = undefined;
        resolve();
      };
    });
  }

  private work(): Promise<void> {
    return new Promise((resolve) => {
      this.wake = () => {
        this.wake = undefined;
        // One turn of the loop, so that everything that came in with this frame goes into one batch.
        setImmediate(resolve);
      };
    });
  }
}

function accept(item: Waiting, { key, consequence }: Verdict & { ok: true }): Accepted {
  const { request, role, answer, arrivedMs } = item;
  // Named one by one: a spread of three objects costs as much as the hash.
  const tbsSha256 = hash('sha256', request.tbs, 'buffer');
  return { request, role, answer, arrivedMs, key, consequence, tbsSha256 };
}

function bytesOf({ request }: DeskItem): number {
  return request.tbs.length + (request.evidence?.length ?? 0);
}

function hasConsequence({ consequence }: Accepted): boolean {
  return consequence.crl !== undefined || consequence.head !== undefined;
}

function digestOf({ key, request, tbsSha256 }: Accepted): Buffer {
  return key.hash === 'sha256' ? tbsSha256 : hash(key.hash, request.tbs, 'buffer');
}

function unavailable(message: string): SignResult & { ok: false } {
  return { ok: false, code: 'HSM_UNAVAILABLE', message };
}
