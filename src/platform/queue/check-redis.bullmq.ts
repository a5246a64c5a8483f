import { Cluster, Redis, type RedisOptions } from 'ioredis';
import { FemtoError } from '../errors.js';

const START_MS_MAX = 5_000;
const RETRY_MS_MAX = 1_000;

type ConnectionOptions = Omit<RedisOptions, 'replyMapping'>;

/**
 * Options for a URL `redis://`, `rediss://` or `unix:///path/to/socket`.
 * @param isDropped  true once nobody wants the connection: then it is not made again, whoever holds a copy of it
 */
export function redisConnection(redisUrl: string, isDropped: () => boolean): ConnectionOptions {
  const url = new URL(redisUrl);
  const common: ConnectionOptions = {
    // BullMQ's workers wait on a blocking command through any outage; its producers are bounded by us.
    maxRetriesPerRequest: null,
    retryStrategy: (times) => (isDropped() ? null : Math.min(50 * times, RETRY_MS_MAX)),
  };
  if (url.protocol === 'unix:') return { ...common, path: decodeURIComponent(url.pathname) };
  const db = url.pathname.length > 1 ? Number(url.pathname.slice(1)) : 0;
  return {
    ...common,
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: url.port === '' ? 6379 : Number(url.port),
    db,
    ...(url.username !== '' && { username: decodeURIComponent(url.username) }),
    ...(url.password !== '' && { password: decodeURIComponent(url.password) }),
    ...(url.protocol === 'rediss:' && { tls: {} }),
  };
}

/** What `checkRedis` found. */
export interface RedisFacts {
  readonly isCluster: boolean;
  /** Each with the next step. */
  readonly warnings: readonly string[];
}

/**
 * A connection to the one Redis, or to the cluster of which the URLs name some nodes.
 * @param isDropped  as for {@link redisConnection}
 */
export function connectRedis(urls: readonly string[], isCluster: boolean, isDropped: () => boolean): Redis | Cluster {
  const [first = ''] = urls;
  const { host: _host, port: _port, db: _db, ...redisOptions } = redisConnection(first, isDropped);
  if (!isCluster) return new Redis(redisConnection(first, isDropped));
  return new Cluster(
    urls.map((url) => {
      const { host = '', port = 0 } = redisConnection(url, isDropped);
      return { host, port };
    }),
    {
      redisOptions,
      clusterRetryStrategy: (times) => (isDropped() ? null : Math.min(50 * times, RETRY_MS_MAX)),
    },
  );
}

/**
 * Is this Redis fit for a queue? One that evicts would lose jobs without an error: in a cluster, any of its masters. Without
 * its append-only file a restart empties it, which the scans make good within a minute: so that is a warning.
 *
 * @throws FemtoError INTERNAL when it evicts or when several URLs name no cluster, RETRY_LATER when none answers in 5 s
 */
export async function checkRedis(urls: readonly string[]): Promise<RedisFacts> {
  const first = await firstToAnswer(urls);
  const isCluster = /^cluster_enabled:1/m.test(first);
  if (!isCluster && urls.length > 1) {
    throw new FemtoError(
      'INTERNAL',
      'REDIS_URL names several nodes, but the first that answers is no cluster; name one Redis, or the nodes of a cluster.',
    );
  }
  const infos = isCluster ? await infosOfMasters(urls) : [first];
  const warnings = new Set(infos.flatMap(judge));
  return { isCluster, warnings: [...warnings] };
}

async function firstToAnswer(urls: readonly string[]): Promise<string> {
  const connections = urls.map((url) => new Redis({ ...redisConnection(url, () => true), retryStrategy: () => null }));
  for (const connection of connections) connection.on('error', () => undefined);
  try {
    return await answer(Promise.any(connections.map((connection) => connection.info())));
  } finally {
    for (const connection of connections) connection.disconnect();
  }
}

async function infosOfMasters(urls: readonly string[]): Promise<string[]> {
  const cluster = connectRedis(urls, true, () => false) as Cluster;
  cluster.on('error', () => undefined);
  try {
    await answer(cluster.ping());
    return await answer(Promise.all(cluster.nodes('master').map((node) => node.info())));
  } finally {
    cluster.disconnect();
  }
}

function judge(info: string): string[] {
  const policy = /^maxmemory_policy:(\S+)/m.exec(info)?.[1];
  if (policy !== 'noeviction') {
    throw new FemtoError(
      'INTERNAL',
      `Redis evicts keys (maxmemory-policy ${policy ?? 'unknown'}) and would lose jobs silently; set "maxmemory-policy noeviction".`,
    );
  }
  const aof = /^aof_enabled:(\d)/m.exec(info)?.[1];
  return aof === '1'
    ? []
    : [
        'Redis keeps no append-only file: a restart empties the queues. Set "appendonly yes"; until then scans refill them.',
      ];
}

async function answer<T>(question: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(away()), START_MS_MAX);
  });
  question.catch(() => undefined);
  try {
    return await Promise.race([question, limit]);
  } catch (thrown) {
    throw thrown instanceof FemtoError ? thrown : away(thrown);
  } finally {
    clearTimeout(timer);
  }
}

function away(cause?: unknown): FemtoError {
  return new FemtoError('RETRY_LATER', 'Redis does not answer; check REDIS_URL and that it runs.', {
    ...(cause !== undefined && { cause }),
  });
}
