/**
 * Many callers want one row each of the same thing within a millisecond: they share one run over all of them.
 *
 * A run begins after every call in it was made, so nobody is answered from a look that is older than his question. A lone
 * call waits for nothing but the end of the event loop's turn; what comes while a run is under way goes with the next.
 */
export interface GatherOptions {
  /** Calls in one run; default 128. */
  readonly rowsMax?: number;
  /** Runs under way at once, where one takes longer than calls wait; default 4. */
  readonly runsMax?: number;
  /**
   * How long calls wait for a run that is under way before they go beside it, milliseconds; default 20. On a busy machine
   * every run is slow, and going beside it would only make it slower: they wait a few times what runs took of late.
   */
  readonly patienceMs?: number;
  /** May one row have spoilt the run for its neighbours? Then each is run alone; otherwise all of them fail. Default: no. */
  readonly isRowFault?: (thrown: unknown) => boolean;
}

/** @param runSet  answers in the order of its inputs */
export function gather<Input, Output>(
  runSet: (inputs: readonly Input[]) => Promise<readonly Output[]>,
  { rowsMax = 128, runsMax = 4, patienceMs = 20, isRowFault = () => false }: GatherOptions = {},
): (input: Input) => Promise<Output> {
  let waiting: Waiting<Input, Output>[] = [];
  let running = 0;
  let scheduled = false;
  let timer: NodeJS.Timeout | undefined;
  let usualMs = 0;

  const schedule = (): void => {
    if (scheduled || waiting.length === 0) return;
    if (running === 0 || (waiting.length >= rowsMax && running < runsMax)) {
      scheduled = true;
      setImmediate(leave);
    } else if (running < runsMax) {
      timer ??= setTimeout(
        leave,
        Math.min(Math.max(patienceMs, usualMs * SLOW_TIMES), patienceMs * PATIENCE_TIMES_MAX),
      );
    }
  };
  const leave = (): void => {
    scheduled = false;
    clearTimeout(timer);
    timer = undefined;
    const rows = waiting.slice(0, rowsMax);
    waiting = waiting.slice(rowsMax);
    if (rows.length === 0) return;
    running += 1;
    const startMs = performance.now();
    void settle(rows, runSet, isRowFault).finally(() => {
      running -= 1;
      usualMs += (performance.now() - startMs - usualMs) / USUAL_RUNS;
      schedule();
    });
    schedule();
  };
  return (input) =>
    new Promise((resolve, reject) => {
      waiting.push({ input, resolve, reject });
      schedule();
    });
}

/** A run is held up, and not only slow, when it takes so many times what the last few took. */
const SLOW_TIMES = 4;
const USUAL_RUNS = 8;
const PATIENCE_TIMES_MAX = 20;

interface Waiting<Input, Output> {
  readonly input: Input;
  readonly resolve: (output: Output) => void;
  readonly reject: (thrown: unknown) => void;
}

async function settle<Input, Output>(
  rows: readonly Waiting<Input, Output>[],
  runSet: (inputs: readonly Input[]) => Promise<readonly Output[]>,
  isRowFault: (thrown: unknown) => boolean,
): Promise<void> {
  try {
    const outputs = await runSet(rows.map(({ input }) => input));
    if (outputs.length !== rows.length) throw new Error('a gathered run gave another number of answers than calls');
    for (const [index, row] of rows.entries()) row.resolve(outputs[index] as Output);
  } catch (thrown) {
    if (rows.length > 1 && isRowFault(thrown)) {
      for (const row of rows) await settle([row], runSet, isRowFault);
    } else for (const row of rows) row.reject(thrown);
  }
}
