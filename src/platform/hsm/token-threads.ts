/**
 * The token threads of one class process: the process judges, journals and counts; these call the token, several at once,
 * under one login. They live as long as the process and open the token anew as often as they are told.
 */
import { SHARE_ENV, Worker } from 'node:worker_threads';
import { KeyRefusal, TokenFault, type TokenKey, type TokenSettings } from './token.js';
import type { ThreadAnswer, ThreadData, ThreadFault, ThreadOrder, TokenPlace } from './token-thread-messages.js';

/** r ‖ s, or why there is none. */
export type Signed = Buffer | TokenFault;

/** A thread has one more order waiting: it must not idle while the loop is busy with something else. */
const ORDERS_AHEAD = 2;
/** Looks further apart than this: the process itself did not get its turn, and nothing is known about the token. */
const LOOK_MS_MAX = 2_000;
const CKR_CRYPTOKI_NOT_INITIALIZED = 0x190;

interface Thread {
  readonly worker: Worker;
  readonly answers: ((answer: ThreadAnswer) => void)[];
  /** Has a session and takes orders to sign. */
  joined: boolean;
  /** Finished calls at the last look. */
  finished: number;
  /** Since when it works on what it has not come back from, as far as was seen. */
  busySinceMs: number;
}

interface Waiting {
  readonly order: ThreadOrder;
  readonly answer: (answer: ThreadAnswer) => void;
}

export interface TokenThreadsOptions {
  /** Module of one thread. */
  readonly entry: URL;
  readonly count: number;
  readonly settings: TokenSettings;
  /** A thread ended by itself: a bug of ours or no memory, and the process must not go on in part. */
  readonly onLost: (failure: Error) => void;
}

export class TokenThreads {
  private readonly threads: Thread[];
  private readonly progress: Int32Array<SharedArrayBuffer>;
  private readonly queue: Waiting[] = [];
  private place: TokenPlace | undefined;
  private lookedMs = performance.now();

  constructor(private readonly options: TokenThreadsOptions) {
    const { entry, count, onLost } = options;
    this.progress = new Int32Array(new SharedArrayBuffer(count * Int32Array.BYTES_PER_ELEMENT));
    this.threads = Array.from({ length: count }, (_none, index) => {
      const workerData: ThreadData = { progress: this.progress, index };
      // The module's settings are environment variables of the process, not of a copy.
      const worker = new Worker(entry, { workerData, env: SHARE_ENV });
      const thread: Thread = { worker, answers: [], joined: false, finished: 0, busySinceMs: 0 };
      worker.on('message', (answer: ThreadAnswer) => {
        thread.answers.shift()?.(answer);
        this.handOut();
      });
      worker.on('error', onLost);
      return thread;
    });
  }

  /** Threads that sign, at least 1: also between two openings rows may be on their way. */
  get count(): number {
    return Math.max(1, this.threads.filter(({ joined }) => joined).length);
  }

  /**
   * Logs in with exactly one C_Login, finds the keys, and opens a session in every thread.
   * @throws TokenFault; KeyRefusal where one of the labels is not a key that may be used. Call {@link close} in any case.
   */
  async open(labels: readonly string[]): Promise<TokenKey[]> {
    const [first, ...others] = this.threads;
    if (!first) throw new Error('there is no token thread');
    const opened = unlessFailed(await this.tell(first, { kind: 'open', settings: this.options.settings, labels }));
    if (opened.kind !== 'opened') throw unexpected(opened);
    const { place, keys } = opened;
    first.joined = true;
    await Promise.all(others.map((thread) => this.join(thread, place)));
    this.place = place;
    return keys.map((key) => ({ ...key, spki: Buffer.from(key.spki) }));
  }

  /** Closes every session once its orders are done, then finalises the module; what waits for a thread gets a fault. */
  async close(): Promise<void> {
    this.place = undefined;
    for (const { answer } of this.queue.splice(0)) answer({ kind: 'failed', fault: CLOSED });
    const [first, ...others] = this.threads;
    for (const thread of this.threads) thread.joined = false;
    // Nobody may be in the module when the thread that initialised it finalises it.
    await Promise.all(others.map((thread) => this.tell(thread, { kind: 'close' })));
    if (first) await this.tell(first, { kind: 'close' });
  }

  /** Signs in one thread; digests in their order. After a fault the rest says the same fault and was not tried. */
  async sign(label: string, digests: readonly Buffer[]): Promise<Signed[]> {
    const key = this.place?.keys.find((known) => known.label === label);
    if (!key) return digests.map(() => tokenFault(CLOSED));
    const answer = await new Promise<ThreadAnswer>((resolve) => {
      this.queue.push({ order: { kind: 'sign', label, digests: Buffer.concat(digests) }, answer: resolve });
      this.handOut();
    });
    if (answer.kind === 'failed') return digests.map(() => tokenFault(answer.fault));
    if (answer.kind !== 'signed') throw unexpected(answer);
    const { signatures, fault } = answer;
    const raw = Buffer.from(signatures.buffer, signatures.byteOffset, signatures.length);
    return digests.map((_digest, index) => {
      const end = (index + 1) * key.signatureBytes;
      return end <= raw.length ? raw.subarray(end - key.signatureBytes, end) : tokenFault(fault ?? CLOSED);
    });
  }

  /** How long the longest call on its way has not come back; 0 where none is on its way. Look at least once a second. */
  silentMs(): number {
    const nowMs = performance.now();
    const lateMs = Math.max(0, nowMs - this.lookedMs - LOOK_MS_MAX);
    this.lookedMs = nowMs;
    let longestMs = 0;
    for (const [index, thread] of this.threads.entries()) {
      const finished = Atomics.load(this.progress, index);
      if (finished !== thread.finished) thread.busySinceMs = nowMs;
      else thread.busySinceMs = Math.min(nowMs, thread.busySinceMs + lateMs);
      thread.finished = finished;
      if (thread.answers.length > 0) longestMs = Math.max(longestMs, nowMs - thread.busySinceMs);
    }
    return longestMs;
  }

  private async join(thread: Thread, place: TokenPlace): Promise<void> {
    const answer = await this.tell(thread, { kind: 'join', place });
    // Some modules are another application each time they are loaded (p11-kit's client): then the first thread signs alone,
    // for a second login would be a second chance to spend a PIN try.
    if (answer.kind === 'failed' && answer.fault.rv === CKR_CRYPTOKI_NOT_INITIALIZED) return;
    unlessFailed(answer);
    thread.joined = true;
  }

  private handOut(): void {
    while (this.queue.length > 0) {
      const joined = this.threads.filter(({ joined }) => joined);
      const [first] = joined;
      if (!first) return;
      const idlest = joined.reduce((a, b) => (b.answers.length < a.answers.length ? b : a), first);
      if (idlest.answers.length >= ORDERS_AHEAD) return;
      const waiting = this.queue.shift();
      if (waiting) void this.tell(idlest, waiting.order).then(waiting.answer);
    }
  }

  private tell(thread: Thread, order: ThreadOrder): Promise<ThreadAnswer> {
    if (thread.answers.length === 0) thread.busySinceMs = performance.now();
    return new Promise((resolve) => {
      thread.answers.push(resolve);
      thread.worker.postMessage(order);
    });
  }
}

const CLOSED: ThreadFault = { call: 'C_Sign', rv: 0, detail: 'the token was closed' };

function tokenFault({ call, rv, detail }: ThreadFault): TokenFault {
  return new TokenFault(call, rv, detail);
}

function unlessFailed(answer: ThreadAnswer): ThreadAnswer {
  if (answer.kind === 'failed') throw tokenFault(answer.fault);
  if (answer.kind === 'refused') throw new KeyRefusal(answer.label, answer.reason);
  return answer;
}

function unexpected({ kind }: ThreadAnswer): Error {
  return new Error(`a token thread answered ${kind}`);
}
