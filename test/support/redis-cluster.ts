/** A real Redis Cluster for one test file: three masters on loopback, append-only files on, no eviction. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { run } from './command.js';
import { freePorts } from './ports.js';
import { launchRedis } from './redis.js';

export interface TestRedisCluster {
  /** Names two of its three nodes. */
  readonly url: string;
  stop(): Promise<void>;
}

const MASTERS = 3;
const READY_MS_MAX = 30_000;

export async function startRedisCluster(): Promise<TestRedisCluster> {
  const dir = mkdtempSync(join(tmpdir(), 'fp-rc-'));
  // A node's bus port is its own plus 10,000.
  const ports = await freePorts(MASTERS);
  const servers = await Promise.all(
    ports.map((port) =>
      launchRedis(join(dir, String(port)), {
        port: String(port),
        bind: '127.0.0.1',
        'cluster-enabled': 'yes',
        'cluster-port': String(port + 10_000),
        'cluster-node-timeout': '2000',
      }),
    ),
  );
  const nodes = ports.map((port) => `127.0.0.1:${port}`);
  const made = run('redis-cli', ['--cluster', 'create', ...nodes, '--cluster-yes']);
  if (made.code !== 0) throw new Error(`no cluster: ${made.text}`);
  for (const end = Date.now() + READY_MS_MAX; ; await sleep(50)) {
    const states = ports.map((port) => run('redis-cli', ['-p', String(port), 'cluster', 'info']).text);
    if (states.every((text) => text.includes('cluster_state:ok'))) break;
    if (Date.now() > end) throw new Error(`the cluster is not ready: ${states.join()}`);
  }
  return {
    url: `redis://${nodes.slice(0, 2).join(',')}`,
    stop: async () => {
      for (const server of servers) {
        const gone = new Promise((done) => server.once('exit', done));
        server.kill('SIGTERM');
        await gone;
      }
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
