/** Files that outlive the connector. */
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';

/** The old content or the new one, never half, also after a power cut. @param {string} file @param {...Buffer} contents */
export function write(file, ...contents) {
  const draft = `${file}.draft`;
  const handle = openSync(draft, 'w', 0o600);
  try {
    for (const content of contents) for (let at = 0; at < content.length; ) at += writeSync(handle, content, at);
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
  renameSync(draft, file);
  const dir = openSync(dirname(file), 'r');
  try {
    fsyncSync(dir);
  } finally {
    closeSync(dir);
  }
}

/** @param {string} file @returns {Buffer | null} */
export function read(file) {
  try {
    return readFileSync(file);
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code === 'ENOENT') return null;
    throw error;
  }
}
