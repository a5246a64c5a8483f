import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/** Creates a 0600 file in a 0700 folder. Fails rather than overwrite: a PIN that is lost is a token that is lost. */
export function writeSecretFile(path: string, content: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  writeFileSync(path, content, { mode: 0o600, flag: 'wx' });
}
