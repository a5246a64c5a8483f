/**
 * A token bucket over leaf signatures, so that a stolen server cannot mint a fleet in a minute. Holds one second's worth.
 */
export class RateCap {
  private tokens: number;
  private filledAtMs: number;

  /** @param nowMs monotonic milliseconds: a stepped wall clock must not open or close the cap */
  constructor(
    private readonly perSecond: number,
    private readonly nowMs: () => number,
  ) {
    this.tokens = perSecond;
    this.filledAtMs = nowMs();
  }

  take(): boolean {
    const now = this.nowMs();
    this.tokens = Math.min(this.perSecond, this.tokens + ((now - this.filledAtMs) * this.perSecond) / 1_000);
    this.filledAtMs = now;
    if (this.tokens < 1) return false;
    this.tokens -= 1;
    return true;
  }
}
