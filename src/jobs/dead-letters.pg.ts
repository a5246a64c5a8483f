import type { Clock } from '../platform/clock.js';
import type { Transactor } from '../platform/db/transaction.js';
import type { Ledger } from '../platform/ledger/ledger.js';
import type { DeadLetters } from './job-catalogue.js';

const ERROR_CHARACTERS_MAX = 1_000;
const PAYLOAD_CHARACTERS_MAX = 16_000;

export function makeDeadLetters(deps: {
  transactor: Transactor;
  ledger: Ledger;
  clock: Clock;
  queue: string;
  alarm: (what: string, facts: Record<string, unknown>) => void;
}): DeadLetters {
  return {
    write: async (job, error) => {
      const at = deps.clock.now();
      const reason = `${error.name}: ${error.message}`.slice(0, ERROR_CHARACTERS_MAX);
      const name = job.name.slice(0, 200);
      const key = job.id.slice(0, 200);
      await deps.transactor.run(async (tx) => {
        await tx.query(
          `INSERT INTO dead_letter (queue, job_name, job_key, payload, error, tries, failed_at)
           VALUES ($1, $2, $3, $4, $5, $6, $7)`,
          [deps.queue, name, key, JSON.stringify(job.data).slice(0, PAYLOAD_CHARACTERS_MAX), reason, job.attempt, at],
        );
        // Neither payload nor reason: both came from outside and may hold anything; the letter has them.
        const body = { queue: deps.queue, job: name, key, tries: job.attempt };
        await deps.ledger.append(tx, [{ kind: 'job.dead', subject: `queue:${deps.queue}`, at, body }]);
      });
      deps.alarm('a job failed for good', { job: name, key, tries: job.attempt });
    },
  };
}
