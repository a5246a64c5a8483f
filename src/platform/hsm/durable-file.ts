import { closeSync, fsyncSync, openSync, renameSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';

/** Writes a whole file so that after a crash it is the old one or the new one: write, fsync, rename, fsync the folder. */
export function writeDurably(path: string, content: Buffer | string, mode = 0o640): void {
  const draft = `${path}.new`;
  const bytes = Buffer.isBuffer(content) ? content : Buffer.from(content, 'utf8');
  const file = openSync(draft, 'w', mode);
  try {
    for (let at = 0; at < bytes.length; at += writeSync(file, bytes, at)) {
      // A disk that is nearly full takes part of it: go on until it takes all or throws.
    }
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(draft, path);
  const folder = openSync(dirname(path), 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}
