/** What outlives the connector: which certificate a session showed, and how far the feed was enforced. */
import { mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { read, write } from './whole-file.mjs';

/**
 * @typedef {ReturnType<typeof openStateDir>} StateDir
 * @typedef {object} FeedState
 * @property {string} position  enforced up to here
 * @property {Record<string, import('./crl-shelf.mjs').CrlPlace>} places  by the issuer's key identifier
 */

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
    /** @returns {FeedState} */
    feed: () => {
      const text = read(feed)?.toString('utf8');
      return text === undefined ? { position: '0:0', places: {} } : JSON.parse(text);
    },
    /** @param {FeedState} state */
    keepFeed: (state) => write(feed, Buffer.from(JSON.stringify(state))),
  };
}
