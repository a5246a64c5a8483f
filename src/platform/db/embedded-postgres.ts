/**
 * The embedded default database: real PostgreSQL 18 binaries from the npm package, one cluster in the data directory,
 * reachable over a unix socket only. No TCP port, no password: `peer` authentication asks the kernel who is calling.
 *
 * PostgreSQL refuses to run as root. When we are root the server runs as `postgres` (else `nobody`), and everything it
 * must read has to be reachable for that user: under a 0700 directory it would die with EACCES, so binaries and cluster
 * then move to /var/lib/femtopki and the data directory keeps a symbolic link.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  closeSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir, userInfo } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { FemtoError } from '../errors.js';

export interface EmbeddedPostgresOptions {
  /** Home of the cluster; created when missing. Holds `cluster/` (PGDATA) and `socket/`. */
  readonly homeDir: string;
  /** File that receives the server's own log. */
  readonly logFile: string;
  /** Off only for test suites: a power cut may then lose acknowledged writes. Default on. */
  readonly durable?: boolean;
  /** Default 200. */
  readonly maxConnections?: number;
}

export interface EmbeddedPostgres {
  /** Connection URL of the database `femtopki` as its owner; good for pg, Prisma's adapter and BullMQ. */
  readonly url: string;
  readonly pid: number;
  /** Settles when the server process is gone, wanted or not. */
  readonly exited: Promise<{ readonly wanted: boolean }>;
  /** Fast shutdown (running transactions are rolled back), at most 20 s, then immediate. */
  stop(): Promise<void>;
}

const SOCKET_PATH_BYTES_MAX = 107;
const PORT = 5432; // only a part of the socket's file name
const SHARED_ROOT = '/var/lib/femtopki';
const STOP_TIMEOUT_MS = 20_000;
const START_TIMEOUT_MS = 60_000;

/** Starts the cluster, making it first when the home is empty, and waits until the database `femtopki` answers. */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const account = serverAccount();
  const homeDir = placeHome(resolve(options.homeDir), account);
  const nativeDir = placeBinaries(account);
  const clusterDir = join(homeDir, 'cluster');
  const socketDir = placeSocketDir(homeDir, account);

  refuseOtherMajor(clusterDir, nativeDir);
  if (!existsSync(join(clusterDir, 'PG_VERSION'))) await initCluster(nativeDir, clusterDir, account, options.logFile);
  writeAccessRules(clusterDir, account);
  await stopOrphan(clusterDir);

  const server = spawnServer(nativeDir, clusterDir, socketDir, account, options);
  let wanted = false;
  const exited = new Promise<{ wanted: boolean }>((done) => {
    server.once('exit', () => done({ wanted }));
    server.once('error', () => done({ wanted }));
  });
  const stop = async () => {
    wanted = true;
    if (server.exitCode !== null || server.signalCode !== null) return;
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

interface Account {
  readonly uid: number;
  readonly gid: number;
  /** True when the server must run under another user than ours. */
  readonly switched: boolean;
}

function serverAccount(): Account {
  const own = userInfo();
  if (own.uid !== 0) return { uid: own.uid, gid: own.gid, switched: false };
  const rows = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'));
  for (const name of ['postgres', 'nobody']) {
    const row = rows.find((fields) => fields[0] === name);
    if (row) return { uid: Number(row[2]), gid: Number(row[3]), switched: true };
  }
  throw new FemtoError(
    'STATE_CONFLICT',
    'PostgreSQL refuses to run as root and this system has neither a user "postgres" nor "nobody": run femtopki as an ordinary user, or set DATABASE_URL.',
  );
}

/** True when every directory from / down to `path` may be passed by any user. */
function isReachableByOthers(path: string): boolean {
  for (let at = existsSync(path) ? realpathSync(path) : path; ; at = dirname(at)) {
    if (existsSync(at) && (statSync(at).mode & 0o001) === 0) return false;
    if (at === dirname(at)) return true;
  }
}

function placeHome(wantedDir: string, account: Account): string {
  if (!account.switched) {
    mkdirSync(wantedDir, { recursive: true, mode: 0o700 });
    return realpathSync(wantedDir);
  }
  const isLink = lstatSync(wantedDir, { throwIfNoEntry: false })?.isSymbolicLink() ?? false;
  let home = wantedDir;
  if (isLink || !isReachableByOthers(dirname(wantedDir))) {
    // The name follows from the place, so that a lost link finds its cluster again.
    home = join(SHARED_ROOT, `cluster-${createHash('sha256').update(wantedDir).digest('hex').slice(0, 16)}`);
    mkdirSync(SHARED_ROOT, { recursive: true, mode: 0o755 });
    if (isLink && realpathSync(dirname(wantedDir)) && readLink(wantedDir) !== home) rmSync(wantedDir);
    if (existsSync(wantedDir) && !lstatSync(wantedDir).isSymbolicLink()) moveTree(wantedDir, home);
    mkdirSync(home, { recursive: true, mode: 0o700 });
    mkdirSync(dirname(wantedDir), { recursive: true, mode: 0o700 });
    if (!lstatSync(wantedDir, { throwIfNoEntry: false })) symlinkSync(home, wantedDir);
  } else {
    mkdirSync(home, { recursive: true, mode: 0o700 });
  }
  chownSync(home, account.uid, account.gid);
  chmodSync(home, 0o700);
  return realpathSync(home);
}
