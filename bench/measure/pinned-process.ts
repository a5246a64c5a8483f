import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { transformSync } from '@swc/core';

/** Server and generator never share a core: they would take each other's time. */
export const SERVER_CORE = 0;
export const GENERATOR_CORE = availableParallelism() > 1 ? 1 : 0;
/** Two cores, for scenarios whose product is several processes; what they start inherits it. */
export const WHOLE_MACHINE = availableParallelism() > 1 ? '0,1' : '0';

const LOADER = new URL('../../bin/ts-loader.mjs', import.meta.url).href;
const PLAIN_DIR = fileURLToPath(new URL('../../.cache/bench/', import.meta.url));

export interface PinnedProcess {
  readonly pid: number;
  /** The next message that it sends over IPC. */
  next<T>(): Promise<T>;
  send(message: unknown): void;
  /** CPU seconds so far, user and system, all its threads. */
  cpuSeconds(): number;
  /** SIGTERM, and its end. */
  end(): Promise<void>;
}

/**
 * Runs one of our TypeScript files in a process of its own on one core, or on a list of cores as taskset takes it.
 *
 * @param flags  of Node.js, where the process that it stands for is started with some
 */
export function startPinned(
  file: URL,
  core: number | string,
  args: readonly string[] = [],
  flags: readonly string[] = [],
): PinnedProcess {
  const node = [
    '--disable-warning=ExperimentalWarning',
    ...flags,
    ...(plainOf(file) ?? ['--import', LOADER, file.pathname]),
  ];
  const child = spawn('taskset', ['-c', String(core), process.execPath, ...node, ...args], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    env: { ...process.env, NODE_OPTIONS: '' },
  });
  const waiting: ((message: unknown) => void)[] = [];
  const arrived: unknown[] = [];
  child.on('message', (message) => {
    const taker = waiting.shift();
    if (taker) taker(message);
    else arrived.push(message);
  });
  const exited = new Promise<void>((done) => child.once('exit', () => done()));
  return {
    pid: pidOf(child),
    next: <T>() => nextOf<T>(child, waiting, arrived, file),
    // To one that is gone: whoever waits for its answer is told.
    send: (message) => void child.send(message as object, () => undefined),
    cpuSeconds: () => cpuSecondsOf(pidOf(child)),
    end: async () => {
      child.kill('SIGTERM');
      await exited;
    },
  };
}

/**
 * A file that needs nothing of ours, as a limit probe does, is made plain JavaScript and runs without the loader, whose hooks
 * are a thread of their own.
 *
 * @returns its path as an argument; undefined for one that imports files of ours
 */
function plainOf(file: URL): [string] | undefined {
  const source = readFileSync(file, 'utf8');
  if (/from '\.{1,2}\//.test(source)) return undefined;
  const { code } = transformSync(source, {
    swcrc: false,
    configFile: false,
    jsc: { parser: { syntax: 'typescript' }, target: 'es2022' },
    module: { type: 'es6' },
  });
  const hash = createHash('sha256').update(code).digest('hex').slice(0, 16);
  const plain = `${PLAIN_DIR}${basename(file.pathname, '.ts')}-${hash}.mjs`;
  if (!existsSync(plain)) {
    mkdirSync(PLAIN_DIR, { recursive: true });
    // Whole or not at all: another bench may start the same one at this moment.
    writeFileSync(`${plain}.${process.pid}`, code);
    renameSync(`${plain}.${process.pid}`, plain);
  }
  return [plain];
}

function nextOf<T>(
  child: ChildProcess,
  waiting: ((message: unknown) => void)[],
  arrived: unknown[],
  file: URL,
): Promise<T> {
  const ready = arrived.shift();
  if (ready !== undefined) return Promise.resolve(ready as T);
  return new Promise<T>((done, fail) => {
    const onExit = (code: number | null, signal: string | null): void =>
      fail(new Error(`${file.pathname} ended with ${code ?? signal}`));
    if (child.exitCode !== null || child.signalCode !== null) return onExit(child.exitCode, child.signalCode);
    child.once('exit', onExit);
    waiting.push((message) => {
      child.off('exit', onExit);
      done(message as T);
    });
  });
}

function pidOf(child: ChildProcess): number {
  if (child.pid === undefined) throw new Error('taskset did not start: install util-linux');
  return child.pid;
}

/** utime and stime of /proc/<pid>/stat, in ticks of 1/100 s; the command in parentheses may hold spaces. */
export function cpuSecondsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}
