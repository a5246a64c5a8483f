import { setTimeout as sleep } from 'node:timers/promises';
import type { Lease, Leases } from '../platform/db/lease.js';

export interface Loop {
  readonly name: string;
  /** Milliseconds since the last run that ended well; null before the first. For probes and alarms. */
  idleMs(): number | null;
  /** Waits for the run under way. */
  stop(): Promise<void>;
}

export interface LoopOptions {
  readonly name: string;
  /** Pause between the end of one run and the start of the next. */
  readonly everyMs: number;
  /** One run; true = there is more to do, so run again at once. A throw is reported and the loop goes on. */
  readonly run: () => Promise<boolean | undefined>;
  readonly onError: (loop: string, error: unknown) => void;
}

/** Longest pause after repeated failures: short enough that recovery needs nobody. */
const BACKOFF_MS_MAX = 5_000;

/** Runs `run` again and again, never twice at once. */
export function startLoop(options: LoopOptions): Loop {
  const end = new AbortController();
  let lastMs: number | null = null;
  const pause = (milliseconds: number): Promise<void> =>
    sleep(milliseconds, undefined, { signal: end.signal }).catch(() => undefined);
  const rounds = async (): Promise<void> => {
    let failures = 0;
    while (!end.signal.aborted) {
      try {
        const more = await options.run();
        lastMs = performance.now();
        failures = 0;
        await pause(more === true ? 0 : options.everyMs);
      } catch (error) {
        failures += 1;
        options.onError(options.name, error);
        await pause(Math.max(options.everyMs, Math.min(100 * 2 ** failures, BACKOFF_MS_MAX)));
      }
    }
  };
  const running = rounds();
  return {
    name: options.name,
    idleMs: () => (lastMs === null ? null : performance.now() - lastMs),
    stop: async () => {
      end.abort();
      await running;
    },
  };
}

export interface LeasedLoopOptions extends Omit<LoopOptions, 'run'> {
  readonly leases: Leases;
  readonly holder: string;
  /** A dead holder is followed after so long; default 10 s. */
  readonly leaseMs?: number;
  /** Lease name; default the loop's. */
  readonly lease?: string;
  readonly run: (lease: Lease) => Promise<boolean | undefined>;
}

/** A loop of which one process at a time does the work; the others stand by and take over. */
export function startLeasedLoop(options: LeasedLoopOptions): Loop {
  const { leases, holder, leaseMs = 10_000, lease: name = options.name } = options;
  let held: Lease | null = null;
  const loop = startLoop({
    ...options,
    run: async () => {
      // Acquiring again renews; after a loss it is refused, and we stand by.
      held = await leases.acquire(name, holder, leaseMs);
      return held === null ? undefined : options.run(held);
    },
  });
  return {
    ...loop,
    stop: async () => {
      await loop.stop();
      // The successor need not wait; when the database is away the lease runs out by itself.
      if (held !== null) await leases.release(held).catch((error: unknown) => options.onError(options.name, error));
    },
  };
}
