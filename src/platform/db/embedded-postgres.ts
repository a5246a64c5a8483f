/**
 * The embedded default database: real PostgreSQL 18 from an npm package, one cluster in the data directory, reachable
 * over a unix socket only. No TCP port and no password: `peer` authentication asks the kernel who is calling.
 * Durability is on; the kernel tells the server to shut down when the process that started it dies.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { chownSync, closeSync, existsSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { totalmem } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import pg from 'pg';
import { FemtoError } from '../errors.js';
import {
  placeBinaries,
  placeHome,
  placeSocketDir,
  type ServerAccount,
  serverAccount,
} from './embedded-postgres-place.js';

export interface EmbeddedPostgresOptions {
  /** Home of the cluster; created when missing. Holds `cluster/` (PGDATA) and `socket/`. */
  readonly homeDir: string;
  /** File that receives the server's own log. */
  readonly logFile: string;
  /** Off only for test suites: a power cut may then lose acknowledged writes. Default on. */
  readonly durable?: boolean;
  /** Default 200. */
  readonly maxConnections?: number;
  /** A command that starts the server, already under its account; a drill moves its clock with it. */
  readonly launcher?: readonly string[];
}

export interface EmbeddedPostgres {
  /** Connection URL of the database `femtopki` as its owner; good for pg, Prisma's adapter and BullMQ. */
  readonly url: string;
  readonly pid: number;
  /** Settles when the server process is gone, wanted or not. */
  readonly exited: Promise<{ readonly wanted: boolean }>;
  /** Fast shutdown (running transactions are rolled back), at most 20 s, then immediate. Safe to call twice. */
  stop(): Promise<void>;
}

const STOP_TIMEOUT_MS = 20_000;
/** Crash recovery of a busy cluster can take a while. */
const START_TIMEOUT_MS = 120_000;
/** Megabytes. */
const SHARED_BUFFERS_MIN = 128;
const SHARED_BUFFERS_MAX = 4_096;
const run = promisify(execFile);

/**
 * Starts the cluster, making it first when the home is empty, and waits until the database `femtopki` answers.
 * The caller holds the data directory's lock: a server left over from a killed predecessor is shut down first.
 *
 * @throws FemtoError STATE_CONFLICT for an unusable account, place or major version, or when the server does not come up
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const account = serverAccount(options.homeDir);
  const homeDir = placeHome(options.homeDir, account);
  const nativeDir = placeBinaries(account);
  const clusterDir = join(homeDir, 'cluster');
  const socketDir = placeSocketDir(homeDir, account);

  refuseOtherMajor(clusterDir, await majorVersion(nativeDir));
  if (!existsSync(join(clusterDir, 'PG_VERSION'))) await initCluster(nativeDir, clusterDir, account, options.logFile);
  writeAccessRules(clusterDir, account);
  await stopOrphan(clusterDir);

  const command = [...(options.launcher ?? []), join(nativeDir, 'bin', 'postgres')];
  const server = spawnServer(
    [...command, ...serverArguments(clusterDir, socketDir, options)],
    account,
    options.logFile,
  );
  let wanted = false;
  const exited = new Promise<{ wanted: boolean }>((done) => {
    server.once('exit', () => done({ wanted }));
    server.once('error', () => done({ wanted }));
  });
  const stop = async (): Promise<void> => {
    wanted = true;
    server.kill('SIGINT');
    const late = setTimeout(() => server.kill('SIGQUIT'), STOP_TIMEOUT_MS);
    await exited;
    clearTimeout(late);
  };
  try {
    await waitUntilReady(server, socketDir, options.logFile);
    await ensureDatabase(socketDir);
  } catch (cause) {
    await stop();
    throw cause;
  }
  return { url: connectionUrl(socketDir, 'femtopki', 'femtopki'), pid: server.pid ?? -1, exited, stop };
}

/** A URL for `database` over the socket in `socketDir`, as role `user`. */
export function connectionUrl(socketDir: string, user: string, database: string): string {
  return `postgresql://${user}@localhost/${database}?host=${encodeURIComponent(socketDir)}`;
}

async function majorVersion(nativeDir: string): Promise<string> {
  const { stdout } = await run(join(nativeDir, 'bin', 'postgres'), ['--version']);
  return /(\d+)/.exec(stdout)?.[1] ?? stdout.trim();
}

function refuseOtherMajor(clusterDir: string, programMajor: string): void {
  const versionFile = join(clusterDir, 'PG_VERSION');
  if (!existsSync(versionFile)) return;
  const clusterMajor = readFileSync(versionFile, 'utf8').trim();
  if (clusterMajor === programMajor) return;
  throw new FemtoError(
    'STATE_CONFLICT',
    `The database in ${clusterDir} was written by PostgreSQL ${clusterMajor}, this femtopki brings ${programMajor}: with the femtopki that wrote it run "npx femtopki backup --out DIR" (every table) and "npx femtopki export --out DIR" (the ledger), then begin with an empty data directory.`,
    { facts: { clusterMajor, programMajor } },
  );
}

async function initCluster(
  nativeDir: string,
  clusterDir: string,
  account: ServerAccount,
  logFile: string,
): Promise<void> {
  // The builtin C.UTF-8 locale needs nothing from the system: a bare machine has no locales.
  const args = ['-D', clusterDir, '-U', 'postgres', '--auth=peer', '--encoding=UTF8', '--data-checksums'];
  const locale = ['--locale-provider=builtin', '--builtin-locale=C.UTF-8', '--locale=C'];
  const init = spawnServer([join(nativeDir, 'bin', 'initdb'), ...args, ...locale], account, logFile);
  const code = await new Promise<number | null>((done, fail) => {
    init.once('exit', done);
    init.once('error', fail);
  });
  if (code !== 0) throw notStarted('could not make its cluster', logFile);
}

/** Who may connect, and as which role: nobody but the account that started us, each time re-stated. */
function writeAccessRules(clusterDir: string, account: ServerAccount): void {
  const files = {
    'pg_hba.conf': 'local all all peer map=femtopki\n',
    'pg_ident.conf': `femtopki ${account.callerName} postgres\nfemtopki ${account.callerName} femtopki\n`,
  };
  for (const [name, text] of Object.entries(files)) {
    const path = join(clusterDir, name);
    writeFileSync(path, text, { mode: 0o600 });
    if (account.switched) chownSync(path, account.uid, account.gid);
  }
}

/** A predecessor killed by SIGKILL may leave its server running: the lock is ours, so that server must go. */
async function stopOrphan(clusterDir: string): Promise<void> {
  const pidFile = join(clusterDir, 'postmaster.pid');
  if (!existsSync(pidFile)) return;
  const pid = Number(readFileSync(pidFile, 'utf8').split('\n')[0]);
  const isOurServer = (): boolean =>
    existsSync(`/proc/${pid}/cmdline`) && readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').includes(clusterDir);
  if (!isOurServer()) return;
  process.kill(pid, 'SIGINT');
  for (const deadline = Date.now() + STOP_TIMEOUT_MS; isOurServer(); await sleep(50)) {
    if (Date.now() > deadline) {
      process.kill(pid, 'SIGQUIT');
      await sleep(1_000);
      return;
    }
  }
}

/**
 * An eighth of the memory that there is, at least PostgreSQL's own default. A page that is not in its buffers is copied from
 * the kernel's, three times what finding it takes, and a decision about a unit touches some fifteen. Taken only as it is used.
 */
function sharedBuffersMegabytes(): number {
  // 0, or more than there is: nobody set a limit.
  const constrained = process.constrainedMemory();
  const bytes = constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
  return Math.min(Math.max(Math.floor(bytes / 8 / 1_048_576), SHARED_BUFFERS_MIN), SHARED_BUFFERS_MAX);
}

function serverArguments(clusterDir: string, socketDir: string, options: EmbeddedPostgresOptions): string[] {
  const durable = options.durable === false ? 'off' : 'on';
  const settings = {
    listen_addresses: '',
    unix_socket_directories: socketDir,
    unix_socket_permissions: '0700',
    max_connections: String(options.maxConnections ?? 200),
    fsync: durable,
    synchronous_commit: durable,
    full_page_writes: durable,
    timezone: 'UTC',
    log_timezone: 'UTC',
    jit: 'off',
    ...(options.durable !== false && { shared_buffers: `${sharedBuffersMegabytes()}MB` }),
  };
  return ['-D', clusterDir, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])];
}

/**
 * `setpriv` (util-linux, essential in Debian) switches the account and asks the kernel for a signal when we die, so that
 * a killed supervisor leaves no server behind. Without it plain spawn does the first half.
 */
function spawnServer(command: readonly string[], account: ServerAccount, logFile: string): ChildProcess {
  const log = openSync(logFile, 'a', 0o600);
  try {
    const options = {
      // A session of its own: Ctrl-C must reach us alone, or the database would end before those who use it.
      detached: true,
      cwd: '/',
      stdio: ['ignore', log, log] as ['ignore', number, number],
      env: { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' },
    };
    if (existsSync('/usr/bin/setpriv')) {
      const ids = account.switched ? [`--reuid=${account.uid}`, `--regid=${account.gid}`, '--clear-groups'] : [];
      return spawn('/usr/bin/setpriv', [...ids, '--pdeathsig=INT', ...command], options);
    }
    const [program = '', ...args] = command;
    return spawn(program, args, account.switched ? { ...options, uid: account.uid, gid: account.gid } : options);
  } finally {
    closeSync(log);
  }
}

async function waitUntilReady(server: ChildProcess, socketDir: string, logFile: string): Promise<void> {
  for (const deadline = Date.now() + START_TIMEOUT_MS; Date.now() < deadline; await sleep(50)) {
    if (server.exitCode !== null || server.signalCode !== null) throw notStarted('ended while starting', logFile);
    const client = new pg.Client({ connectionString: connectionUrl(socketDir, 'postgres', 'postgres') });
    // Refusals while the server recovers are what we are waiting out.
    const ready = await client.connect().then(
      () => true,
      () => false,
    );
    await client.end().catch(() => undefined);
    if (ready) return;
  }
  throw notStarted(`was not ready after ${START_TIMEOUT_MS / 1000} s`, logFile);
}

/** The role `femtopki` owns its database and is no superuser; CREATEDB serves `backup verify` and the tests. */
async function ensureDatabase(socketDir: string): Promise<void> {
  const client = new pg.Client({ connectionString: connectionUrl(socketDir, 'postgres', 'postgres') });
  await client.connect();
  try {
    const roles = await client.query("SELECT 1 FROM pg_roles WHERE rolname = 'femtopki'");
    if (roles.rowCount === 0) await client.query('CREATE ROLE femtopki LOGIN CREATEDB');
    const databases = await client.query("SELECT 1 FROM pg_database WHERE datname = 'femtopki'");
    if (databases.rowCount === 0) await client.query('CREATE DATABASE femtopki OWNER femtopki');
  } finally {
    await client.end();
  }
}

function notStarted(what: string, logFile: string): FemtoError {
  const tail = existsSync(logFile) ? readFileSync(logFile, 'utf8').trimEnd().split('\n').slice(-3).join(' | ') : '';
  return new FemtoError(
    'STATE_CONFLICT',
    `PostgreSQL ${what}: read ${logFile} (last lines: ${tail}), or set DATABASE_URL to a database of your own.`,
  );
}
