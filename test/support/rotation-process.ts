import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { RotationChildSettings } from './rotation-child.js';

export interface RotationProcess {
  readonly exited: Promise<NodeJS.Signals | number | null>;
  kill(): Promise<void>;
}

const CHILD = fileURLToPath(new URL('./rotation-child.ts', import.meta.url));
const LOADER = new URL('../../bin/ts-loader.mjs', import.meta.url).href;

/** Resolves when it works. */
export async function startRotation(settings: RotationChildSettings): Promise<RotationProcess> {
  const child: ChildProcess = spawn(process.execPath, ['--import', LOADER, CHILD, JSON.stringify(settings)], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NODE_OPTIONS: '' },
  });
  let said = '';
  child.stderr?.on('data', (data) => {
    said = `${said}${String(data)}`.slice(-4_000);
  });
  const exited = new Promise<NodeJS.Signals | number | null>((done) =>
    child.once('exit', (code, signal) => done(signal ?? code)),
  );
  await Promise.race([
    new Promise<void>((ready) => child.stdout?.once('data', () => ready())),
    exited.then((how) => {
      throw new Error(`the rotation process ended with ${how}: ${said}`);
    }),
  ]);
  return {
    exited,
    kill: async () => {
      child.kill('SIGKILL');
      await exited;
    },
  };
}
