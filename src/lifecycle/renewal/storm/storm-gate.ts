import { Appointments } from './appointments.js';
import { FairQueue, type Waiter } from './fair-queue.js';
import { InFlight } from './in-flight.js';

export interface StormSettings {
  /** Admissions a second over all servers; what this one may use of them is granted to it. */
  readonly perSecond: number;
  /** Part of the rate, of the waiting places and of the calendar that one address or site may use while others wait. */
  readonly sourceShare: number;
  /** Requests that wait at once; default 512. */
  readonly placesMax?: number;
  /** How long one waits before it is told to come again, milliseconds; default 2,000. */
  readonly patienceMs?: number;
}

export interface TurnedAway<W> {
  readonly waiter: W;
  /** Jitter included. */
  readonly retryAfterSeconds: number;
}

/**
 * Who may go on, and when the others come again: a rate, a limit of requests under way, a short queue by urgency, and a
 * calendar. It has no timer, no clock and no I/O; the caller says what time it is, so a simulation of hours runs the same code as
 * a server. Memory: the places of the queue, one calendar, and counters of who was served in the last seconds.
 */
export class StormGate<W extends Waiter> {
  private readonly queue: FairQueue<W>;
  private readonly appointments = new Appointments();
  private readonly inFlight = new InFlight();
  private readonly patienceMs: number;
  private tokens = 0;
  private tokensEndAtMs = 0;
  /** What this server really admits a second while somebody waits: its part of the rate, or what the token can do. */
  private pace: number;
  private paceCount = 0;
  private paceFromMs: number | null = null;

  constructor(
    private readonly settings: StormSettings,
    /** 0 to 1. */
    private readonly random: () => number,
  ) {
    this.queue = new FairQueue(settings.placesMax ?? PLACES_MAX, settings.sourceShare);
    this.patienceMs = settings.patienceMs ?? PATIENCE_MS;
    this.pace = settings.perSecond;
  }

  get waiting(): number {
    return this.queue.size;
  }

  /** Without waiting, where nobody else waits. @returns null, or what to call when the request has ended */
  enterAtOnce(who: Pick<Waiter, 'region' | 'sources'>, nowMs: number): ((endedAtMs: number) => void) | null {
    if (this.queue.size > 0 || !this.mayAdmit(nowMs)) return null;
    this.tokens -= 1;
    this.queue.count(who, nowMs);
    return this.inFlight.begin(nowMs);
  }

  /** Takes a place; one unit has one. @returns who lost theirs for it, this one itself included */
  enter(waiter: W, nowMs: number): TurnedAway<W>[] {
    if (this.queue.has(waiter.unitId)) return [{ waiter, retryAfterSeconds: TWICE_SECONDS }];
    if (this.queue.size === 0) {
      this.paceFromMs = nowMs;
      this.paceCount = 0;
    }
    const displaced = this.queue.add(waiter);
    return displaced === null ? [] : [this.turnAway(displaced, nowMs)];
  }

  /** Whoever may go now, in order, each with what to call when it has ended. */
  admit(nowMs: number): { readonly waiter: W; readonly end: (endedAtMs: number) => void }[] {
    const admitted: { waiter: W; end: (endedAtMs: number) => void }[] = [];
    while (this.queue.size > 0 && this.mayAdmit(nowMs)) {
      const waiter = this.queue.next(nowMs);
      if (waiter === null) break;
      this.tokens -= 1;
      this.paceCount += 1;
      admitted.push({ waiter, end: this.inFlight.begin(nowMs) });
    }
    this.measurePace(nowMs);
    return admitted;
  }

  /** Whoever has waited long enough. */
  turnAwayLate(nowMs: number): TurnedAway<W>[] {
    return this.queue.takeOlderThan(nowMs - this.patienceMs).map((waiter) => this.turnAway(waiter, nowMs));
  }

  /** Everybody, with no new moment: the process ends. */
  drain(): W[] {
    return this.queue.takeOlderThan(Number.POSITIVE_INFINITY);
  }

  /** How much of the common rate to ask for now; 0 while there is some left, or no room in front of the token. */
  wanted(nowMs: number): number {
    if (this.tokensAt(nowMs) > 0) return 0;
    const ahead = Math.max(this.queue.size, Math.ceil(this.settings.perSecond * AHEAD_SECONDS));
    return Math.min(ahead, this.inFlight.room(nowMs));
  }

  /** Part of the common rate: to be used soon, or it lapses, so that an idle server keeps nothing from a busy one. */
  granted(count: number, nowMs: number): void {
    this.tokens = this.tokensAt(nowMs) + count;
    this.tokensEndAtMs = nowMs + TOKENS_LAST_MS;
  }

  private mayAdmit(nowMs: number): boolean {
    return this.tokensAt(nowMs) >= 1 && this.inFlight.room(nowMs) > 0;
  }

  private tokensAt(nowMs: number): number {
    if (nowMs >= this.tokensEndAtMs) this.tokens = 0;
    return this.tokens;
  }

  private turnAway(waiter: W, nowMs: number): TurnedAway<W> {
    const retryAfterSeconds = this.appointments.book({
      tier: waiter.urgency.tier,
      source: waiter.sources[0] ?? '',
      nowMs,
      perSecond: this.pace,
      sourceShare: this.settings.sourceShare,
      random: this.random(),
    });
    return { waiter, retryAfterSeconds };
  }

  private measurePace(nowMs: number): void {
    if (this.paceFromMs === null || nowMs - this.paceFromMs < PACE_MS) return;
    // Only time in which somebody waited throughout says what can be done.
    if (this.queue.size > 0) this.pace = (this.pace + (this.paceCount * 1_000) / (nowMs - this.paceFromMs)) / 2;
    this.paceFromMs = nowMs;
    this.paceCount = 0;
  }
}

const PLACES_MAX = 512;
const PATIENCE_MS = 2_000;
/** The unit’s own other request is waiting. */
const TWICE_SECONDS = 2;
const TOKENS_LAST_MS = 1_000;
/** Asked for ahead, so that an ordinary day’s requests wait for no round trip. */
const AHEAD_SECONDS = 0.1;
const PACE_MS = 5_000;
