/**
 * Watches over the signer's class processes: starts them, gives them their turns to log in, replaces the one that hangs,
 * ends them all when a key is refused.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { statSync } from 'node:fs';
import { createServer } from 'node:http';
import type { pino } from 'pino';
import type { ChildMessage, ParentMessage } from '../platform/hsm/child-messages.js';
import { KEY_CLASSES, type KeyClass } from '../platform/hsm/key-class.js';
import { readSignerConfig } from '../platform/hsm/signer-config.js';
import type { DeskCounts } from '../platform/hsm/signing-desk.js';
import { retryDelayMs } from '../platform/hsm/token-fault.js';
import { EXIT_KEY_REFUSED } from './signer-class.js';

const PING_EVERY_MS = 1_000;
/** A token call that takes longer has hung: the deadline of one signature. */
const HANG_MS = 5_000;
/** Finding and logging in to a device over a network takes longer than a signature. */
const OPEN_MS = 30_000;
/** Loading the sources and the module comes before the first answer to a ping. */
const START_MS = 15_000;
const STOP_MS = 5_000;

interface ClassProcess {
  readonly keyClass: KeyClass;
  child: ChildProcess | undefined;
  state: string;
  heardMs: number;
  restarts: number;
  counts: DeskCounts;
  journalled: number;
  loopDelayP99Ms: number;
}

export class SignerParent {
  private readonly classes: ClassProcess[];
  private readonly loginQueue: ClassProcess[] = [];
  private loggingIn: ClassProcess | undefined;
  private stopping = false;
  private timer: NodeJS.Timeout | undefined;
  private watchedMs = performance.now();
  private fileStamp: string;
  /** Classes that have yet to start anew with a changed file. */
  private toRenew: ClassProcess[] = [];
  private renewing: ClassProcess | undefined;

  constructor(
    /** Module that a class process runs; it is given `--class` and `--signer-config`. */
    private readonly modulePath: string,
    private readonly configPath: string,
    private readonly log: pino.Logger,
  ) {
    this.fileStamp = stampOf(configPath);
    this.classes = KEY_CLASSES.map((keyClass) => ({
      keyClass,
      child: undefined,
      state: 'starting',
      heardMs: 0,
      restarts: 0,
      counts: { signed: {}, refused: {}, queued: 0 },
      journalled: 0,
      loopDelayP99Ms: 0,
    }));
  }

  start(): void {
    for (const one of this.classes) this.spawn(one);
    this.timer = setInterval(() => this.watch(), PING_EVERY_MS);
  }

  async stop(exitCode: number): Promise<never> {
    this.stopping = true;
    clearInterval(this.timer);
    const ends = this.classes.map(
      ({ child }) =>
        new Promise<void>((resolve) => {
          if (!child || child.exitCode !== null || child.signalCode !== null) return resolve();
          child.once('exit', () => resolve());
          if (child.connected) send(child, { kind: 'stop' });
          setTimeout(() => child.kill('SIGKILL'), STOP_MS).unref();
        }),
    );
    await Promise.all(ends);
    process.exit(exitCode);
  }

  get isReady(): boolean {
    return this.classes.every(({ state }) => state === 'ready');
  }

  metrics(): string {
    const lines = ['# TYPE femtopki_signer_ready gauge', '# TYPE femtopki_signer_signatures_total counter'];
    for (const { keyClass, state, counts, restarts, journalled, loopDelayP99Ms } of this.classes) {
      lines.push(`femtopki_signer_ready{class="${keyClass}"} ${state === 'ready' ? 1 : 0}`);
      lines.push(`femtopki_signer_restarts_total{class="${keyClass}"} ${restarts}`);
      lines.push(`femtopki_signer_journal_seq{class="${keyClass}"} ${journalled}`);
      lines.push(`femtopki_signer_queued{class="${keyClass}"} ${counts.queued}`);
      lines.push(`femtopki_signer_loop_delay_p99_seconds{class="${keyClass}"} ${loopDelayP99Ms / 1_000}`);
      for (const [key, count] of Object.entries(counts.signed)) {
        lines.push(`femtopki_signer_signatures_total{class="${keyClass}",key="${key}"} ${count}`);
      }
      for (const [code, count] of Object.entries(counts.refused)) {
        lines.push(`femtopki_signer_refusals_total{class="${keyClass}",code="${code}"} ${count}`);
      }
    }
    return `${lines.join('\n')}\n`;
  }

  states(): Record<string, string> {
    return Object.fromEntries(this.classes.map(({ keyClass, state }) => [keyClass, state]));
  }

  private spawn(one: ClassProcess): void {
    const args = ['--class', one.keyClass, '--signer-config', this.configPath];
    const child = fork(this.modulePath, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    one.child = child;
    one.state = 'starting';
    one.heardMs = performance.now() + START_MS - HANG_MS;
    child.on('message', (message: ChildMessage) => this.hear(one, message));
    child.on('error', (fault) => this.log.error({ keyClass: one.keyClass, err: fault }, 'class process error'));
    child.on('exit', (code, signal) => this.ended(one, code, signal));
  }

  private hear(one: ClassProcess, message: ChildMessage): void {
    one.heardMs = performance.now();
    switch (message.kind) {
      case 'may-login':
        this.loginQueue.push(one);
        this.grantNext();
        break;
      case 'login-over':
        this.releaseLogin(one);
        break;
      case 'state':
        one.state = message.state;
        if (message.state === 'ready') {
          one.restarts = 0;
          if (this.renewing === one) this.renewNext();
          if (this.isReady) this.log.info('every key class is ready');
        }
        break;
      case 'pong':
        one.counts = message.counts;
        one.journalled = message.journalled;
        one.loopDelayP99Ms = message.loopDelayP99Ms;
        // Its loop goes on while a thread of it hangs in the token.
        if (message.tokenSilentMs > this.deadlineMs(one)) this.replace(one);
        break;
      case 'key-refused':
        this.log.fatal({ keyClass: one.keyClass }, message.message);
        break;
    }
  }

  /** One login at a time: the first wrong PIN sets the marker before the next class looks at it. */
  private grantNext(): void {
    if (this.loggingIn) return;
    const next = this.loginQueue.shift();
    if (!next?.child?.connected) {
      if (next) this.grantNext();
      return;
    }
    this.loggingIn = next;
    send(next.child, { kind: 'login-granted' });
  }

  private releaseLogin(one: ClassProcess): void {
    if (this.loggingIn !== one) return;
    this.loggingIn = undefined;
    this.grantNext();
  }

  private watch(): void {
    const now = performance.now();
    // Where this process did not get its own turn in time, its children did not either: that is no hanging token.
    const lateMs = now - this.watchedMs - PING_EVERY_MS;
    this.watchedMs = now;
    if (lateMs > PING_EVERY_MS) for (const one of this.classes) one.heardMs += lateMs;
    this.lookAtFile();
    for (const one of this.classes) {
      const { child } = one;
      if (!child?.connected) continue;
      if (now - one.heardMs > this.deadlineMs(one)) this.replace(one);
      else send(child, { kind: 'ping' });
    }
  }

  /** A ceremony has given the signer more keys: the classes start anew one after another, each once the last is ready. */
  private lookAtFile(): void {
    const stamp = stampOf(this.configPath);
    if (stamp === this.fileStamp) return;
    this.fileStamp = stamp;
    try {
      readSignerConfig(this.configPath);
    } catch (fault) {
      this.log.error({ err: fault }, 'the signer’s file changed and is refused; going on with what was read');
      return;
    }
    this.log.info('the signer’s file changed; its classes start anew, one after another');
    this.toRenew = [...this.classes];
    this.renewNext();
  }

  private renewNext(): void {
    const next = this.toRenew.shift();
    this.renewing = next;
    if (next?.child?.connected) send(next.child, { kind: 'stop' });
    // Its next start reads the file anyway.
    else if (next) this.renewNext();
    else this.log.info('every key class has taken up the changed file');
  }

  private deadlineMs(one: ClassProcess): number {
    return this.loggingIn === one ? OPEN_MS : HANG_MS;
  }

  /** Nothing short of its end gets a process out of a call into a hanging module. */
  private replace(one: ClassProcess): void {
    this.log.error({ keyClass: one.keyClass, pid: one.child?.pid }, 'the token does not answer; replacing its process');
    one.state = 'hung';
    one.child?.kill('SIGKILL');
  }

  private ended(one: ClassProcess, code: number | null, signal: NodeJS.Signals | null): void {
    one.child = undefined;
    one.state = 'restarting';
    const waiting = this.loginQueue.indexOf(one);
    if (waiting >= 0) this.loginQueue.splice(waiting, 1);
    this.releaseLogin(one);
    if (this.stopping) return;
    if (code === EXIT_KEY_REFUSED) {
      // HSM-1: a key that is not what it must be stops the whole signer, and a person reads why.
      void this.stop(EXIT_KEY_REFUSED);
      return;
    }
    if (this.renewing === one && code === 0) {
      this.spawn(one);
      return;
    }
    const delayMs = retryDelayMs(one.restarts);
    one.restarts += 1;
    this.log.error({ keyClass: one.keyClass, code, signal, delayMs }, 'class process ended; starting it again');
    setTimeout(() => {
      if (!this.stopping) this.spawn(one);
    }, delayMs);
  }
}

function send(child: ChildProcess, message: ParentMessage): void {
  // A child that died a moment ago is seen by 'exit'; its closed channel is no news.
  child.send(message, (fault) => fault && child.emit('message-lost', fault));
}

function stampOf(path: string): string {
  const found = statSync(path, { throwIfNoEntry: false });
  return found ? `${found.ino}:${found.mtimeMs}:${found.size}` : 'none';
}

export interface Listener {
  readonly host: string;
  readonly port: number;
}

export function serveMetrics({ host, port }: Listener, parent: SignerParent, log: pino.Logger): void {
  const server = createServer((request, response) => {
    if (request.url === '/metrics') {
      response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4' }).end(parent.metrics());
    } else if (request.url === '/healthz' || request.url === '/readyz') {
      const isUp = request.url === '/healthz' || parent.isReady;
      response.writeHead(isUp ? 200 : 503, { 'content-type': 'application/json' }).end(JSON.stringify(parent.states()));
    } else {
      response.writeHead(404).end();
    }
  });
  // Probes are no reason to stop signing.
  server.on('error', (fault) => log.error({ err: fault, port }, 'the metrics port cannot be opened'));
  server.listen(port, host);
}
