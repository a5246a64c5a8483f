import type { Registry } from '../lifecycle/registry/index.js';
import type { Clock } from '../platform/clock.js';
import type { Lease, Leases } from '../platform/db/lease.js';
import type { Transaction, Transactor } from '../platform/db/transaction.js';
import { FemtoError } from '../platform/errors.js';

export interface SilentUnits {
  /** Units of a state whose last contact, or else their last change of state, is older than `before`; at most `limit`. */
  silentSince(
    tx: Transaction,
    query: { state: 'ACTIVE' | 'DORMANT'; before: Date; limit: number },
  ): Promise<readonly number[]>;
  countServing(tx: Transaction): Promise<number>;
  /** The database's clock: a second witness against a host whose clock jumped (fault C2). */
  databaseNow(tx: Transaction): Promise<Date>;
}

export interface DormancyDeps {
  readonly transactor: Transactor;
  readonly leases: Leases;
  readonly registry: Pick<Registry, 'changeState'>;
  readonly units: SilentUnits;
  readonly clock: Clock;
}

/**
 * Whoever rests units holds this lease. After an outage of ours the outage itself holds it for as long as it lasted:
 * silence that we caused counts against nobody.
 */
export const DORMANCY_LEASE = 'dormancy';
export const OUTAGE_HOLDER = 'outage';
/** A pulse that was missing for longer is an outage. */
export const OUTAGE_MS_MIN = 600_000;

const DAY_MS = 86_400_000;
const DORMANT_AFTER_MS = 30 * DAY_MS;
const SUSPENDED_AFTER_MS = 90 * DAY_MS;
const CLOCK_TOLERANCE_MS = 5_000;
const PAGE = 200;
/** More at once than this part of the fleet is our fault, not theirs: a clock, a lost table, a broken line. */
const SHARE_MAX = 0.02;
const COUNT_ALWAYS_ALLOWED = 100;

/**
 * Dormancy without anybody's action (LST-2): 30 d silent → DORMANT, 90 d → SUSPENDED.
 * @throws FemtoError INTERNAL when clocks disagree or implausibly many would rest: nothing is changed then
 */
export async function restSilentUnits(
  deps: DormancyDeps,
  lease: Lease,
): Promise<{ dormant: number; suspended: number }> {
  const now = deps.clock.now();
  const { read } = deps.transactor;
  const offMs = Math.abs(now.getTime() - (await deps.units.databaseNow(read)).getTime());
  if (offMs > CLOCK_TOLERANCE_MS) {
    throw new FemtoError(
      'INTERNAL',
      'The clocks of this host and of the database differ; correct them. No unit was rested.',
      {
        facts: { differenceMs: offMs },
      },
    );
  }
  const limit = Math.max(COUNT_ALWAYS_ALLOWED, Math.floor((await deps.units.countServing(read)) * SHARE_MAX)) + 1;
  const before = (silentMs: number) => new Date(now.getTime() - silentMs);
  const suspend = await deps.units.silentSince(read, { state: 'DORMANT', before: before(SUSPENDED_AFTER_MS), limit });
  const rest = await deps.units.silentSince(read, { state: 'ACTIVE', before: before(DORMANT_AFTER_MS), limit });
  if (suspend.length >= limit || rest.length >= limit) {
    throw new FemtoError(
      'INTERNAL',
      `${limit - 1} units and more would be rested at once, which is no coincidence; look for an outage or a wrong clock first.`,
      { facts: { dormant: rest.length, suspended: suspend.length } },
    );
  }
  return {
    suspended: await change(deps, lease, {
      unitIds: suspend,
      from: 'DORMANT',
      to: 'SUSPENDED',
      reason: 'silent for 90 days',
    }),
    dormant: await change(deps, lease, { unitIds: rest, from: 'ACTIVE', to: 'DORMANT', reason: 'silent for 30 days' }),
  };
}

async function change(
  deps: DormancyDeps,
  lease: Lease,
  by: { unitIds: readonly number[]; from: 'ACTIVE' | 'DORMANT'; to: 'DORMANT' | 'SUSPENDED'; reason: string },
): Promise<number> {
  let changed = 0;
  for (let start = 0; start < by.unitIds.length; start += PAGE) {
    for (const unitId of by.unitIds.slice(start, start + PAGE)) {
      const { from, to, reason } = by;
      changed += await deps.transactor
        .run(async (tx) => {
          await deps.leases.check(tx, lease);
          await deps.registry.changeState(tx, {
            unitId,
            from,
            to,
            reason,
            actor: 'system:dormancy',
            at: deps.clock.now(),
          });
          return 1;
        })
        .catch((thrown: unknown) => {
          // Somebody acted on the unit meanwhile: theirs is the newer decision.
          if (thrown instanceof FemtoError && thrown.code === 'STATE_CONFLICT' && thrown.facts['lease'] === undefined)
            return 0;
          throw thrown;
        });
    }
  }
  return changed;
}
