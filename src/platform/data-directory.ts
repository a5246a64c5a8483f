/**
 * The one directory of an installation: laid out, closed to other accounts, and held by one supervisor at a time.
 */
import { chmodSync, existsSync, linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { FemtoError } from './errors.js';

/** Sub-directories, each 0700. */
export interface DataPaths {
  readonly root: string;
  /** The embedded cluster. */
  readonly postgres: string;
  /** Sockets, the lock, the config handed to children. */
  readonly run: string;
  /** PINs, API credentials: 0600 files. */
  readonly secrets: string;
  /** Ceremony transcripts and the hierarchy's certificates. */
  readonly ca: string;
  /** signer.yaml, journals, tokens. */
  readonly signer: string;
  readonly logs: string;
  readonly crl: string;
  /** Anchored audit heads. */
  readonly anchors: string;
  /** TLS keys and certificates of our listeners: 0600 files. */
  readonly tls: string;
}

export interface HeldDataDirectory {
  readonly paths: DataPaths;
  /** Gives the directory back. Safe to call twice. */
  release(): void;
}

const PARTS = ['postgres', 'run', 'secrets', 'ca', 'signer', 'logs', 'crl', 'anchors', 'tls'] as const;

export function dataPaths(dataDir: string): DataPaths {
  const root = resolve(dataDir);
  const parts = Object.fromEntries(PARTS.map((part) => [part, join(root, part)])) as Record<
    (typeof PARTS)[number],
    string
  >;
  return { root, ...parts };
}

/**
 * Makes the layout where it is missing and takes the lock.
 * @throws FemtoError STATE_CONFLICT saying who holds the directory
 */
export function holdDataDirectory(dataDir: string): HeldDataDirectory {
  const paths = layOut(dataDir);
  const lockFile = join(paths.run, 'lock');
  const mine = `${process.pid} ${startOf(process.pid)}\n`;
  takeLock(lockFile, mine, paths.root);
  return {
    paths,
    release: () => {
      if (existsSync(lockFile) && readFileSync(lockFile, 'utf8') === mine) rmSync(lockFile);
    },
  };
}

/** Process id of the supervisor that holds the directory, if one does. */
export function holderOf(dataDir: string): number | undefined {
  const lockFile = join(dataPaths(dataDir).run, 'lock');
  return existsSync(lockFile) ? livePid(readFileSync(lockFile, 'utf8')) : undefined;
}

function layOut(dataDir: string): DataPaths {
  const paths = dataPaths(dataDir);
  mkdirSync(paths.root, { recursive: true, mode: 0o700 });
  // Under root PostgreSQL runs as another account and must pass through (not list) the directory to its own part.
  chmodSync(paths.root, process.getuid?.() === 0 ? 0o711 : 0o700);
  for (const part of PARTS) {
    if (part === 'postgres') continue; // made by the embedded server, for its own account
    mkdirSync(paths[part], { recursive: true, mode: 0o700 });
    chmodSync(paths[part], 0o700);
  }
  return paths;
}

function takeLock(lockFile: string, mine: string, root: string): void {
  const candidate = `${lockFile}.${process.pid}`;
  writeFileSync(candidate, mine, { mode: 0o600 });
  try {
    for (let tries = 0; tries < 5; tries++) {
      try {
        linkSync(candidate, lockFile); // atomic: fails where a lock is
        return;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      }
      const found = readIfThere(lockFile);
      const pid = livePid(found);
      if (pid !== undefined) {
        throw new FemtoError(
          'STATE_CONFLICT',
          `The data directory ${root} is in use by process ${pid}: stop that one first (kill ${pid}), or choose another with --data DIR.`,
          { facts: { pid } },
        );
      }
      clearStale(lockFile, found);
    }
  } finally {
    rmSync(candidate, { force: true });
  }
  throw new FemtoError(
    'STATE_CONFLICT',
    `The lock ${lockFile} changes hands too fast: another start is under way, try again in a moment.`,
  );
}

/** Between reading and removing, another start may have put a fresh lock there: what we moved aside must be what we read. */
function clearStale(lockFile: string, stale: string): void {
  const aside = `${lockFile}.stale.${process.pid}`;
  try {
    renameSync(lockFile, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return; // somebody else cleared it
    throw error;
  }
  if (readFileSync(aside, 'utf8') !== stale) linkSync(aside, lockFile);
  rmSync(aside);
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}

/** The pid in a lock's text if that very process still runs; its start time tells it from a later owner of the number. */
function livePid(text: string): number | undefined {
  const [pid = '', started = ''] = text.trim().split(' ');
  return /^\d+$/.test(pid) && startOf(Number(pid)) === started ? Number(pid) : undefined;
}

/** Start time in clock ticks since boot (proc(5), stat field 22); empty when there is no such process. */
function startOf(pid: number): string {
  const stat = readIfThere(`/proc/${pid}/stat`);
  // The command in parentheses may itself hold spaces and parentheses.
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
}
