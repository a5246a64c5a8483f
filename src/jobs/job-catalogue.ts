import { z } from 'zod';
import { FemtoError } from '../platform/errors.js';
import { JOB_UNITS_MAX, type JobAttempt, type JobHandling } from '../platform/queue/queue.js';

/** Microseconds since 1970. */
const micros = z.string().regex(/^-?\d{1,17}$/);

/** Everything the queue carries: name → payload. Ids only; what to do with them stands in rows. */
export const JOB_CATALOGUE = {
  /** Looks at the slots whose markers lie between these moments: reminds, finds overdue, makes certificates ahead of time. */
  'attend-renewals': z.strictObject({
    slotIds: z.array(z.int().positive()).min(1).max(JOB_UNITS_MAX).readonly(),
    fromMicros: micros,
    untilMicros: micros,
  }),
} as const;

export type JobName = keyof typeof JOB_CATALOGUE;
export type JobPayload<Name extends JobName> = z.infer<(typeof JOB_CATALOGUE)[Name]>;
/** Exactly one handler a name: a missing or a surplus one does not compile. */
export type JobHandlers = { readonly [Name in JobName]: (payload: JobPayload<Name>) => Promise<void> };

/** Where dead jobs go. */
export interface DeadLetters {
  /** The letter and the ledger entry `job.dead`, in one transaction. */
  write(job: JobAttempt, error: Error): Promise<void>;
}

/**
 * Binds handlers to the queue. A name or payload that this process does not know counts as a failed try: during a
 * rolling upgrade a newer worker may understand it; after five it is a dead letter like any other poison.
 */
export function jobHandling(handlers: JobHandlers, deadLetters: DeadLetters): JobHandling {
  checkComplete(handlers);
  return {
    run: async ({ name, data }) => {
      if (!isJobName(name)) throw unreadable(name, 'is in no catalogue');
      await runOne(handlers, name, data);
    },
    dead: (job, error) => deadLetters.write(job, error),
  };
}

async function runOne<Name extends JobName>(handlers: JobHandlers, name: Name, data: unknown): Promise<void> {
  const parsed = JOB_CATALOGUE[name].safeParse(data);
  if (!parsed.success) throw unreadable(name, `has a payload that is not its own (${parsed.error.issues[0]?.message})`);
  await handlers[name](parsed.data as JobPayload<Name>);
}

/** The types say it; a handler table that came from elsewhere is checked all the same, before a job is lost to it. */
function checkComplete(handlers: JobHandlers): void {
  const wanted = Object.keys(JOB_CATALOGUE).sort().join();
  const given = Object.keys(handlers).sort().join();
  if (wanted !== given) throw new FemtoError('INTERNAL', `Jobs need one handler each: ${wanted}; there are ${given}.`);
}

function isJobName(name: string): name is JobName {
  return Object.hasOwn(JOB_CATALOGUE, name);
}

function unreadable(name: string, fault: string): FemtoError {
  return new FemtoError('BAD_REQUEST', `The job "${name.slice(0, 60)}" ${fault}; see its dead letter.`);
}
