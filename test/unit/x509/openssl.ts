import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Runs the openssl CLI on files given by name and content; returns stdout and stderr together. */
export function openssl(args: readonly string[], files: Readonly<Record<string, string | Buffer>> = {}): string {
  const folder = mkdtempSync(join(tmpdir(), 'x509-'));
  try {
    for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
    return execFileSync('sh', ['-c', 'exec openssl "$@" 2>&1', 'sh', ...args], { cwd: folder, encoding: 'latin1' });
  } catch (thrown) {
    const { stdout } = thrown as { stdout?: string };
    throw new Error(`openssl ${args.join(' ')}: ${stdout ?? String(thrown)}`);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
