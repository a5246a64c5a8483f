/** So many a second, with a reserve; taking never waits. */
export class TokenBucket {
  private tokens: number;
  private filledAtMs: number;

  constructor(
    private readonly perSecond: number,
    private readonly burst: number,
    nowMs: number,
  ) {
    this.tokens = burst;
    this.filledAtMs = nowMs;
  }

  take(nowMs: number): boolean {
    // A clock that steps back adds nothing and takes nothing.
    const elapsedMs = Math.max(0, nowMs - this.filledAtMs);
    this.tokens = Math.min(this.burst, this.tokens + (elapsedMs * this.perSecond) / 1_000);
    this.filledAtMs = nowMs;
    if (this.tokens < 1) return false;
    this.tokens -= 1;
    return true;
  }
}
