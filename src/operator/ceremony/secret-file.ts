import { existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/**
 * Creates a 0600 file in a 0700 folder. One that is there already belongs to the tokens of an interrupted ceremony, which
 * were moved aside: so is it, because a PIN that is lost is a token that is lost.
 */
export function writeSecretFile(path: string, content: string, at: Date): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  if (existsSync(path)) renameSync(path, `${path}.unfinished-${at.getTime()}`);
  writeFileSync(path, content, { mode: 0o600, flag: 'wx' });
}
