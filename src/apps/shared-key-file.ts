import { randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, linkSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { FemtoError } from '../platform/errors.js';

const KEY_BYTES = 32;
/** In the secrets folder: enrol-server verifies with what operator-server derived from it. */
export const MAC_KEY_FILE = 'cmp-mac.key';

/**
 * A secret that the replicas of one process, or two processes, share through a 0600 file, made by whoever comes first. `link` is atomic and
 * fails where the name is taken, so two that start at once end with one key.
 *
 * @throws FemtoError INTERNAL when the file is not such a key
 */
export function sharedKeyFile(path: string): Buffer {
  const known = readKey(path);
  if (known !== null) return known;
  const draft = `${path}.${process.pid}`;
  const file = openSync(draft, 'wx', 0o600);
  try {
    writeSync(file, randomBytes(KEY_BYTES));
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  try {
    linkSync(draft, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    rmSync(draft, { force: true });
  }
  const made = readKey(path);
  if (made === null) throw new FemtoError('INTERNAL', `The key file ${path} vanished; look at its directory.`);
  return made;
}

function readKey(path: string): Buffer | null {
  try {
    const key = readFileSync(path);
    if (key.length !== KEY_BYTES) {
      throw new FemtoError(
        'INTERNAL',
        `${path} is not ${KEY_BYTES} bytes; restore it, or remove it on every host at once.`,
      );
    }
    return key;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}
