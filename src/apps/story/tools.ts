import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** What a program said. Verdicts are read from its text: `openssl ocsp` exits 0 on good and revoked alike. */
export interface Said {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

const TIMEOUT_MS = 30_000;
const OUTPUT_BYTES_MAX = 1_000_000;

/** Runs a program to its end, 30 s at most. Arguments are a list: no shell reads them. */
export function run(
  program: string,
  args: readonly string[],
  options: { cwd: string; input?: string | Buffer },
): Promise<Said> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd: options.cwd, stdio: ['pipe', 'pipe', 'pipe'], timeout: TIMEOUT_MS });
    const out = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', (text: string) => {
        if (out[name].length < OUTPUT_BYTES_MAX) out[name] += text;
      });
    }
    child.once('error', (error) => reject(new Error(`${program} cannot be started: ${error.message}`)));
    child.once('close', (code) => resolve({ code: code ?? -1, ...out }));
    // A program that ends without reading its input closes the pipe under us; its exit code says why.
    child.stdin.once('error', () => undefined);
    child.stdin.end(options.input ?? '');
  });
}

export function isInstalled(program: string): boolean {
  return (process.env['PATH'] ?? '').split(delimiter).some((dir) => existsSync(join(dir, program)));
}

/** Runs the CLI as a person would, and reads its JSON. */
export async function femtopki(
  place: { dataDir: string; operatorUrl: string; cwd: string },
  args: readonly string[],
  person: 'operator' | 'approver' = 'operator',
): Promise<Record<string, unknown>> {
  const program = fileURLToPath(new URL('../../../bin/femtopki.mjs', import.meta.url));
  const globals = ['--data', place.dataDir, '--server', place.operatorUrl, '--as', person, '-o', 'json'];
  const said = await run(process.execPath, [program, ...args, ...globals], { cwd: place.cwd });
  if (said.code !== 0) throw new Error(`femtopki ${args.slice(0, 2).join(' ')}: ${said.stderr.trim()}`);
  return JSON.parse(said.stdout) as Record<string, unknown>;
}

/** The first line that matches, without its line end; empty when none does. */
export function lineWith(text: string, pattern: RegExp): string {
  return (
    text
      .split('\n')
      .find((line) => pattern.test(line))
      ?.trim() ?? ''
  );
}
