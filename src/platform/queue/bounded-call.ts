import { FemtoError } from '../errors.js';

/** How long a store that did not answer is left alone. */
const REST_MS = 1_000;

/**
 * Puts a limit round calls to a store that may never answer: BullMQ's `add` waits for ever while Redis is away. After a
 * failure every call is refused at once for a moment, so that unanswered calls cannot pile up either.
 */
export class BoundedCalls {
  #restUntilMs = 0;

  constructor(
    private readonly limitMs: number,
    private readonly nowMs: () => number = () => performance.now(),
  ) {}

  /** @throws FemtoError RETRY_LATER */
  async run<T>(call: () => Promise<T>): Promise<T> {
    if (this.nowMs() < this.#restUntilMs) throw away();
    let timer: NodeJS.Timeout | undefined;
    const limit = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(away()), this.limitMs);
    });
    const answer = call();
    // Losing the race is no unhandled rejection: whoever waited has its answer, and the effect is harmless by its key.
    answer.catch(() => undefined);
    try {
      return await Promise.race([answer, limit]);
    } catch (thrown) {
      this.#restUntilMs = this.nowMs() + REST_MS;
      throw thrown instanceof FemtoError ? thrown : away(thrown);
    } finally {
      clearTimeout(timer);
    }
  }

  /** The store answers again. */
  recovered(): void {
    this.#restUntilMs = 0;
  }
}

function away(cause?: unknown): FemtoError {
  return new FemtoError('RETRY_LATER', 'The job queue does not answer; the work is recorded and will be picked up.', {
    ...(cause === undefined ? {} : { cause }),
    retryAfterSeconds: 5,
  });
}
