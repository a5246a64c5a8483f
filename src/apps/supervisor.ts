/**
 * `npm start`: a whole installation under one process. Reachable by nobody; signs nothing; writes the schema (migrations)
 * and, through first run, the installation's first rows. Holds the data directory, runs the embedded PostgreSQL, starts
 * each process with one effective config file, starts it again when it crashes, and drains all of them on SIGTERM.
 */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Config, loadConfig, serializeConfig } from '../platform/config/config.js';
import { type DataPaths, holdDataDirectory } from '../platform/data-directory.js';
import { migrate } from '../platform/db/migrate.js';
import { openPool } from '../platform/db/pool.pg.js';
import { FemtoError } from '../platform/errors.js';
import { signerConfigPath } from '../platform/hsm/signer-config.js';
import { createLogger, type Logger } from '../platform/log.js';
import { RotatingFile } from '../platform/rotating-file.js';
import { type ActResult, actLine } from './act-result.js';
import { PROCESS_NAMES, type ProcessName } from './app-main.js';
import { checkPorts } from './check-ports.js';
import { say, step } from './console-output.js';
import { ensureServices, firstRun } from './first-run.js';
import type { InstallationContext } from './installation-context.js';
import { keepPostgresRunning, type SupervisedPostgres } from './supervised-postgres.js';
import { parseLine, SupervisedProcess } from './supervised-process.js';
import { parseSupervisorArguments, type SupervisorArguments, USAGE } from './supervisor-arguments.js';

/** Runs until told to end, or with `--once` until the story is told. Resolves with the exit code. */
export async function main(argv: readonly string[]): Promise<number> {
  try {
    const args = parseSupervisorArguments(argv);
    if (args.help) {
      say(USAGE);
      return 0;
    }
    return await supervise(args);
  } catch (error) {
    // An expected failure is its sentence with the next step; anything else is a bug and shows where.
    process.stderr.write(`\n${error instanceof FemtoError ? error.message : (error as Error).stack}\n`);
    return 1;
  }
}

async function supervise(args: SupervisorArguments): Promise<number> {
  const ending = endSignal();
  const config = loadConfig({ configFile: args.configFile, dataDir: args.dataDir });
  const held = holdDataDirectory(config.dataDir);
  const undo: (() => Promise<void> | void)[] = [() => held.release()];
  try {
    const log = supervisorLog(config, held.paths, args);
    await checkPorts(config);
    const context = await openInstallation(config, held.paths, log, undo);
    ending.check();
    const first = await firstRun(context);
    ending.check();
    const processes = await Promise.race([startProcesses(context, args, undo), ending.interrupt()]);
    ending.check();
    const acts = first.isFirst || args.once ? await Promise.race([tellStory(context, args), ending.interrupt()]) : [];
    if (args.once) return acts.length > 0 && acts.every(({ ok }) => ok) ? 0 : 1;

    showAddresses(context.config, processes);
    for (const line of first.closing) say(line);
    say(`\n${await ending.promise}: draining …`);
    return 0;
  } catch (error) {
    if (ending.seen) return 1; // Ctrl-C during start-up: what broke off is no news
    throw error;
  } finally {
    for (const action of undo.reverse()) await action();
  }
}

interface Ending {
  /** The signal's name, once there is one. */
  readonly promise: Promise<string>;
  seen: boolean;
  /** Between two steps of the start: throws when the end was asked for meanwhile. */
  check(): void;
  /** Rejects when the end is asked for. */
  interrupt(): Promise<never>;
}

/** A ceremony or migration under way is not cut: half of one is worse than a late end. Waiting and the story are. */
function endSignal(): Ending {
  const interrupted = (): Error => new Error('told to end');
  const promise = new Promise<string>((done) => {
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
      process.on(signal, () => {
        ending.seen = true;
        done(signal);
      });
    }
  });
  const ending: Ending = {
    promise,
    seen: false,
    check: () => {
      if (ending.seen) throw interrupted();
    },
    interrupt: () => promise.then(() => Promise.reject(interrupted())),
  };
  return ending;
}

async function openInstallation(
  config: Config,
  paths: DataPaths,
  log: Logger,
  undo: (() => Promise<void> | void)[],
): Promise<InstallationContext> {
  let postgres: SupervisedPostgres | undefined;
  if (config.databaseUrl === undefined) {
    postgres = await step('PostgreSQL (embedded)', () =>
      keepPostgresRunning({ homeDir: paths.postgres, logFile: join(paths.logs, 'postgres.log') }, log),
    );
    undo.push(() => postgres?.stop());
  } else say('✓ PostgreSQL: the one of DATABASE_URL');
  const databaseUrl = config.databaseUrl ?? postgres?.url ?? '';
  const effective = { ...config, databaseUrl };

  const report = await step('database schema', () => migrate(databaseUrl));
  log.info({ applied: report.applied, present: report.present.length }, 'schema is current');
  say(`✓ queues on ${config.redisUrl === undefined ? 'PostgreSQL' : 'Redis'}; token module ${config.pkcs11.module}`);

  const configFile = join(paths.run, 'effective.yaml');
  writeFileSync(configFile, serializeConfig(effective), { mode: 0o600 });
  const onIdleError = (err: Error): void => log.warn({ err }, 'an idle database connection was lost');
  const pool = openPool(databaseUrl, { applicationName: 'supervisor', connectionsMax: 4, onIdleError });
  undo.push(() => pool.end());
  return { config: effective, configFile, paths, pool, log, say, step };
}

/** The signer first, then the certificates of our own servers, then the servers. They end in the opposite order. */
async function startProcesses(
  context: InstallationContext,
  args: SupervisorArguments,
  undo: (() => Promise<void> | void)[],
): Promise<SupervisedProcess[]> {
  const make = (name: ProcessName): SupervisedProcess => {
    const process = new SupervisedProcess({
      name,
      modulePath: fileURLToPath(new URL(`./${name}.js`, import.meta.url)),
      ...launchArguments(name, context),
      probesHost: context.config.metrics.host,
      logFile: join(context.paths.logs, `${name}.log`),
      rotateBytes: context.config.log.rotateBytes,
      keepFiles: context.config.log.keepFiles,
      log: context.log,
      onLine: (line) => showLogLine(line, args),
    });
    undo.push(() => process.stop());
    return process;
  };
  const startAll = async (label: string, names: readonly ProcessName[]): Promise<SupervisedProcess[]> => {
    const made = names.filter(isBuilt).map(make);
    for (const process of made) process.start();
    const waiting = new Set(made.map(({ name }) => name));
    const untilReady = async (process: SupervisedProcess): Promise<void> => {
      await process.ready();
      waiting.delete(process.name);
    };
    await step(
      label,
      () => Promise.all(made.map(untilReady)),
      () => `waiting for ${[...waiting].join(', ')}`,
    );
    return made;
  };
  const isSignerHere = context.config.signer.places.length === 0 || existsSync(signerConfigPath(context.paths.root));
  const signer = isSignerHere ? await startAll('signer', ['signer']) : [];
  await ensureServices(context);
  const names = PROCESS_NAMES.filter((name) => name !== 'signer');
  const servers = await startAll(names.join(', '), names);
  // One undo for all servers: they drain side by side, within one limit.
  undo.splice(
    undo.length - servers.length,
    servers.length,
    async () => void (await Promise.all(servers.map((server) => server.stop()))),
  );
  return [...signer, ...servers];
}

/** Every process reads the effective config; the signer reads nothing but its own file. */
function launchArguments(
  name: ProcessName,
  { config, configFile, paths }: InstallationContext,
): { args: string[]; probesPort?: number } {
  if (name !== 'signer') return { args: ['--config', configFile] };
  const probesPort = config.metrics.signer;
  return { args: ['--data', paths.root, '--metrics-port', String(probesPort)], probesPort };
}

function isBuilt(name: ProcessName): boolean {
  const built = existsSync(new URL(`./${name}.js`, import.meta.url));
  if (!built) say(`! ${name} is not part of this build`);
  return built;
}

async function tellStory(context: InstallationContext, args: SupervisorArguments): Promise<ActResult[]> {
  say('\nThe story of one femtocell\n');
  const shown = new Set<ActResult>();
  const report = (act: ActResult): void => {
    shown.add(act);
    say(actLine(act));
  };
  // Only here: an installation that serves has no use for the story's code.
  const { runStory } = await import('./story/story.js');
  const acts = await runStory({ ...context, report });
  for (const act of acts) if (!shown.has(act)) report(act);
  const good = acts.filter(({ ok }) => ok).length;
  say(`\n${good} of ${acts.length} verdicts are as they must be.`);
  if (args.jsonFile !== undefined) writeFileSync(args.jsonFile, `${JSON.stringify({ acts }, null, 2)}\n`);
  return acts;
}

function showAddresses(config: Config, processes: readonly SupervisedProcess[]): void {
  say(`
femtopki serves ${config.operator} (${config.realm}), data in ${config.dataDir}
  console and operator API   ${config.publicUrls.operator}
  devices and factory        ${config.publicUrls.enrol} (REST under /v1, EST and CMP under /.well-known)
  CMP without TLS            ${config.publicUrls.cmp}/.well-known/cmp
  OCSP, CRL, CA, time        ${config.publicUrls.status}
  gateways                   ${config.publicUrls.gateway}
  metrics and probes         ${config.metrics.host}:${config.metrics.enrol}–${config.metrics.signer}
  processes                  ${processes.map(({ name, pid }) => `${name} ${pid}`).join(', ')}
Next: npx femtopki doctor · npx femtopki unit list · npm start -- --once --data DIR tells the story again. Ctrl-C ends it.`);
}

function supervisorLog(config: Config, paths: DataPaths, args: SupervisorArguments): Logger {
  const file = new RotatingFile(join(paths.logs, 'supervisor.log'), config.log);
  const write = (line: string): void => {
    file.write(line);
    showLogLine(line.trimEnd(), args);
  };
  return createLogger({ name: 'supervisor', level: config.log.level, destination: { write } });
}

/** Everything is in the files; who follows the start on a screen sees what needs attention. */
function showLogLine(line: string, args: SupervisorArguments): void {
  if (args.verbose) process.stderr.write(`${line}\n`);
  else {
    const entry = parseLine(line);
    if (!entry || entry.level >= 40) process.stderr.write(entry ? `! ${entry.name}: ${entry.msg}\n` : `${line}\n`);
  }
}
