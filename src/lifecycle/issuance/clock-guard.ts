import type { Clock } from '../../platform/clock.js';
import { FemtoError } from '../../platform/errors.js';

/** More than this between two clocks and nothing is issued (ENR-3; faults C1–C4). */
export const CLOCK_TOLERANCE_MS = 5_000;

export interface ClockGuard {
  /**
   * @param databaseNow  what the database's clock said, read just now
   * @throws RETRY_LATER with `facts.fault`: a wrong clock makes certificates that are not yet valid, or live too long
   */
  check(databaseNow: Date): void;
}

/**
 * Compares the wall clock with three witnesses: the monotonic clock since the process started (a step), the database's
 * clock, and the time this program was built. Cheap enough for every flush.
 *
 * @param deps.monotonicMs  milliseconds that never go back, e.g. performance.now()
 * @param deps.buildTime    a clock before it is wrong whatever the other witnesses say (a start in 1970)
 */
export function makeClockGuard(deps: { clock: Clock; monotonicMs: () => number; buildTime: Date }): ClockGuard {
  const startWallMs = deps.clock.now().getTime();
  const startMonotonicMs = deps.monotonicMs();
  return {
    check(databaseNow) {
      const nowMs = deps.clock.now().getTime();
      if (nowMs < deps.buildTime.getTime()) throw wrongClock('before-build', nowMs - deps.buildTime.getTime());
      // Anchored at the start, so that a clock set back to the right time is right again.
      const stepMs = nowMs - startWallMs - (deps.monotonicMs() - startMonotonicMs);
      if (Math.abs(stepMs) > CLOCK_TOLERANCE_MS) throw wrongClock('stepped', stepMs);
      const differenceMs = nowMs - databaseNow.getTime();
      if (Math.abs(differenceMs) > CLOCK_TOLERANCE_MS) throw wrongClock('differs-from-database', differenceMs);
    },
  };
}

function wrongClock(fault: string, byMs: number): FemtoError {
  return new FemtoError(
    'RETRY_LATER',
    'The server clock cannot be trusted, so nothing is issued; check time synchronisation, then restart this process.',
    { facts: { fault, byMs: Math.round(byMs) }, retryAfterSeconds: 60 },
  );
}
