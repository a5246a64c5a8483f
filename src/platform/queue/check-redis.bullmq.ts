import type { Redis, RedisOptions } from 'ioredis';
import { FemtoError } from '../errors.js';

const START_MS_MAX = 5_000;

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
    retryStrategy: (times) => (isDropped() ? null : Math.min(50 * times, 1_000)),
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

/**
 * Is this Redis fit for a queue? One that evicts would lose jobs without an error. Without its append-only file a restart
 * empties it, which the scans make good within a minute: so that is a warning.
 *
 * @returns warnings, each with the next step
 * @throws FemtoError INTERNAL when it evicts or does not answer in 5 s
 */
export async function checkRedis(redis: Redis): Promise<string[]> {
  const info = await answer(redis.info());
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

async function answer(question: Promise<string>): Promise<string> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(
      () => reject(new FemtoError('INTERNAL', 'Redis does not answer; check REDIS_URL and that it runs.')),
      START_MS_MAX,
    );
  });
  question.catch(() => undefined);
  try {
    return await Promise.race([question, limit]);
  } finally {
    clearTimeout(timer);
  }
}
