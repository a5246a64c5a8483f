import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startEmbeddedPostgres } from '../../src/platform/db/embedded-postgres.js';
import { removeHome } from '../../src/platform/db/embedded-postgres-place.js';
import { migrate } from '../../src/platform/db/migrate.js';
import { openPool } from '../../src/platform/db/pool.pg.js';
import { readSignerConfig } from '../../src/platform/hsm/signer-config.js';
import { type IssuanceWorld, startIssuanceWorld } from '../../test/support/issuance-world.js';
import { treeCpuSeconds } from '../measure/process-tree.js';

/** What a limit probe needs to reach the same database server and the same token key. */
export interface DurableReady {
  readonly databaseUrl: string;
  readonly token: { path: string; environment: Record<string, string>; tokenLabel: string; pinFile: string };
  readonly keyLabel: string;
}

export interface DurableWorld {
  readonly world: IssuanceWorld;
  readonly ready: DurableReady;
  /** CPU seconds so far, by part; `own`: this process. */
  cpuNow(): Record<'own' | 'signer' | 'database', number>;
  /** Ends everything when the process is told to, `first` before the rest. */
  endWith(first: () => Promise<unknown>): void;
}

/** An issuance world over the embedded PostgreSQL as it is shipped, durable, and a signer without a rate cap. */
export async function startDurableWorld(connectionsMax = 10): Promise<DurableWorld> {
  const home = mkdtempSync(join(tmpdir(), 'fp-bench-pg-'));
  const postgres = await startEmbeddedPostgres({ homeDir: home, logFile: join(home, 'log') });
  await migrate(postgres.url);
  const pool = openPool(postgres.url, { applicationName: 'bench', connectionsMax });
  const world = await startIssuanceWorld({
    database: { url: postgres.url, pool, drop: () => pool.end() },
    token: {
      configure: (config) => {
        config.leavesPerSecondMax = 1_000_000;
      },
    },
  });
  const { module, tokenLabel, pinFile } = readSignerConfig(world.token.signerConfigPath);
  return {
    world,
    ready: { databaseUrl: postgres.url, token: { ...module, tokenLabel, pinFile }, keyLabel: 'device-ca-1' },
    cpuNow: () => {
      const { user, system } = process.cpuUsage();
      return {
        own: (user + system) / 1e6,
        signer: treeCpuSeconds(world.token.signerProcess()?.pid ?? 0),
        database: treeCpuSeconds(postgres.pid),
      };
    },
    endWith: (first) => {
      let isEnding = false;
      const end = async (): Promise<void> => {
        if (isEnding) return;
        isEnding = true;
        await first();
        await world.close();
        await postgres.stop();
        removeHome(home);
        process.exit(0);
      };
      process.on('SIGTERM', () => void end());
      process.on('disconnect', () => void end());
    },
  };
}

/** CPU seconds of one operation, by part. */
export function cpuAn(
  operations: number,
  before: Readonly<Record<string, number>>,
  after: Readonly<Record<string, number>>,
): { cpu: Record<string, number>; cpuSecondsPerOperation: number } {
  const parts = Object.entries(after).map(([part, seconds]): [string, number] => [
    part,
    (seconds - (before[part] ?? 0)) / operations,
  ]);
  return { cpu: Object.fromEntries(parts), cpuSecondsPerOperation: parts.reduce((sum, [, one]) => sum + one, 0) };
}
