import { entryLeaf } from './entry-hash.js';
import { consistencyProof, MerkleFrontier, type SubtreeHash, subtreeHashOf } from './merkle.js';

export interface GrownTree {
  readonly tree: MerkleFrontier;
  /** RFC 6962 proof that `tree` extends the old size. */
  readonly proof: Buffer[];
}

/**
 * Grows a tree by entries and proves it. Only the old frontier and the new hashes are needed: whatever part of the old
 * tree a consistency proof names is one of its complete subtrees, and everything else in it is new.
 *
 * @param hashes  entry hashes in order, from the one after `oldSize`
 */
export function growTree(oldSize: number, oldFrontier: readonly Buffer[], hashes: readonly Buffer[]): GrownTree {
  const tree = new MerkleFrontier(oldSize, oldFrontier);
  const leaves = hashes.map(entryLeaf);
  for (const leaf of leaves) tree.append(leaf);
  const old = subtreesByPlace(oldSize, oldFrontier);
  const read: SubtreeHash = (level, index) => {
    const known = old.get(`${level}:${index}`);
    if (known) return known;
    const width = 2 ** level;
    const start = index * width - oldSize;
    if (start < 0) throw new RangeError(`the subtree ${level}:${index} is older than the frontier and not part of it`);
    return level === 0 ? subtreeHashOf(leaves)(0, start) : subtreeOf(leaves, start, level);
  };
  return { tree, proof: consistencyProof(oldSize, tree.size, read) };
}

/** Hash over 2^level leaves from `start`. */
function subtreeOf(leaves: readonly Buffer[], start: number, level: number): Buffer {
  const part = leaves.slice(start, start + 2 ** level);
  return subtreeHashOf(part)(level, 0);
}

/** Level and index of each complete subtree of a frontier, largest first. */
function subtreesByPlace(size: number, frontier: readonly Buffer[]): Map<string, Buffer> {
  const places = new Map<string, Buffer>();
  let start = 0;
  let left = size;
  for (const hash of frontier) {
    const level = Math.floor(Math.log2(left));
    places.set(`${level}:${start / 2 ** level}`, hash);
    start += 2 ** level;
    left -= 2 ** level;
  }
  return places;
}
