import type { Clock } from '../platform/clock.js';
import type { Lease } from '../platform/db/lease.js';
import type { Transactor } from '../platform/db/transaction.js';
import { asFemtoError } from '../platform/errors.js';
import { JOB_UNITS_MAX, type Job, type JobQueue } from '../platform/queue/queue.js';
import type { DueBlock, DuePlace, RenewalBook } from './renewal-book.js';

export interface RenewalScanDeps {
  readonly transactor: Pick<Transactor, 'read'>;
  readonly book: Pick<RenewalBook, 'dueBlocks'>;
  readonly queue: Pick<JobQueue, 'addBulk' | 'counts'>;
  readonly clock: Clock;
  /** Jobs that may wait; default {@link JOBS_WAITING_MAX}. */
  readonly jobsWaitingMax?: number;
  /** Default {@link AGAIN_AFTER_MS}. */
  readonly againAfterMs?: number;
}

export interface RenewalScan {
  /** Units whose markers were handed to the queue. */
  readonly dispatched: number;
  /** True where the queue was away: what is due waits in its rows. */
  readonly isAway: boolean;
}

export const RENEWAL_SCAN_LEASE = 'renewal-scan';
/** What was handed out and is still not done after so long is handed out again: the queue may have been emptied. */
const AGAIN_AFTER_MS = 60_000;
/** A hundred thousand units: seconds of work for the workers, and a queue that stays small whatever becomes due at once. */
const JOBS_WAITING_MAX = 200;
/** Jobs in one page. */
const JOBS_A_PAGE = 10;
const PAGES_A_RUN = 40;

/**
 * From markers to jobs. The scan goes forward only, over exactly what is due; a marker stays until the job that looked at the
 * slot moves it on, and every minute the scan begins at the first one left. So the rows alone decide: an emptied queue is full
 * again, a job that exists twice finds its markers gone, and nothing is written to hand anything out.
 */
export function makeRenewalScan(deps: RenewalScanDeps): (lease: Lease) => Promise<RenewalScan> {
  let after: DuePlace | null = null;
  let beganMs = Number.NEGATIVE_INFINITY;
  let fence: number | null = null;
  return async (lease) => {
    const now = deps.clock.now();
    // Whoever held the lease between may have left anything undone.
    if (
      lease.fence !== fence ||
      now.getTime() - beganMs >= (deps.againAfterMs ?? AGAIN_AFTER_MS) ||
      now.getTime() < beganMs
    ) {
      after = null;
      beganMs = now.getTime();
      fence = lease.fence;
    }
    let dispatched = 0;
    try {
      for (let page = 0; page < PAGES_A_RUN; page++) {
        const { waiting } = await deps.queue.counts();
        const blocks = Math.min(JOBS_A_PAGE, (deps.jobsWaitingMax ?? JOBS_WAITING_MAX) - waiting);
        if (blocks <= 0) break;
        const due = await deps.book.dueBlocks(deps.transactor.read, { now, after, units: JOB_UNITS_MAX, blocks });
        const last = due.at(-1);
        if (last === undefined) break;
        await deps.queue.addBulk(due.map(jobOf));
        dispatched += due.reduce((sum, { slotIds }) => sum + slotIds.length, 0);
        after = { dueMicros: last.untilMicros, slotId: last.slotIds.at(-1) ?? 0 };
      }
    } catch (thrown) {
      if (asFemtoError(thrown).code !== 'RETRY_LATER') throw thrown;
      return { dispatched, isAway: true };
    }
    return { dispatched, isAway: false };
  };
}

/** Its first marker is the natural key: while the job waits or runs, handing the same block out again changes nothing. */
function jobOf({ slotIds, fromMicros, untilMicros }: DueBlock): Job {
  const id = `attend-renewals-${fromMicros}-${slotIds[0]}`;
  return { name: 'attend-renewals', id, data: { slotIds, fromMicros, untilMicros } };
}
