import {
  type Job as BullJob,
  createPostgresBackend,
  type JobsOptions,
  type PgPool,
  Queue,
  runMigrations,
  Worker,
  withBackend,
} from 'bullmq';
import type { Cluster, Redis } from 'ioredis';
import { openPool, type Pool } from '../db/pool.pg.js';
import { FemtoError } from '../errors.js';
import { BoundedCalls } from './bounded-call.js';
import { checkRedis, connectRedis } from './check-redis.bullmq.js';
import {
  CALL_MS_MAX,
  JOB_BACKOFF_MS,
  JOB_BYTES_MAX,
  JOB_TRIES,
  type Job,
  type JobAttempt,
  type JobHandling,
  type JobQueue,
  type JobWorker,
  type QueueHealth,
} from './queue.js';
import { redisNodes } from './redis-url.js';

export interface QueueOptions {
  /** Redis, or some nodes of a Redis Cluster, where set; else `databaseUrl` and BullMQ's own tables in schema `bullmq`. */
  readonly redisUrl?: string;
  readonly databaseUrl: string;
  /** Name of the queue; default `femtopki`. */
  readonly name?: string;
  /** Faults of the connection, once a second at most: log them. */
  readonly onError: (error: Error) => void;
  /** A setting that weakens the queue without breaking it, e.g. Redis without append-only file. */
  readonly onWarning?: (sentence: string) => void;
  /** First pause between two tries of a job; default {@link JOB_BACKOFF_MS}. */
  readonly backoffMs?: number;
  /** How long a job may run without a sign of life before another worker takes it; default 30 s. */
  readonly lockMs?: number;
}

/**
 * Opens the queue and proves that its store is fit: Redis must not evict, and its append-only file is asked for.
 *
 * @throws FemtoError INTERNAL when the store is unfit or away at start
 */
export async function openQueue(options: QueueOptions): Promise<JobQueue> {
  const name = options.name ?? 'femtopki';
  const onError = throttled(options.onError);
  const store = await (options.redisUrl === undefined
    ? openPostgres(name, options, onError)
    : openRedis(name, options.redisUrl, options, onError));
  return new BullQueue(store, options.backoffMs ?? JOB_BACKOFF_MS, onError);
}

/** What the two back ends have in common of BullMQ's classes, whose types differ in their connection. */
interface Store {
  readonly backend: 'redis' | 'postgres';
  readonly queue: Pick<Queue, 'add' | 'addBulk' | 'getJobCounts' | 'obliterate' | 'close'>;
  ping(): Promise<string>;
  worker(run: (job: BullJob) => Promise<void>, concurrency: number): Pick<Worker, 'on' | 'close'>;
  /** Ends connections at once, answered or not. */
  drop(): Promise<void>;
}

const WORKER_SETTINGS = {
  // A job that kills its process is stalled each time; it must reach its tries' end like any other poison.
  maxStalledCount: JOB_TRIES,
  stalledInterval: 5_000,
};

class BullQueue implements JobQueue {
  readonly backend: Store['backend'];
  readonly #calls = new BoundedCalls(CALL_MS_MAX);

  constructor(
    private readonly store: Store,
    private readonly backoffMs: number,
    private readonly onError: (error: Error) => void,
  ) {
    this.backend = store.backend;
  }

  async add(job: Job): Promise<void> {
    const options = jobOptions(job, this.backoffMs);
    await this.#calls.run(() => this.store.queue.add(job.name, job.data, options));
  }

  async addBulk(jobs: readonly Job[]): Promise<void> {
    if (jobs.length === 0) return;
    const bulk = jobs.map((job) => ({ name: job.name, data: job.data, opts: jobOptions(job, this.backoffMs) }));
    await this.#calls.run(() => this.store.queue.addBulk(bulk));
  }

  process(handling: JobHandling, { concurrency = 4 }: { concurrency?: number } = {}): JobWorker {
    const worker = this.store.worker((job) => this.#attempt(handling, job), concurrency);
    worker.on('error', this.onError);
    worker.on('failed', (job, error) => {
      // Out of tries by killing its processes: BullMQ fails it without asking the handler.
      if (job && /stalled more than/.test(error.message)) {
        handling.dead(attemptOf(job, job.attemptsStarted), error).catch(this.onError);
      }
    });
    return { close: (graceMs = 20_000) => within(graceMs, worker.close(), async () => stopTimers(worker)) };
  }

  async #attempt(handling: JobHandling, job: BullJob): Promise<void> {
    const attempt = attemptOf(job, job.attemptsMade + 1);
    try {
      await handling.run(attempt);
    } catch (thrown) {
      const error = thrown instanceof Error ? thrown : new Error(String(thrown));
      if (attempt.attempt >= JOB_TRIES) await handling.dead(attempt, error);
      throw error;
    }
  }

  async counts() {
    const counts = await this.#calls.run(() => this.store.queue.getJobCounts('waiting', 'active', 'delayed', 'failed'));
    const { waiting = 0, active = 0, delayed = 0, failed = 0 } = counts;
    return { waiting, active, delayed, failed };
  }

  async health(): Promise<QueueHealth> {
    try {
      return { ok: true, detail: await this.#calls.run(() => this.store.ping()) };
    } catch (thrown) {
      return { ok: false, detail: thrown instanceof Error ? thrown.message : String(thrown) };
    }
  }

  async obliterate(): Promise<void> {
    await this.store.queue.obliterate({ force: true });
  }

  async close(): Promise<void> {
    await within(2_000, this.store.queue.close(), async () => undefined);
    await this.store.drop();
  }
}

/**
 * A worker whose store is away never gets to the end of its own close: the timers that would renew its locks and look
 * for stalled jobs go on for ever. Its jobs are then run again elsewhere, which is what the grace period allows.
 */
function stopTimers(worker: object): void {
  const inner = worker as { lockManager?: { close(): Promise<void> | void }; stalledCheckStopper?: () => void };
  void inner.lockManager?.close();
  inner.stalledCheckStopper?.();
}

function attemptOf(job: BullJob, attempt: number): JobAttempt {
  return { name: job.name, id: job.id ?? '', data: job.data as unknown, attempt };
}

function jobOptions(job: Job, backoffMs: number): JobsOptions {
  if (job.id === '' || job.id.includes(':')) {
    throw new FemtoError('INTERNAL', `The job id "${job.id.slice(0, 80)}" is empty or has a colon; use its row's key.`);
  }
  if (JSON.stringify(job.data).length > JOB_BYTES_MAX) {
    throw new FemtoError('INTERNAL', `The job ${job.id} carries more than ${JOB_BYTES_MAX} bytes; carry ids only.`);
  }
  return {
    jobId: job.id,
    delay: job.delayMs ?? 0,
    attempts: JOB_TRIES,
    backoff: { type: 'exponential', delay: backoffMs, jitter: 0.5 },
    // Finished jobs are forgotten: the row says what was done, and the same key may come again.
    removeOnComplete: true,
    removeOnFail: true,
  };
}

async function openPostgres(name: string, options: QueueOptions, onError: (error: Error) => void): Promise<Store> {
  const { Queue: PgQueue, Worker: PgWorker } = withBackend(createPostgresBackend);
  const pools: Pool[] = [];
  const pool = (applicationName: string, connectionsMax: number): Pool => {
    const opened = openPool(withSearchPath(options.databaseUrl), {
      applicationName,
      connectionsMax,
      onIdleError: onError,
    });
    pools.push(opened);
    return opened;
  };
  const calls = pool('queue', 4);
  const client = await calls.connect();
  try {
    await runMigrations(client);
  } finally {
    client.release();
  }
  const queue = new PgQueue(name, { connection: calls as unknown as PgPool });
  queue.on('error', onError);
  await queue.waitUntilReady();
  return {
    backend: 'postgres',
    queue,
    ping: async () => {
      await calls.query('SELECT 1');
      return 'PostgreSQL answers';
    },
    worker: (run, concurrency) =>
      new PgWorker(name, run as never, {
        connection: pool('queue-worker', concurrency + 4) as unknown as PgPool,
        concurrency,
        lockDuration: options.lockMs ?? 30_000,
        ...WORKER_SETTINGS,
      }) as unknown as Worker,
    drop: async () => {
      for (const opened of pools) await opened.end();
    },
  } as Store;
}

async function openRedis(
  name: string,
  redisUrl: string,
  options: QueueOptions,
  onError: (error: Error) => void,
): Promise<Store> {
  const urls = redisNodes(redisUrl);
  const { isCluster, warnings } = await checkRedis(urls);
  for (const sentence of warnings) options.onWarning?.(sentence);
  const connections: (Redis | Cluster)[] = [];
  let dropped = false;
  const connect = (): Redis | Cluster => {
    const connection = connectRedis(urls, isCluster, () => dropped);
    connection.on('error', onError);
    connections.push(connection);
    // A worker's blocking connection is a copy that BullMQ keeps for itself: without Redis it would try again for ever.
    const duplicate = connection.duplicate.bind(connection) as (...args: unknown[]) => Redis | Cluster;
    connection.duplicate = ((...args: unknown[]) => {
      const copy = duplicate(...args);
      connections.push(copy);
      return copy;
    }) as typeof connection.duplicate;
    return connection;
  };
  const calls = connect();
  // A script's keys must lie in one slot of a cluster: the braces name what is hashed.
  const prefix = isCluster ? `{${name}}` : 'bull';
  const queue = new Queue(name, { connection: calls, prefix });
  queue.on('error', onError);
  return {
    backend: 'redis',
    queue,
    ping: async () => `Redis answers ${await calls.ping()}`,
    worker: (run, concurrency) =>
      new Worker(name, run as never, {
        connection: connect(),
        prefix,
        concurrency,
        lockDuration: options.lockMs ?? 30_000,
        ...WORKER_SETTINGS,
      }),
    drop: async () => {
      dropped = true;
      for (const connection of connections) connection.disconnect();
    },
  };
}

/** BullMQ's SQL functions name their tables without a schema. */
function withSearchPath(databaseUrl: string): string {
  return `${databaseUrl}${databaseUrl.includes('?') ? '&' : '?'}options=${encodeURIComponent('-c search_path=bullmq')}`;
}

async function within(limitMs: number, work: Promise<unknown>, otherwise: () => Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<'late'>((resolve) => {
    timer = setTimeout(() => resolve('late'), limitMs);
  });
  work.catch(() => undefined);
  const first = await Promise.race([work.then(() => 'done' as const), late]);
  clearTimeout(timer);
  if (first === 'late') await Promise.race([otherwise(), new Promise((resolve) => setTimeout(resolve, 1_000))]);
}

/** A store that is away is one line a second, not thousands. */
function throttled(report: (error: Error) => void): (error: Error) => void {
  let nextMs = 0;
  return (error) => {
    if (performance.now() < nextMs) return;
    nextMs = performance.now() + 1_000;
    report(error);
  };
}
