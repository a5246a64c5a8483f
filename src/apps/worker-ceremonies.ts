import { statSync } from 'node:fs';
import { enterHierarchy } from '../lifecycle/registry/index.js';
import { issuerStore } from '../lifecycle/registry/issuer-store.pg.js';
import { readHierarchy } from '../platform/hsm/hierarchy.js';
import type { Core } from './wire-core.js';

/**
 * Enters what a later ceremony made, once its file has changed; the database says whether it was news. The returned
 * function gives the labels that were.
 */
export function ceremonyWatch(
  { transactor, ledger, issuers, clock }: Core,
  hierarchyFile: string,
): () => Promise<string[]> {
  let seen = '';
  return async () => {
    const { ino, mtimeMs, size } = statSync(hierarchyFile);
    const stamp = `${ino}:${mtimeMs}:${size}`;
    if (stamp === seen) return [];
    const hierarchy = readHierarchy(hierarchyFile);
    const entered = await transactor.run((tx) =>
      enterHierarchy({ issuers: issuerStore, ledger }, tx, hierarchy, clock.now()),
    );
    seen = stamp;
    await issuers.refresh();
    return entered;
  };
}
