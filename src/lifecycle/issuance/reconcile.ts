import { type AbandonDeps, abandonAttempts } from './abandon-attempts.js';

export interface ReconcileOptions {
  /** Attempts signing for longer are given up; default 60 s. Their processes' T2 then touches no row (fault F11). */
  readonly signingLimitMs?: number;
}

const SIGNING_LIMIT_MS = 60_000;
const ATTEMPTS_AT_ONCE = 500;

/**
 * What a crash between intent and record left behind becomes a revoked serial (OPS-2; faults F1, F2). Run every 15 s by
 * any number of workers: each attempt is abandoned once.
 *
 * @returns attempts abandoned by this run
 */
export async function reconcile(deps: AbandonDeps, options: ReconcileOptions = {}): Promise<number> {
  const before = new Date(deps.clock.now().getTime() - (options.signingLimitMs ?? SIGNING_LIMIT_MS));
  let total = 0;
  for (;;) {
    const stale = await deps.store.staleAttempts(deps.transactor.read, before, ATTEMPTS_AT_ONCE);
    if (stale.length === 0) return total;
    const abandoned = await abandonAttempts(deps, stale, 'never recorded');
    total += abandoned;
    if (abandoned === 0) return total; // another worker has them
  }
}
