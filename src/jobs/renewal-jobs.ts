import type { Renewal, TaskStore } from '../lifecycle/renewal/index.js';
import type { Clock } from '../platform/clock.js';
import type { Transactor } from '../platform/db/transaction.js';
import { asFemtoError, type FemtoError } from '../platform/errors.js';
import { failpoint } from '../platform/failpoint.js';
import type { Ledger } from '../platform/ledger/ledger.js';
import type { JobHandlers } from './job-catalogue.js';
import type { RenewalBook } from './renewal-book.js';
import { entryOf, REMIND_AGAIN_MS } from './scan-renewals.js';

export interface RenewalJobDeps {
  readonly transactor: Transactor;
  readonly tasks: TaskStore;
  readonly book: RenewalBook;
  readonly ledger: Ledger;
  readonly clock: Clock;
  readonly renewal: Pick<Renewal, 'preissueNext'>;
}

/** Every handler asks the row again: the job may be old, doubled, or running in two workers at once. */
export function renewalJobs(deps: RenewalJobDeps): JobHandlers {
  return {
    'remind-units': ({ slotIds }) => remindUnits(deps, slotIds),
    'preissue-units': ({ slotIds }) => preissueUnits(deps, slotIds),
  };
}

/**
 * The reminder is its ledger entry, written with the row's new state in one commit; HeMS reads it there. So a reminder
 * is sent once, whatever becomes of the job.
 */
async function remindUnits(deps: RenewalJobDeps, slotIds: readonly number[]): Promise<void> {
  await failpoint('remind-units');
  const at = deps.clock.now();
  const remindedBefore = new Date(at.getTime() - REMIND_AGAIN_MS);
  await deps.transactor.run(async (tx) => {
    const notes = await deps.book.markReminded(tx, { slotIds, at, remindedBefore });
    await deps.ledger.append(
      tx,
      notes.map((note) => entryOf('renewal.reminded', note, at)),
    );
  });
  await failpoint('units-reminded');
}

/** One unit's failure is counted on its own row and never holds up the others of the job. */
async function preissueUnits(deps: RenewalJobDeps, slotIds: readonly number[]): Promise<void> {
  for (const slotId of slotIds) {
    try {
      const certificate = await deps.renewal.preissueNext(slotId);
      if (certificate) await deps.tasks.markPreissued(deps.transactor.read, slotId, deps.clock.now());
    } catch (thrown) {
      const error = asFemtoError(thrown);
      // The token or the database is away for everybody: the whole job comes again, nobody's tries are spent.
      if (error.code === 'HSM_UNAVAILABLE' || error.code === 'RETRY_LATER') throw error;
      await countFailure(deps, slotId, error);
    }
  }
}

async function countFailure(deps: RenewalJobDeps, slotId: number, error: FemtoError): Promise<void> {
  const at = deps.clock.now();
  await deps.transactor.run(async (tx) => {
    const state = await deps.tasks.markFailed(tx, slotId, `${error.code}: ${error.message}`, at);
    if (state !== 'dead') return;
    const body = { job: 'preissue-units', slotId, code: error.code };
    await deps.ledger.append(tx, [{ kind: 'job.dead', subject: `slot:${slotId}`, at, body }]);
  });
}
