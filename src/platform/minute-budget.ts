/**
 * How often something may be written in full for one name in one minute; beyond it only counts are kept. Lives in the
 * process: losing it at a restart means a few more entries, nothing else.
 */
export class MinuteBudget {
  private minute = 0;
  private taken = new Map<string, number>();

  constructor(private readonly max: number) {}

  /** False when the name has had its share of this minute. */
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
