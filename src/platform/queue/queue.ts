/**
 * The queue is a bell, never the record: what must happen stands in rows, jobs only say "look at these rows now". It may
 * be emptied at any time; the scans ring again. So a job carries ids, its own id is the natural key of its work, and a
 * handler that runs twice has one effect.
 */
export interface Job {
  /** Key in the job catalogue. */
  readonly name: string;
  /** Natural key, e.g. `renewal-17`: adding it while it waits or runs changes nothing. No `:`. */
  readonly id: string;
  /** Ids and plain values; at most {@link JOB_BYTES_MAX} as JSON. */
  readonly data: Readonly<Record<string, unknown>>;
  /** Not before so many milliseconds; default 0. */
  readonly delayMs?: number;
}

export interface JobAttempt {
  readonly name: string;
  readonly id: string;
  /** As it came out of the store: judge it. */
  readonly data: unknown;
  /** From 1. */
  readonly attempt: number;
}

/** Who does the work. `run` throws to be tried again; `dead` is told once when the tries are spent. */
export interface JobHandling {
  run(job: JobAttempt): Promise<void>;
  /** Writes the dead letter. When it throws, the job is lost from the queue and the scan makes it again from its row. */
  dead(job: JobAttempt, error: Error): Promise<void>;
}

export interface JobQueue {
  readonly backend: 'redis' | 'postgres';
  /**
   * Resolves when the store has it. Bounded: a caller inside a request is never held for longer than
   * {@link CALL_MS_MAX}, whatever the store does.
   *
   * @throws FemtoError RETRY_LATER when the store is away: the scan will find the row
   */
  add(job: Job): Promise<void>;
  /** As {@link add}, one call for many. */
  addBulk(jobs: readonly Job[]): Promise<void>;
  /** Starts working jobs off; `concurrency` at once, default 4. */
  process(handling: JobHandling, options?: { concurrency?: number }): JobWorker;
  counts(): Promise<JobCounts>;
  /** Never throws, bounded as {@link add}. */
  health(): Promise<QueueHealth>;
  /** Removes every job. Tests only. */
  obliterate(): Promise<void>;
  close(): Promise<void>;
}

export interface JobWorker {
  /** Takes no more jobs, waits for those under way at most `graceMs` (default 20 s): the rest is run again elsewhere. */
  close(graceMs?: number): Promise<void>;
}

export interface JobCounts {
  readonly waiting: number;
  readonly active: number;
  readonly delayed: number;
  readonly failed: number;
}

export interface QueueHealth {
  readonly ok: boolean;
  /** For probes and doctor: what is wrong, or which store answers. */
  readonly detail: string;
}

export const JOB_TRIES = 5;
/** First pause; doubles with each try, half of it random. */
export const JOB_BACKOFF_MS = 1_000;
export const JOB_BYTES_MAX = 64 * 1024;
/** Unit ids in one job: enough to be cheap, few enough to be repeated. */
export const JOB_UNITS_MAX = 500;
export const CALL_MS_MAX = 500;
