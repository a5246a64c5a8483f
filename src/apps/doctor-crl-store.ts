import { critical, fine, warning } from '../operator/cli/finding.js';
import type { Config } from '../platform/config/config.js';
import type { DataPaths } from '../platform/data-directory.js';
import { crlSources, openCrlStore } from './crl-store.js';

/** A copy may be so much younger on the disk before somebody is told. */
const BEHIND_MS = 60_000;

/** Does the store hold what lies on this host's disk? Reads every CRL that is there; changes nothing. */
export async function crlStoreState(config: Config, paths: DataPaths) {
  const store = openCrlStore(config);
  if (!store) return fine('not configured: CRLs lie on the disk alone');
  const behind: string[] = [];
  const newer: string[] = [];
  let count = 0;
  for (const { names, files } of crlSources(paths)) {
    for (const name of await names()) {
      const mine = await files.newest(name);
      if (!mine) continue;
      count += 1;
      const theirs = await store.newest(name);
      const isYoung = Date.now() - mine.thisUpdate.getTime() < BEHIND_MS;
      if (theirs && theirs.number > mine.number) newer.push(`${name} #${theirs.number}, here #${mine.number}`);
      else if (!theirs?.der.equals(mine.der) && !isYoung)
        behind.push(`${name} #${theirs?.number ?? 'none'}, here #${mine.number}`);
    }
  }
  if (behind.length > 0)
    return critical(
      `the store is behind: ${behind.join('; ')}`,
      'See the log of rotation-worker, and docs/crl-store.md.',
    );
  return newer.length > 0
    ? warning(
        `the store is ahead of this host: ${newer.join('; ')}`,
        'See that rotation-worker runs here; if it does, find out who else may write to the bucket.',
      )
    : fine(`${count} CRLs lie in the store as on the disk`);
}
