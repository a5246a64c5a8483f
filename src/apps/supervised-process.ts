/** One child process of an installation: started, awaited until ready, started again after a crash, drained at the end. */
import { type ChildProcess, fork } from 'node:child_process';
import { get } from 'node:http';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { environmentWithoutSettings } from '../platform/config/environment.js';
import { FemtoError } from '../platform/errors.js';
import type { Logger } from '../platform/log.js';
import { RotatingFile } from '../platform/rotating-file.js';
import type { ProcessName, StartedMessage } from './app-main.js';
import { nodeFlags } from './node-flags.js';

export interface ProcessOptions {
  readonly name: ProcessName;
  /** Compiled entry. */
  readonly modulePath: string;
  readonly args: readonly string[];
  /** Where its probes listen. */
  readonly probesHost: string;
  /** For a process that does not tell the port of its probes itself. */
  readonly probesPort?: number;
  readonly logFile: string;
  readonly rotateBytes: number;
  readonly keepFiles: number;
  readonly log: Logger;
  /** Also receives each line of the child's standard error. */
  readonly onLine: (line: string) => void;
}

const BACK_OFF_FIRST_MS = 500;
const BACK_OFF_MAX_MS = 30_000;
/** A child that lived this long has recovered: the next crash starts at the first step again. */
const HEALTHY_MS = 60_000;
/** The child ends itself after 25 s; this is for one that cannot. */
const KILL_AFTER_MS = 26_000;
const READY_TIMEOUT_MS = 60_000;
const LAST_WORDS_MS = 1_000;

export class SupervisedProcess {
  readonly #options: ProcessOptions;
  readonly #file: RotatingFile;
  #child: ChildProcess | undefined;
  #probesPort: number | undefined;
  #ending = false;
  #crashes = 0;
  #lastWords: string | undefined;

  constructor(options: ProcessOptions) {
    this.#options = options;
    this.#file = new RotatingFile(options.logFile, options);
  }

  get name(): ProcessName {
    return this.#options.name;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  start(): void {
    const { modulePath, args, log } = this.#options;
    const bornAt = performance.now();
    this.#probesPort = this.#options.probesPort;
    const child = fork(modulePath, args, {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      execArgv: [...nodeFlags(this.name)],
      env: environmentWithoutSettings(),
      // A session of its own: Ctrl-C reaches the supervisor alone, which then ends its processes in order.
      detached: true,
    });
    this.#child = child;
    child.on('message', (message: StartedMessage) => {
      if (message.kind === 'started') this.#probesPort = message.probesPort;
    });
    for (const stream of [child.stdout, child.stderr])
      if (stream) createInterface({ input: stream }).on('line', (line) => this.#take(line));
    child.once('exit', (code, signal) => {
      if (this.#ending) return;
      this.#crashes = performance.now() - bornAt > HEALTHY_MS ? 0 : this.#crashes + 1;
      const pauseMs = Math.min(BACK_OFF_MAX_MS, BACK_OFF_FIRST_MS * 2 ** Math.max(0, this.#crashes - 1));
      log.error({ process: this.name, code, signal, pauseMs }, 'a process ended by itself and is started again');
      setTimeout(() => {
        if (!this.#ending) this.start();
      }, pauseMs);
    });
  }

  /**
   * Resolves when /readyz says so.
   * @throws FemtoError STATE_CONFLICT with the child's own last words when it keeps ending, or is not ready in time
   */
  async ready(): Promise<void> {
    let reason = 'it has not started to listen';
    for (const deadline = performance.now() + READY_TIMEOUT_MS; performance.now() < deadline; await sleep(50)) {
      if (this.#crashes >= 3 || this.#ending) break;
      if (this.#probesPort === undefined) continue;
      const state = await readyState(this.#options.probesHost, this.#probesPort);
      if (state === undefined) return;
      reason = state;
    }
    throw new FemtoError(
      'STATE_CONFLICT',
      `${this.name} is not ready: ${this.#lastWords ?? reason}. Its log: ${this.#options.logFile}`,
    );
  }

  /** SIGTERM, then after the drain's limit SIGKILL. */
  async stop(): Promise<void> {
    this.#ending = true;
    const child = this.#child;
    if (child && child.exitCode === null && child.signalCode === null) {
      const gone = new Promise((done) => child.once('exit', done));
      // Its last words come behind its end; a process of its own could hold the pipe open.
      const silent = new Promise((done) => child.once('close', done));
      child.kill('SIGTERM');
      const late = setTimeout(() => child.kill('SIGKILL'), KILL_AFTER_MS);
      await gone;
      clearTimeout(late);
      await Promise.race([silent, sleep(LAST_WORDS_MS, undefined, { ref: false })]);
    }
    this.#file.close();
  }

  #take(line: string): void {
    this.#file.write(`${line}\n`);
    const entry = parseLine(line);
    // A plain line is what a process says that could not even set up its log; of a stack, its message.
    if (entry ? entry.level >= 60 : /\S/.test(line) && !/^(\s|Node\.js v|file:)/.test(line))
      this.#lastWords = entry?.msg ?? line;
    this.#options.onLine(line);
  }
}

/** A pino line's level and message; undefined for anything else. */
export function parseLine(line: string): { level: number; msg: string; name: string } | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    const entry = JSON.parse(line) as { level?: unknown; msg?: unknown; name?: unknown; err?: { message?: unknown } };
    if (typeof entry.level !== 'number') return undefined;
    const text = (value: unknown): string => (typeof value === 'string' ? value : '');
    const cause = text(entry.err?.message);
    return {
      level: entry.level,
      msg: cause ? `${text(entry.msg)}: ${cause}` : text(entry.msg),
      name: text(entry.name),
    };
  } catch {
    return undefined; // a line of another program that happens to start with a brace
  }
}

/** Undefined when ready, else why not. */
function readyState(probesHost: string, port: number): Promise<string | undefined> {
  // A wildcard address is no destination.
  const host = probesHost === '0.0.0.0' ? '127.0.0.1' : probesHost === '::' ? '::1' : probesHost;
  return new Promise((done) => {
    const request = get({ host, port, path: '/readyz', timeout: 3_000 }, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        body += chunk;
      });
      response.on('end', () => done(response.statusCode === 200 ? undefined : body.trim()));
    });
    request.on('timeout', () => request.destroy(new Error('no answer on its probe port')));
    request.on('error', (error) => done(error.message));
  });
}
