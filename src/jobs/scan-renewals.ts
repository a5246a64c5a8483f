import type { DueCursor, TaskStore } from '../lifecycle/renewal/index.js';
import type { Clock } from '../platform/clock.js';
import type { Lease, Leases } from '../platform/db/lease.js';
import type { Transactor } from '../platform/db/transaction.js';
import { asFemtoError } from '../platform/errors.js';
import type { Ledger } from '../platform/ledger/ledger.js';
import { JOB_UNITS_MAX, type Job, type JobQueue } from '../platform/queue/queue.js';
import type { RenewalBook, TaskNote } from './renewal-book.js';

export interface RenewalScanDeps {
  readonly transactor: Transactor;
  readonly tasks: TaskStore;
  readonly book: RenewalBook;
  readonly ledger: Ledger;
  readonly leases: Leases;
  readonly queue: JobQueue;
  readonly clock: Clock;
}

export interface RenewalScan {
  readonly opened: number;
  readonly overdue: number;
  readonly closed: number;
  /** Jobs rung for; null when the queue was away: the next scan rings again. */
  readonly rung: number | null;
}

export const RENEWAL_SCAN_LEASE = 'renewal-scan';
/** A unit that does not answer is reminded again after so long. */
export const REMIND_AGAIN_MS = 6 * 3_600_000;
const PAGE = 500;
/** Pages in one run: a mass expiry is worked off over several runs instead of one endless one. */
const PAGES_A_RUN = 40;

/**
 * From rows to jobs, every 15 s: what became due gets a task row, what passed its window is overdue, and every open row
 * that needs work is rung for. The rows alone decide, so a queue that was emptied is full again after one run, and a job
 * that exists twice has one effect.
 */
export async function scanRenewals(deps: RenewalScanDeps, lease: Lease): Promise<RenewalScan> {
  const opened = await openDue(deps, lease);
  const at = deps.clock.now();
  const { overdue, closed } = await deps.transactor.run(async (tx) => {
    await deps.leases.check(tx, lease);
    const closed = await deps.book.closeSettled(tx, at);
    const notes = await deps.book.markOverdue(tx, at, PAGE);
    await deps.ledger.append(
      tx,
      notes.map((note) => entryOf('renewal.overdue', note, at)),
    );
    return { overdue: notes.length, closed };
  });
  return { opened, overdue, closed, rung: await ring(deps) };
}

async function openDue(deps: RenewalScanDeps, lease: Lease): Promise<number> {
  let after: DueCursor | null = null;
  let opened = 0;
  for (let page = 0; page < PAGES_A_RUN; page++) {
    const now = deps.clock.now();
    const due = await deps.tasks.findDueSlots(deps.transactor.read, { now, after, limit: PAGE });
    const last = due.at(-1);
    if (!last) break;
    opened += await deps.transactor.run(async (tx) => {
      await deps.leases.check(tx, lease);
      return (await deps.tasks.openTasks(tx, due, now)).length;
    });
    after = { renewFrom: last.renewFrom, slotId: last.slotId };
  }
  return opened;
}

async function ring(deps: RenewalScanDeps): Promise<number | null> {
  const remindedBefore = new Date(deps.clock.now().getTime() - REMIND_AGAIN_MS);
  let afterSlotId = 0;
  let rung = 0;
  for (let page = 0; page < PAGES_A_RUN; page++) {
    const work = await deps.book.needingWork(deps.transactor.read, { afterSlotId, remindedBefore, limit: PAGE * 10 });
    const last = work.at(-1);
    if (!last) break;
    const remind = jobsOf(
      'remind-units',
      work.filter(({ renewalMode }) => renewalMode === 'rekey'),
    );
    const preissue = jobsOf(
      'preissue-units',
      work.filter(({ renewalMode }) => renewalMode === 'preissue'),
    );
    try {
      await deps.queue.addBulk([...remind, ...preissue]);
    } catch (thrown) {
      if (asFemtoError(thrown).code !== 'RETRY_LATER') throw thrown;
      return null;
    }
    rung += remind.length + preissue.length;
    afterSlotId = last.slotId;
  }
  return rung;
}

/**
 * One job a block of slot ids. The block is the natural key: while its job waits or runs, ringing again changes nothing,
 * and what became due in it meanwhile is rung for when it is done.
 */
function jobsOf(name: 'remind-units' | 'preissue-units', work: readonly { slotId: number }[]): Job[] {
  const blocks = new Map<number, number[]>();
  for (const { slotId } of work) {
    const block = Math.floor(slotId / JOB_UNITS_MAX);
    blocks.set(block, [...(blocks.get(block) ?? []), slotId]);
  }
  return [...blocks].map(([block, slotIds]) => ({ name, id: `${name}-${block}`, data: { slotIds } }));
}

/** How the record tells a step of a renewal. */
export function entryOf(kind: 'renewal.overdue' | 'renewal.reminded', note: TaskNote, at: Date) {
  const { slotId, unitSerialNumber, generation, renewUntil, notAfter, reminders } = note;
  return {
    kind,
    subject: `unit:${unitSerialNumber}`,
    at,
    body: { slotId, generation, renewUntil, notAfter, reminders },
  };
}
