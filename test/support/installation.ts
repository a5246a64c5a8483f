/**
 * A whole installation for a test: the supervisor as a person starts it, on free ports, in a scratch data directory.
 * Needs the build (`npm test` makes it).
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { stringify } from 'yaml';
import { type ConfigInput, loadConfig } from '../../src/platform/config/config.js';
import { environmentWithoutSettings } from '../../src/platform/config/environment.js';
import { removeHome } from '../../src/platform/db/embedded-postgres-place.js';
import { leftover } from './leftovers.js';
import { freePorts } from './ports.js';

export interface TestInstallation {
  readonly dataDir: string;
  readonly config: ReturnType<typeof loadConfig>;
  readonly pid: number;
  /** What it has printed so far, standard output and standard error. */
  output(): string;
  /** Resolves when standard output or error contains the text; rejects when the process ends first. */
  said(text: string, timeoutMs?: number): Promise<void>;
  /** Resolves with the exit code once it has ended by itself. */
  over(): Promise<number | null>;
  /** Sends a signal and resolves with the exit code. */
  end(signal?: NodeJS.Signals): Promise<number | null>;
  /** Resolves with the exit code when it ends by itself. */
  ended(): Promise<number | null>;
  /** Ends it if it still runs and removes its data. Call in afterAll. */
  remove(): Promise<void>;
}

const COMMAND = fileURLToPath(new URL('../../bin/femtopki.mjs', import.meta.url));
const CEREMONY = fileURLToPath(new URL('../../hsm-config/ceremony/demo.yaml', import.meta.url));
const START = fileURLToPath(new URL('../../bin/start.mjs', import.meta.url));

/**
 * @param args      further arguments, e.g. `--once`
 * @param settings  laid over the free ports
 * @param ceremonyFirst  `femtopki ca init` makes the hierarchy beforehand, so that the start is not a first run and tells
 *   no story
 * @param launcher  a command that starts it, e.g. inside a network namespace
 * @param dataDir   an earlier installation's directory, to start it again
 */
export async function startInstallation(
  options: {
    args?: readonly string[];
    settings?: ConfigInput;
    dataDir?: string;
    ceremonyFirst?: boolean;
    launcher?: readonly string[];
  } = {},
): Promise<TestInstallation> {
  const dataDir = options.dataDir ?? mkdtempSync(join(tmpdir(), 'fp-inst-'));
  const file = join(dataDir, 'femtopki.yaml');
  if (!existsSync(file)) {
    mkdirSync(dataDir, { recursive: true });
    writeFileSync(file, stringify({ ...(await portSettings()), ...options.settings }));
  }
  const config = loadConfig({ dataDir, env: {} });
  const environment = { ...environmentWithoutSettings(), NODE_OPTIONS: '' };
  if (options.ceremonyFirst) {
    const ceremony = ['--data', dataDir, 'ca', 'init', '--ceremony', CEREMONY];
    await promisify(execFile)(process.execPath, [COMMAND, ...ceremony], { env: environment });
  }
  const command = [...(options.launcher ?? []), process.execPath, START, '--data', dataDir, ...(options.args ?? [])];
  const child = spawn(command[0] as string, command.slice(1), {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: environment,
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8');
    stream.on('data', (chunk: string) => {
      text += chunk;
    });
  }
  const exited = new Promise<number | null>((done) => child.once('close', done));
  const isOver = (): boolean => child.exitCode !== null || child.signalCode !== null;
  const end = async (signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> => {
    child.kill(signal);
    return exited;
  };
  const remove = async (): Promise<void> => {
    isRemoved();
    if (!isOver()) await end();
    removeHome(join(dataDir, 'postgres'));
    rmSync(dataDir, { recursive: true, force: true });
  };
  const isRemoved = leftover(remove);
  return {
    dataDir,
    config,
    pid: pidOf(child),
    output: () => text,
    said: async (wanted, timeoutMs = 120_000) => {
      for (const deadline = Date.now() + timeoutMs; !text.includes(wanted); await sleep(50)) {
        if (isOver() || Date.now() > deadline) throw new Error(`"${wanted}" was not said:\n${text}`);
      }
    },
    over: () => exited,
    end,
    ended: () => exited,
    remove,
  };
}

/** Every listener of a config on a port of its own. */
export async function portSettings(): Promise<ConfigInput> {
  const listeners = ['enrol', 'cmp', 'status', 'gateway', 'operator'];
  const processes = ['enrol', 'status', 'gateway', 'operator', 'worker', 'signer'];
  const ports = await freePorts(listeners.length + processes.length);
  return {
    listen: Object.fromEntries(listeners.map((name, at) => [name, { port: ports[at] }])),
    metrics: Object.fromEntries(processes.map((name, at) => [name, ports[listeners.length + at]])),
  } as ConfigInput;
}

function pidOf(child: ChildProcess): number {
  if (child.pid === undefined) throw new Error('the supervisor did not start');
  return child.pid;
}
