import { spawn, spawnSync } from 'node:child_process';

export interface CommandResult {
  readonly code: number | null;
  /** Standard output and standard error, in that order. */
  readonly text: string;
}

/** Runs a real client and waits. A client that is not installed fails the test with the command that installs it. */
export function run(command: string, args: readonly string[], input?: Buffer): CommandResult {
  const result = spawnSync(command, args, { input, timeout: 20_000, maxBuffer: 16 * 1024 * 1024 });
  if (result.error) throw notRun(command, result.error);
  return { code: result.status, text: `${result.stdout.toString('utf8')}${result.stderr.toString('utf8')}` };
}

/** The same beside the test's own event loop: for clients of a server that lives in the test. */
export async function runClient(command: string, args: readonly string[]): Promise<CommandResult> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: 20_000 });
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => err.push(chunk));
  const code = await new Promise<number | null>((done, fail) => {
    child.once('error', (error) => fail(notRun(command, error)));
    child.once('close', done);
  });
  return { code, text: `${Buffer.concat(out).toString('utf8')}${Buffer.concat(err).toString('utf8')}` };
}

function notRun(command: string, error: Error): Error {
  return new Error(`${command} did not run (${error.message}): node bin/prepare.mjs test`);
}
