/**
 * What every process does the same way: read `--config`, log, answer probes, open the database when asked to, and on
 * SIGTERM turn not ready, drain, and end within 25 s. A process is one call of {@link runApp}.
 */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { type Config, loadConfig } from '../platform/config/config.js';
import { type DataPaths, dataPaths } from '../platform/data-directory.js';
import { openPool, type Pool } from '../platform/db/pool.pg.js';
import type { Transactor } from '../platform/db/transaction.js';
import { transactorOf } from '../platform/db/transaction.pg.js';
import { FemtoError } from '../platform/errors.js';
import { armFailpoints } from '../platform/failpoint.js';
import { createLogger, type Logger } from '../platform/log.js';
import { type Probes, startProbes } from '../platform/probes.js';

export const PROCESS_NAMES = [
  'signer',
  'enrol-server',
  'status-server',
  'gateway-server',
  'operator-server',
  'rotation-worker',
] as const;
export type ProcessName = (typeof PROCESS_NAMES)[number];

/** Which of the config's metrics ports is whose. */
export const METRICS_PORT = {
  signer: 'signer',
  'enrol-server': 'enrol',
  'status-server': 'status',
  'gateway-server': 'gateway',
  'operator-server': 'operator',
  'rotation-worker': 'worker',
} as const satisfies Record<ProcessName, keyof Config['metrics']>;

export interface AppDatabase {
  readonly pool: Pool;
  readonly transactor: Transactor;
}

export interface App {
  readonly name: ProcessName;
  readonly config: Config;
  readonly paths: DataPaths;
  readonly log: Logger;
  /** Add readiness checks and metrics here. */
  readonly probes: Probes;
  /** Opens the pool at the first call, adds it to readiness, closes it at the end. The signer never calls this. */
  database(options?: { connectionsMax?: number }): AppDatabase;
  /** The same for a replica of it, at most once. The process is then ready without the primary: call it before `database`. */
  replica(url: string, options?: { connectionsMax?: number }): AppDatabase;
}

export interface RunningApp {
  /** Stops taking work and finishes what is under way, within `graceMs`. The database is still open. */
  close(graceMs: number): Promise<void>;
}

/** What a child tells its supervisor over the IPC channel once it listens. */
export interface StartedMessage {
  readonly kind: 'started';
  readonly probesPort: number;
}

const DRAIN_MS = 20_000;
const END_MS = 25_000;

/**
 * @param start  opens listeners and returns how to close them; resolves when the process may be called ready
 */
export async function runApp(name: ProcessName, start: (app: App) => Promise<RunningApp>): Promise<void> {
  const fallback = createLogger({ name });
  // Before anything else may throw: a process in an unknown state must end and be started again.
  const die = (what: string) => (error: unknown) => {
    fallback.fatal({ err: error }, what);
    process.exit(1);
  };
  process.on('uncaughtException', die('uncaught exception'));
  process.on('unhandledRejection', die('unhandled rejection'));
  try {
    await runUntilSignal(name, start);
  } catch (error) {
    // An expected refusal is its sentence; a stack would bury it.
    if (error instanceof FemtoError) fallback.fatal({ code: error.code, facts: error.facts }, error.message);
    else fallback.fatal({ err: error }, 'start failed');
    process.exit(1);
  }
}

async function runUntilSignal(name: ProcessName, start: (app: App) => Promise<RunningApp>): Promise<void> {
  const config = loadConfig(configSource());
  const log = createLogger({ name, level: config.log.level });
  if (config.failpoint !== undefined) armFailpoints(config.failpoint);
  const metrics = METRICS_PORT[name];
  const probes = await startProbes({
    name,
    version: packageVersion(),
    host: config.metrics.host,
    port: config.metrics[metrics],
    setting: `metrics.${metrics}`,
  });

  let database: AppDatabase | undefined;
  let replica: AppDatabase | undefined;
  const app: App = {
    name,
    config,
    paths: dataPaths(config.dataDir),
    log,
    probes,
    database: (options = {}) => {
      database ??= openDatabase(app, { ...options, isNeeded: replica === undefined });
      return database;
    },
    replica: (url, options = {}) => {
      replica ??= openReading(app, url, 'replica', options);
      return replica;
    },
  };
  const running = await start(app);
  probes.markStarted();
  process.send?.({ kind: 'started', probesPort: probes.port } satisfies StartedMessage);
  log.info({ node: process.versions.node, probesPort: probes.port }, 'started');

  const reason = await untilToldToEnd();
  log.info({ reason }, 'draining');
  probes.markDraining();
  // Whatever hangs, the process ends; its supervisor would otherwise send SIGKILL.
  setTimeout(() => {
    log.error('did not drain in time');
    process.exit(1);
  }, END_MS).unref();
  await running.close(DRAIN_MS);
  await Promise.all([database?.pool.end(), replica?.pool.end()]);
  await probes.close();
  log.info('ended');
  process.exit(0);
}

/** Under a supervisor the file it wrote is the whole truth; alone, the environment counts too. */
function configSource(): Parameters<typeof loadConfig>[0] {
  const { values } = parseArgs({ options: { config: { type: 'string' }, data: { type: 'string' } } });
  return { configFile: values.config, dataDir: values.data, ...(isSupervised() && { env: {} }) };
}

function isSupervised(): boolean {
  return process.send !== undefined;
}

function openDatabase(app: App, options: { connectionsMax?: number; isNeeded: boolean }): AppDatabase {
  const { databaseUrl } = app.config;
  if (databaseUrl === undefined) {
    throw new FemtoError(
      'STATE_CONFLICT',
      `${app.name} runs alone and knows no database: set DATABASE_URL, or start the whole installation with npm start.`,
    );
  }
  const { isNeeded, ...rest } = options;
  return openReading(app, databaseUrl, isNeeded ? 'database' : undefined, rest);
}

/** @param check  name of its readiness check; none for what the process can do without */
function openReading(
  app: App,
  url: string,
  check: string | undefined,
  options: { connectionsMax?: number },
): AppDatabase {
  const onIdleError = (err: Error): void => app.log.warn({ err }, 'an idle database connection was lost');
  const pool = openPool(url, { applicationName: app.name, onIdleError, ...options });
  if (check !== undefined) {
    app.probes.addCheck(check, async () => {
      await pool.query('SELECT 1');
      return undefined;
    });
  }
  return { pool, transactor: transactorOf(pool) };
}

function untilToldToEnd(): Promise<string> {
  return new Promise((done) => {
    process.once('SIGTERM', () => done('SIGTERM'));
    process.once('SIGINT', () => done('SIGINT'));
    // A supervisor that was killed cannot send SIGTERM any more.
    process.once('disconnect', () => done('supervisor gone'));
  });
}

function packageVersion(): string {
  const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  return manifest.version;
}
