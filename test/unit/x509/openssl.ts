import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

type Files = Readonly<Record<string, string | Buffer>>;

/** Runs the openssl CLI on files given by name and content; returns stdout and stderr together. */
export function openssl(args: readonly string[], files: Files = {}): string {
  return inFolder(files, (folder) => run(args, folder));
}

/** The same, and returns the file `output` that it wrote. */
export function opensslFile(args: readonly string[], files: Files, output: string): Buffer {
  return inFolder(files, (folder) => {
    run(args, folder);
    return readFileSync(join(folder, output));
  });
}

function run(args: readonly string[], cwd: string): string {
  try {
    return execFileSync('sh', ['-c', 'exec openssl "$@" 2>&1', 'sh', ...args], { cwd, encoding: 'latin1' });
  } catch (thrown) {
    const { stdout } = thrown as { stdout?: string };
    throw new Error(`openssl ${args.join(' ')}: ${stdout ?? String(thrown)}`);
  }
}

function inFolder<T>(files: Files, act: (folder: string) => T): T {
  const folder = mkdtempSync(join(tmpdir(), 'x509-'));
  try {
    for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
    return act(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
