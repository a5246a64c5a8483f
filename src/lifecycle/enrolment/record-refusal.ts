import type { Clock } from '../../platform/clock.js';
import type { Transactor } from '../../platform/db/transaction.js';
import type { ErrorCode, FemtoError } from '../../platform/errors.js';
import type { Ledger } from '../../platform/ledger/ledger.js';
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
    // Not a refusal: the unit is asked to come again. That it had nothing to prove with is one.
    if (NOT_A_REFUSAL.has(code) && facts['asks'] === undefined) return;
    if (unitSerialNumber === null || code === 'RATE_LIMITED' || !budget.take(unitSerialNumber, at)) {
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

const NOT_A_REFUSAL: ReadonlySet<ErrorCode> = new Set(['RETRY_LATER', 'HSM_UNAVAILABLE', 'INTERNAL']);
const ENTRIES_A_MINUTE = 20;

/** Per process and unit. Losing it at a restart only means a few more entries. */
class MinuteBudget {
  private minute = 0;
  private taken = new Map<string, number>();

  constructor(private readonly max: number) {}

  take(name: string, at: Date): boolean {
    const minute = Math.floor(at.getTime() / 60_000);
    if (minute !== this.minute) {
      this.minute = minute;
      this.taken = new Map();
    }
    const taken = this.taken.get(name) ?? 0;
    this.taken.set(name, taken + 1);
    return taken < this.max;
  }
}
