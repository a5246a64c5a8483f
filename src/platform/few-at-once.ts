/** Lets a few run, a few more wait, and turns the rest away: what is slow must not pile up behind callers who gave up. */
export class FewAtOnce {
  #running = 0;
  readonly #waiting: (() => void)[] = [];

  /**
   * @param runningMax  at once
   * @param waitingMax  in line behind them, first come first served
   */
  constructor(
    private readonly runningMax: number,
    private readonly waitingMax: number,
  ) {}

  /**
   * @param full  makes the error for a caller who finds the line full
   * @throws what `full` makes, and what `work` throws
   */
  async run<T>(work: () => Promise<T>, full: () => Error): Promise<T> {
    if (this.#running >= this.runningMax) {
      if (this.#waiting.length >= this.waitingMax) throw full();
      // The place is handed over, never freed in between: nobody slips past the line.
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    } else {
      this.#running += 1;
    }
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#running -= 1;
      else next();
    }
  }
}
