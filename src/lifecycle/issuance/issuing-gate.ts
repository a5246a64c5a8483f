import type { Clock } from '../../platform/clock.js';
import type { Transactor } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import type { ClockGuard } from './clock-guard.js';
import type { IssuanceStore } from './issuance-store.js';

export interface GateDeps {
  readonly transactor: Transactor;
  readonly store: IssuanceStore;
  readonly clock: Clock;
  readonly clockGuard: ClockGuard;
  /** Seconds that the oldest unsequenced ledger entry has waited. */
  readonly ledgerBacklogSeconds: () => Promise<number>;
}

/** Whether this process may issue at all, asked once before every flush. */
export interface IssuingGate {
  /** @throws RETRY_LATER clock, backlog, stopped; HSM_UNAVAILABLE while the token rests */
  check(): Promise<void>;
  /** Rows that the next flush may carry: one while a token that failed is being tried again. */
  rowsMax(): number;
  tokenFailed(): void;
  tokenAnswered(): void;
}

/** Rules 7.3. Revoking never stops. */
const BACKLOG_SECONDS_MAX = 60;
const CONDITIONS_MS = 500;
const REST_MS = { first: 500, longest: 5_000 } as const;

export function makeIssuingGate(deps: GateDeps): IssuingGate {
  let checkedAtMs = Number.NEGATIVE_INFINITY;
  let fault: FemtoError | null = null;
  let checking: Promise<void> | null = null;
  let restMs = 0;
  let restUntilMs = 0;

  const refresh = async (): Promise<void> => {
    const { now, issuingStopped } = await deps.store.conditions(deps.transactor.read);
    const backlogSeconds = await deps.ledgerBacklogSeconds();
    checkedAtMs = deps.clock.now().getTime();
    fault = stoppedBy(issuingStopped) ?? backlogged(backlogSeconds) ?? clockFault(deps.clockGuard, now);
  };

  return {
    async check() {
      const nowMs = deps.clock.now().getTime();
      // Each intent whose signature is in doubt costs a line on the CRL, so a token that fails is left alone for a moment.
      if (nowMs < restUntilMs) {
        throw new FemtoError('HSM_UNAVAILABLE', 'The signing token does not answer; ask again shortly.', {
          // Refusing here costs nothing, and a token that is back is noticed by whoever asks next: one second, always (H1).
          retryAfterSeconds: 1,
        });
      }
      // A clock that went back makes the cached answer worthless too.
      if (nowMs - checkedAtMs > CONDITIONS_MS || nowMs < checkedAtMs) {
        checking ??= refresh().finally(() => {
          checking = null;
        });
        await checking;
      }
      if (fault !== null) throw fault;
    },
    rowsMax: () => (restMs > 0 ? 1 : Number.POSITIVE_INFINITY),
    tokenFailed() {
      restMs = Math.min(REST_MS.longest, Math.max(REST_MS.first, restMs * 2));
      restUntilMs = deps.clock.now().getTime() + restMs;
    },
    tokenAnswered() {
      restMs = 0;
      restUntilMs = 0;
    },
  };
}

function stoppedBy(reason: string | null): FemtoError | null {
  if (reason === null) return null;
  return new FemtoError('RETRY_LATER', 'Issuing is stopped; its operator starts it again.', {
    facts: { reason },
    retryAfterSeconds: 300,
  });
}

function backlogged(seconds: number): FemtoError | null {
  if (seconds <= BACKLOG_SECONDS_MAX) return null;
  return new FemtoError('RETRY_LATER', 'The audit ledger is behind, so nothing is issued; start the rotation worker.', {
    facts: { backlogSeconds: Math.round(seconds) },
    retryAfterSeconds: 30,
  });
}

function clockFault(guard: ClockGuard, databaseNow: Date): FemtoError | null {
  try {
    guard.check(databaseNow);
    return null;
  } catch (thrown) {
    if (thrown instanceof FemtoError) return thrown;
    throw thrown;
  }
}
