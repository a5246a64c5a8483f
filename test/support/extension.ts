/** A later ceremony, held beside a running signer. */
import { spawnSync } from 'node:child_process';
import { resolve } from 'node:path';
import { softhsmModule } from './token.js';

export const NEXT_ROOT = resolve('hsm-config', 'ceremony', 'next-access-root.yaml');

/** @returns what it complained of; empty when it was held */
export function extend(dataDir: string, file = NEXT_ROOT, statusUrl = 'http://127.0.0.1:8080'): string {
  const script = resolve('test', 'support', 'extension-child.ts');
  const args = ['--import', resolve('bin', 'ts-loader.mjs'), script, file, dataDir, softhsmModule(), statusUrl];
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  return status === 0 ? '' : stderr;
}
