/** What outlives the connector: which certificate a session showed, and how far the feed was enforced. */
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';

/** @typedef {ReturnType<typeof openStateDir>} StateDir */

/** @param {string} dir */
export function openStateDir(dir) {
  const sessions = join(dir, 'sessions');
  mkdirSync(sessions, { recursive: true, mode: 0o700 });
  const feed = join(dir, 'feed.json');
  const fileOf = (/** @type {string} */ spis) => {
    if (!/^[0-9a-f]{32}$/.test(spis)) throw new Error(`"${spis}" are no SPIs`);
    return join(sessions, `${spis}.der`);
  };
  return {
    /** @param {string} spis @param {Buffer} der */
    keep: (spis, der) => write(fileOf(spis), der),
    /** @param {string} spis @returns {Buffer | null} */
    certificate: (spis) => read(fileOf(spis)),
    /** @param {string} was @param {string} now */
    rename: (was, now) => renameSync(fileOf(was), fileOf(now)),
    /** @param {string} spis */
    forget: (spis) => rmSync(fileOf(spis), { force: true }),
    /** @param {ReadonlySet<string>} alive */
    forgetAllBut: (alive) => {
      for (const name of readdirSync(sessions)) if (!alive.has(name.split('.')[0] ?? '')) rmSync(join(sessions, name));
    },
    /** @returns {{ position: string, crls: Record<string, string> }} crls: URL by the issuer's key identifier */
    feed: () => {
      const text = read(feed)?.toString('utf8');
      return text === undefined ? { position: '0:0', crls: {} } : JSON.parse(text);
    },
    /** @param {{ position: string, crls: Record<string, string> }} state */
    keepFeed: (state) => write(feed, Buffer.from(JSON.stringify(state))),
  };
}

/** The old content or the new one, never half, also after a power cut. @param {string} file @param {Buffer} content */
function write(file, content) {
  const draft = `${file}.draft`;
  const handle = openSync(draft, 'w', 0o600);
  try {
    writeSync(handle, content);
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
  renameSync(draft, file);
}

/** @param {string} file @returns {Buffer | null} */
function read(file) {
  try {
    return readFileSync(file);
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code === 'ENOENT') return null;
    throw error;
  }
}
