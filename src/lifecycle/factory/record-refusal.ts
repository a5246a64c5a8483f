import type { Clock } from '../../platform/clock.js';
import type { Transactor } from '../../platform/db/transaction.js';
import type { ErrorCode, FemtoError } from '../../platform/errors.js';
import type { Ledger } from '../../platform/ledger/ledger.js';
import { MinuteBudget } from '../../platform/minute-budget.js';
import type { RefusalCounter } from '../../platform/refusals.js';
import type { Actor } from '../model/index.js';

export interface FactoryRefusal {
  /** Null: nothing was proved, so the refusal is counted by source and not entered. */
  readonly actor: Actor | null;
  readonly operation: 'manifest' | 'enrol' | 'close-batch' | 'unknown';
  /** As sent; only well-formed ones are recorded. */
  readonly serialNumber?: string;
  readonly error: FemtoError;
  readonly address: string;
  readonly traceId: string;
}

/** Entries a caller and minute. A station that loops must not fill the record; the rest of its refusals are counted. */
const ENTRIES_A_MINUTE = 60;
const FAULTS_RECORDED_MAX = 10;
/** The caller is asked to come again; an outage must not be told as thousands of refusals. */
const NOT_A_REFUSAL: ReadonlySet<ErrorCode> = new Set(['RETRY_LATER', 'HSM_UNAVAILABLE', 'INTERNAL']);

/**
 * Every refusal is on record with its exact code before it is answered: an entry of its own where the caller had proved
 * itself, a count by source prefix and minute where not (rules 7.5).
 */
export function makeFactoryRefusals(deps: {
  readonly transactor: Transactor;
  readonly ledger: Ledger;
  readonly counter: RefusalCounter;
  readonly clock: Clock;
}): (refusal: FactoryRefusal) => Promise<void> {
  const budget = new MinuteBudget(ENTRIES_A_MINUTE);
  return async ({ actor, operation, serialNumber, error, address, traceId }) => {
    const at = deps.clock.now();
    const { code } = error;
    if (actor === null || NOT_A_REFUSAL.has(code) || !budget.take(actor, at)) {
      deps.counter.count({ address, code, at, sample: `factory ${operation}` });
      return;
    }
    const { errors, limit } = error.facts;
    await deps.transactor.run((tx) =>
      deps.ledger.append(tx, [
        {
          kind: 'request.refused',
          subject: actor,
          at,
          body: {
            code,
            operation: `factory ${operation}`,
            address,
            traceId,
            serialNumber: serialNumber ?? null,
            limit: limit ?? null,
            errors: Array.isArray(errors) ? errors.slice(0, FAULTS_RECORDED_MAX) : [],
          },
        },
      ]),
    );
  };
}
