import { setTimeout as sleep } from 'node:timers/promises';
import { asFemtoError, FemtoError } from '../errors.js';
import type { JobHandling, JobQueue, JobWorker } from './queue.js';

/** What a process that works by rows needs of its queue. */
export type LateQueue = Pick<JobQueue, 'addBulk' | 'counts' | 'process' | 'health' | 'close'>;

export interface LateQueueOptions {
  readonly open: () => Promise<JobQueue>;
  readonly onAway: (error: Error) => void;
  /** Between two tries; default 2 s. */
  readonly everyMs?: number;
}

const EVERY_MS = 2_000;

/**
 * Opens the queue, and lets its process go on without it where its store is away: CRLs, the ledger and the heads wait for no
 * bell. Until it is there every call is refused as by a queue whose store went away later; then its worker starts.
 *
 * @throws whatever `open` throws but RETRY_LATER: a store that is not fit must not be used
 */
export async function openLate({ open, onAway, everyMs = EVERY_MS }: LateQueueOptions): Promise<LateQueue> {
  const end = new AbortController();
  let queue: JobQueue | undefined;
  let why = 'The queue is not open yet; it is tried again.';
  let waiting: { handling: JobHandling; started: (worker: JobWorker) => void } | undefined;
  const tryOnce = async (): Promise<void> => {
    try {
      queue = await open();
      waiting?.started(queue.process(waiting.handling));
    } catch (thrown) {
      const error = asFemtoError(thrown);
      if (error.code !== 'RETRY_LATER') throw error;
      why = error.message;
      onAway(error);
    }
  };
  const present = (): JobQueue => {
    if (queue) return queue;
    throw new FemtoError('RETRY_LATER', why, { retryAfterSeconds: 1 });
  };
  await tryOnce();
  const opening = (async () => {
    while (queue === undefined && !end.signal.aborted) {
      await sleep(everyMs, undefined, { signal: end.signal }).catch(() => undefined);
      // One that came back unfit is told again and again, and readiness says it; the rest of the process goes on.
      if (!end.signal.aborted) await tryOnce().catch((error: Error) => onAway(error));
    }
  })();
  return {
    addBulk: async (jobs) => present().addBulk(jobs),
    counts: async () => present().counts(),
    health: async () => (queue ? queue.health() : { ok: false, detail: why }),
    process: (handling, options) => {
      if (queue) return queue.process(handling, options);
      let worker: JobWorker | undefined;
      waiting = {
        handling,
        started: (started) => {
          worker = started;
        },
      };
      return { close: async (graceMs) => worker?.close(graceMs) };
    },
    close: async () => {
      end.abort();
      await opening;
      await queue?.close();
    },
  };
}
