import { randomBytes } from 'node:crypto';
import type { Stats } from 'node:fs';
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { CrlFiles, PublishedCrl } from '../../lifecycle/status/index.js';
import { failpoint } from '../../platform/failpoint.js';
import { readCrl } from '../../x509/crl.js';
import { CRL_NAME } from '../../x509/crl-part.js';

/**
 * `<directory>/<label>.crl`, DER. A reader sees the old file or the new one, never a part: written beside it, synced,
 * renamed, and the directory synced, so that not even a power cut brings back half a CRL (fault S3).
 */
export function makeCrlDirectory(directory: string): CrlFiles {
  return {
    stamp: async (label) => {
      try {
        return stampOf(await stat(pathOf(directory, label)));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
        throw error;
      }
    },
    newest: async (label) => readPublished(pathOf(directory, label)),
    publish: async (label, der) => {
      await mkdir(directory, { recursive: true, mode: 0o755 });
      await removeDrafts(directory, label);
      const path = pathOf(directory, label);
      const draft = `${path}.${randomBytes(6).toString('hex')}.new`;
      try {
        const stamp = await writeSynced(draft, der);
        await failpoint('crl-before-rename');
        await rename(draft, path);
        await syncDirectory(directory);
        return stamp;
      } catch (error) {
        await rm(draft, { force: true });
        throw error;
      }
    },
  };
}

/** Names of the CRLs that lie there, without their `.crl`; none where there is no directory. */
export async function crlNamesIn(directory: string): Promise<string[]> {
  try {
    const files = (await readdir(directory)).filter((file) => file.endsWith('.crl'));
    return files.map((file) => file.slice(0, -'.crl'.length)).filter((name) => CRL_NAME.test(name));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

/** The inode too: two files within one tick of the clock still differ, because each is a new one. */
export function stampOf({ ino, mtimeMs, size }: Stats): string {
  return `${ino}:${mtimeMs}:${size}`;
}

function pathOf(directory: string, label: string): string {
  // Labels come from the ceremony file; the check keeps a hostile one inside the directory.
  if (!CRL_NAME.test(label)) throw new RangeError(`"${label}" is no issuer label`);
  return join(directory, `${label}.crl`);
}

async function readPublished(path: string): Promise<PublishedCrl | null> {
  let der: Buffer;
  try {
    der = await readFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
  try {
    const { number, thisUpdate, nextUpdate } = readCrl(der);
    return number === undefined ? null : { number, thisUpdate, nextUpdate, der };
  } catch {
    // Not a CRL: the publisher writes the recorded one over it.
    return null;
  }
}

/** @returns its stamp, which a new name does not change */
async function writeSynced(path: string, der: Buffer): Promise<string> {
  const file = await open(path, 'wx', 0o644);
  try {
    await file.writeFile(der);
    await file.sync();
    return stampOf(await file.stat());
  } finally {
    await file.close();
  }
}

async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** What a killed publisher left behind; there is only one publisher (lease), so nobody else is writing these. */
async function removeDrafts(directory: string, label: string): Promise<void> {
  const drafts = (await readdir(directory)).filter((name) => name.startsWith(`${label}.crl.`) && name.endsWith('.new'));
  await Promise.all(drafts.map((name) => rm(join(directory, name), { force: true })));
}
