import type { Clock } from '../../platform/clock.js';
import type { Transactor } from '../../platform/db/transaction.js';
import type { ErrorCode, FemtoError } from '../../platform/errors.js';
import type { Ledger } from '../../platform/ledger/ledger.js';
import { MinuteBudget } from '../../platform/minute-budget.js';
import type { RefusalCounter } from '../../platform/refusals.js';

export interface RefusedRequest {
  /** The unit whose key was proved; null where nothing was proved. */
  readonly unitSerialNumber: string | null;
  /** e.g. `activate`, `renew`. */
  readonly operation: string;
  readonly error: FemtoError;
  readonly address: string;
  readonly traceId: string;
}

/** Resolves when the refusal is on record; a device's answer waits for it, so that no refusal is ever only said. */
export type RefusalRecorder = (refused: RefusedRequest) => Promise<void>;

/**
 * Exact codes for the record: callers see one of four words. Refusals of a proved unit are ledger entries, a few a minute;
 * everything else is counted by source prefix and minute (rules 7.5), so that junk cannot fill the ledger.
 */
export function makeRefusalRecorder(deps: {
  readonly transactor: Transactor;
  readonly ledger: Ledger;
  readonly counter: RefusalCounter;
  readonly clock: Clock;
}): RefusalRecorder {
  const budget = new MinuteBudget(ENTRIES_A_MINUTE);
  return async ({ unitSerialNumber, operation, error, address, traceId }) => {
    const { code, facts } = error;
    const at = deps.clock.now();
    // Asked to come again: counted, so that an outage is not told as thousands of refusals. That the unit had nothing to
    // prove with is a refusal.
    const isCounted = code === 'RATE_LIMITED' || (NOT_A_REFUSAL.has(code) && facts['asks'] === undefined);
    if (unitSerialNumber === null || isCounted || !budget.take(unitSerialNumber, at)) {
      deps.counter.count({ address, code, at, sample: operation });
      return;
    }
    await deps.transactor.run((tx) =>
      deps.ledger.append(tx, [
        {
          kind: 'request.refused',
          subject: `unit:${unitSerialNumber}`,
          at,
          body: { code, operation, address, traceId, facts },
        },
      ]),
    );
  };
}

const NOT_A_REFUSAL: ReadonlySet<ErrorCode> = new Set([
  'RETRY_LATER',
  'HSM_UNAVAILABLE',
  'APPROVAL_REQUIRED',
  'INTERNAL',
]);
const ENTRIES_A_MINUTE = 20;
