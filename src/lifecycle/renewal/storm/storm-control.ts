import type { Clock, RandomBytes } from '../../../platform/clock.js';
import type { Transactor } from '../../../platform/db/transaction.js';
import { FemtoError } from '../../../platform/errors.js';
import type { Waiter } from './fair-queue.js';
import type { Lane, RateShare } from './rate-share.js';
import { StormGate, type StormSettings, type TurnedAway } from './storm-gate.js';

export interface StormDeps {
  readonly transactor: Pick<Transactor, 'read'>;
  readonly rates: RateShare;
  readonly clock: Clock;
  readonly random: RandomBytes;
  /** A waiter's region, by its line; asked only where there is a queue. */
  readonly regionOf: (lineId: number) => Promise<string>;
  /** The common rate cannot be counted: nobody is admitted meanwhile. */
  readonly onFault: (error: unknown) => void;
}

export type Arrival = Omit<Waiter, 'region' | 'arrivedAtMs'> & { readonly lineId: number | null };

export interface StormControl {
  /**
   * Does the work when it is this unit's turn, which on an ordinary day is at once.
   *
   * @throws FemtoError RETRY_LATER, `facts.asks` absent: the unit was turned away, and comes again in `retryAfterSeconds`
   */
  inTurn<T>(arrival: Arrival, work: () => Promise<T>): Promise<T>;
  /** Requests that wait now, for metrics. */
  readonly waiting: number;
  /** Nobody is admitted any more; whoever waits is told to come again. */
  close(): void;
}

interface Waiting extends Waiter {
  readonly admitted: (end: (endedAtMs: number) => void) => void;
  readonly turnedAway: (error: FemtoError) => void;
}

/** A gate in a server: its clock, its timer, and its part of the rate that all servers share through PostgreSQL. */
export function makeStormControl(deps: StormDeps, lane: Lane, settings: StormSettings): StormControl {
  const gate = new StormGate<Waiting>(settings, () => deps.random(4).readUInt32BE(0) / 2 ** 32);
  let timer: NodeJS.Timeout | undefined;
  let isAsking = false;
  let isClosed = false;
  let askAgainAtMs = 0;
  const nowMs = (): number => deps.clock.now().getTime();

  const pump = (): void => {
    for (const { waiter, end } of gate.admit(nowMs())) waiter.admitted(end);
    for (const turned of gate.turnAwayLate(nowMs())) tell(turned);
    if (gate.waiting > 0) void ask();
    if (gate.waiting > 0) timer ??= setTimeout(tick, TICK_MS);
  };
  const tick = (): void => {
    timer = undefined;
    pump();
  };
  const ask = async (): Promise<void> => {
    const count = gate.wanted(nowMs());
    if (count === 0 || isAsking || isClosed || nowMs() < askAgainAtMs) return;
    isAsking = true;
    try {
      gate.granted(
        await deps.rates.take(deps.transactor.read, { lane, count, perSecond: settings.perSecond }),
        nowMs(),
      );
    } catch (error) {
      askAgainAtMs = nowMs() + FAULT_PAUSE_MS;
      deps.onFault(error);
    } finally {
      isAsking = false;
    }
    for (const { waiter, end } of gate.admit(nowMs())) waiter.admitted(end);
  };
  const turn = async (arrival: Arrival): Promise<(endedAtMs: number) => void> => {
    const atOnce = gate.enterAtOnce({ region: '', sources: arrival.sources }, nowMs());
    if (atOnce !== null) return atOnce;
    const region = arrival.lineId === null ? '' : await deps.regionOf(arrival.lineId);
    return new Promise((resolve, reject) => {
      const waiter = { ...arrival, region, arrivedAtMs: nowMs(), admitted: resolve, turnedAway: reject };
      if (isClosed) return reject(comeAgain(CLOSING_SECONDS));
      for (const turned of gate.enter(waiter, nowMs())) tell(turned);
      pump();
    });
  };
  return {
    inTurn: async (arrival, work) => {
      const end = await turn(arrival);
      try {
        return await work();
      } finally {
        end(nowMs());
        if (gate.waiting > 0) pump();
      }
    },
    get waiting() {
      return gate.waiting;
    },
    close: () => {
      isClosed = true;
      clearTimeout(timer);
      for (const { turnedAway } of gate.drain()) turnedAway(comeAgain(CLOSING_SECONDS));
    },
  };
}

function tell({ waiter, retryAfterSeconds }: TurnedAway<Waiting>): void {
  waiter.turnedAway(comeAgain(retryAfterSeconds));
}

function comeAgain(retryAfterSeconds: number): FemtoError {
  return new FemtoError(
    'RETRY_LATER',
    'Others whose certificates end sooner come first; ask again after Retry-After.',
    {
      retryAfterSeconds,
    },
  );
}

/** How often a queue is looked after while somebody waits. */
const TICK_MS = 50;
const FAULT_PAUSE_MS = 1_000;
/** The process ends: another one answers by then. */
const CLOSING_SECONDS = 5;
