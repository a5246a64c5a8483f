import { spawnSync } from 'node:child_process';

export interface CommandResult {
  readonly code: number | null;
  /** Standard output and standard error, in that order. */
  readonly text: string;
}

/** Runs a real client and waits. A client that is not installed fails the test with the command that installs it. */
export function run(command: string, args: readonly string[], input?: Buffer): CommandResult {
  const result = spawnSync(command, args, { input, timeout: 20_000, maxBuffer: 16 * 1024 * 1024 });
  if (result.error) throw new Error(`${command} did not run (${result.error.message}): node bin/prepare.mjs test`);
  return { code: result.status, text: `${result.stdout.toString('utf8')}${result.stderr.toString('utf8')}` };
}
