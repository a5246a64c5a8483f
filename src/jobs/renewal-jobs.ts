import type { Renewal, TaskStore } from '../lifecycle/renewal/index.js';
import type { Clock } from '../platform/clock.js';
import type { Transactor } from '../platform/db/transaction.js';
import { asFemtoError, type FemtoError } from '../platform/errors.js';
import { failpoint } from '../platform/failpoint.js';
import type { Ledger, LedgerEntry } from '../platform/ledger/ledger.js';
import type { JobHandlers, JobPayload } from './job-catalogue.js';
import type { Attended, RenewalBook } from './renewal-book.js';

export interface RenewalJobDeps {
  readonly transactor: Transactor;
  readonly tasks: Pick<TaskStore, 'markPreissued' | 'markFailed'>;
  readonly book: Pick<RenewalBook, 'attend'>;
  readonly ledger: Ledger;
  readonly clock: Clock;
  readonly renewal: Pick<Renewal, 'preissueNext'>;
}

/** The rows are asked again: the job may be old, doubled, or running in two workers at once. */
export function renewalJobs(deps: RenewalJobDeps): JobHandlers {
  return { 'attend-renewals': (look) => attend(deps, look) };
}

/**
 * A reminder is its ledger entry, written in the commit that moves the marker on; HeMS reads it there. So it is sent once,
 * whatever becomes of the job.
 */
async function attend(deps: RenewalJobDeps, look: JobPayload<'attend-renewals'>): Promise<void> {
  await failpoint('attend-renewals');
  const at = deps.clock.now();
  const attended = await deps.transactor.run(async (tx) => {
    const slots = await deps.book.attend(tx, { ...look, at });
    await deps.ledger.append(tx, [
      ...slots.filter(({ isOverdue }) => isOverdue).map((slot) => entryOf('renewal.overdue', slot, at)),
      ...slots.filter(({ isReminded }) => isReminded).map((slot) => entryOf('renewal.reminded', slot, at)),
    ]);
    return slots;
  });
  await failpoint('renewals-attended');
  await preissue(
    deps,
    attended.flatMap(({ slotId, needsPreissue }) => (needsPreissue ? [slotId] : [])),
  );
}

/** One unit's failure is counted on its own row and never holds up the others of the job. */
async function preissue(deps: RenewalJobDeps, slotIds: readonly number[]): Promise<void> {
  for (const slotId of slotIds) {
    try {
      const certificate = await deps.renewal.preissueNext(slotId);
      if (certificate) await deps.tasks.markPreissued(deps.transactor.read, slotId, deps.clock.now());
    } catch (thrown) {
      const error = asFemtoError(thrown);
      // The token or the database is away for everybody: their markers bring them back, nobody's tries are spent.
      if (error.code === 'HSM_UNAVAILABLE' || error.code === 'RETRY_LATER') return;
      await countFailure(deps, slotId, error);
    }
  }
}

async function countFailure(deps: RenewalJobDeps, slotId: number, error: FemtoError): Promise<void> {
  const at = deps.clock.now();
  await deps.transactor.run(async (tx) => {
    const state = await deps.tasks.markFailed(tx, slotId, `${error.code}: ${error.message}`, at);
    if (state !== 'dead') return;
    const body = { job: 'attend-renewals', slotId, code: error.code };
    await deps.ledger.append(tx, [{ kind: 'job.dead', subject: `slot:${slotId}`, at, body }]);
  });
}

/** How the record tells a step of a renewal. */
function entryOf(kind: 'renewal.overdue' | 'renewal.reminded', slot: Attended, at: Date): LedgerEntry {
  const { slotId, unitSerialNumber, generation, renewUntil, notAfter, reminders } = slot;
  return {
    kind,
    subject: `unit:${unitSerialNumber}`,
    at,
    body: { slotId, generation, renewUntil, notAfter, reminders },
  };
}
