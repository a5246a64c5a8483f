import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';

/**
 * The five things that a unit does to its flash. Each is its own step so that a test can cut the power between any two:
 * what was not followed by its sync may be gone afterwards, in any mix.
 */
export interface DeviceFiles {
  /** Null when there is no such file. */
  read(name: string): Buffer | null;
  /** Content may be lost until {@link sync}. */
  write(name: string, content: Buffer): void;
  sync(name: string): void;
  /** The new name may be lost until {@link syncDirectory}. */
  rename(from: string, to: string): void;
  syncDirectory(): void;
}

/** Real files in one directory, 0600. */
export function deviceFiles(dir: string): DeviceFiles {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const path = (name: string): string => join(dir, name);
  const syncPath = (file: string): void => {
    const handle = openSync(file, 'r');
    try {
      fsyncSync(handle);
    } finally {
      closeSync(handle);
    }
  };
  return {
    read: (name) => {
      try {
        return readFileSync(path(name));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
        throw error;
      }
    },
    write: (name, content) => {
      const handle = openSync(path(name), 'w', 0o600);
      try {
        for (let at = 0; at < content.length; at += writeSync(handle, content, at)) {
          // A nearly full flash takes part of it: on until it takes all or throws.
        }
      } finally {
        closeSync(handle);
      }
    },
    sync: (name) => syncPath(path(name)),
    rename: (from, to) => renameSync(path(from), path(to)),
    syncDirectory: () => syncPath(dirname(path('x'))),
  };
}

/** Old content or new content, never a mixture, whenever the power goes: write new, sync, rename, sync the directory. */
export function replaceDurably(files: DeviceFiles, name: string, content: Buffer): void {
  const draft = `${name}.new`;
  files.write(draft, content);
  files.sync(draft);
  files.rename(draft, name);
  files.syncDirectory();
}
