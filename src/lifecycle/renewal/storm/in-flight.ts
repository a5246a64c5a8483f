/**
 * How many requests may be on their way to the token at once. A token that answers in time lets the number grow by one with
 * each answer; one that takes too long halves it, so that a slow token has a short line in front of it and whoever is next
 * is still chosen by urgency (fault H7).
 */
export class InFlight {
  private limit = LIMIT_START;
  private readonly startedAtMs = new Set<{ readonly atMs: number }>();
  private cutAtMs = 0;

  /** How many more may go. */
  room(nowMs: number): number {
    // The oldest is first: a token that does not answer at all is slow, too.
    const [oldest] = this.startedAtMs;
    if (oldest !== undefined && nowMs - oldest.atMs > SLOW_MS) this.cut(nowMs);
    return Math.max(0, this.limit - this.startedAtMs.size);
  }

  /** @returns to be called when the request has ended */
  begin(nowMs: number): (endedAtMs: number) => void {
    const started = { atMs: nowMs };
    this.startedAtMs.add(started);
    return (endedAtMs) => {
      this.startedAtMs.delete(started);
      const tookMs = endedAtMs - started.atMs;
      if (tookMs > SLOW_MS) this.cut(endedAtMs);
      else if (tookMs < QUICK_MS) this.limit = Math.min(LIMIT_MAX, this.limit + 1);
    };
  }

  /** Once in a while only: those that are under way were all let in under the old limit. */
  private cut(nowMs: number): void {
    if (nowMs - this.cutAtMs < SLOW_MS) return;
    this.cutAtMs = nowMs;
    this.limit = Math.max(LIMIT_MIN, Math.floor(this.limit / 2));
  }
}

const LIMIT_START = 256;
const LIMIT_MAX = 512;
const LIMIT_MIN = 4;
const SLOW_MS = 2_000;
const QUICK_MS = 1_000;
