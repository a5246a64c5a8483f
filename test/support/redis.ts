/** A real Redis for one test file: Debian's redis-server on a unix socket, append-only file on, no eviction. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export interface TestRedis {
  /** For `new Redis({ path })` of ioredis. */
  readonly socketPath: string;
  /** Of the server that runs now. */
  readonly pid: number;
  /** SIGKILL, as in a crash; the append-only file stays. */
  kill(): Promise<void>;
  /** Starts it again on the same data. */
  restart(): Promise<void>;
  /** Ends it and removes its data. Call in afterAll. */
  stop(): Promise<void>;
}

export async function startRedis(): Promise<TestRedis> {
  const dir = mkdtempSync(join(tmpdir(), 'fp-redis-'));
  const socketPath = join(dir, 's');
  let server = await launch(dir, socketPath);
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (server.exitCode !== null || server.signalCode !== null) return;
    const gone = new Promise((done) => server.once('exit', done));
    server.kill(signal);
    await gone;
  };
  return {
    socketPath,
    get pid() {
      return server.pid ?? 0;
    },
    kill: () => end('SIGKILL'),
    restart: async () => {
      await end('SIGTERM');
      server = await launch(dir, socketPath);
    },
    stop: async () => {
      await end('SIGTERM');
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

function launch(dir: string, socketPath: string): Promise<ChildProcess> {
  return launchRedis(dir, { port: '0' }, socketPath);
}

/** @param dir  made where it is missing @returns when it answers on its socket */
export async function launchRedis(
  dir: string,
  changes: Readonly<Record<string, string>>,
  socketPath: string = join(dir, 's'),
): Promise<ChildProcess> {
  mkdirSync(dir, { recursive: true });
  rmSync(socketPath, { force: true });
  const settings = {
    ...changes,
    unixsocket: socketPath,
    unixsocketperm: '700',
    dir,
    appendonly: 'yes',
    save: '',
    'maxmemory-policy': 'noeviction',
  };
  const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
  const server = spawn('redis-server', args, { stdio: 'ignore' });
  let failure: Error | undefined;
  server.once('error', (error) => {
    failure = error;
  });
  for (let tries = 0; tries < 400; tries++) {
    if (failure) throw new Error(`redis-server did not start (${failure.message}): run "node bin/prepare.mjs test".`);
    if (server.exitCode !== null) throw new Error(`redis-server ended with ${server.exitCode}.`);
    if (await answers(socketPath)) return server;
    await sleep(25);
  }
  server.kill('SIGKILL');
  throw new Error('redis-server was not ready after 10 s.');
}

function answers(socketPath: string): Promise<boolean> {
  return new Promise((done) => {
    const socket = connect(socketPath);
    socket.once('error', () => done(false));
    socket.once('data', (data) => {
      socket.destroy();
      done(data.toString().startsWith('+PONG'));
    });
    socket.once('connect', () => socket.write('PING\r\n'));
  });
}
