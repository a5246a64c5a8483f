/**
 * RFC 6962 section 2.1 Merkle tree over SHA-256: heads, inclusion proofs, consistency proofs. Pure and synchronous.
 *
 * {@link MerkleFrontier} appends in O(log n) memory: it keeps the roots of the complete subtrees only, so a sequencer
 * survives a restart from a few hundred bytes. Proofs need old hashes: {@link inclusionProof} and
 * {@link consistencyProof} ask for them through a {@link SubtreeHash} reader, or take all leaves ({@link subtreeHashOf}).
 */
import { createHash, hash } from 'node:crypto';

export const HASH_BYTES = 32;

const LEAF_PREFIX = Buffer.from([0x00]);
const NODE_PREFIX = Buffer.from([0x01]);

/** SHA-256(00 ‖ entry): the prefix keeps a leaf from ever being read as a node (second pre-image). */
export function leafHash(entry: Uint8Array): Buffer {
  return hash('sha256', Buffer.concat([LEAF_PREFIX, entry]), 'buffer');
}

export function nodeHash(left: Uint8Array, right: Uint8Array): Buffer {
  return hash('sha256', Buffer.concat([NODE_PREFIX, left, right]), 'buffer');
}

/** Head of the tree of no entries: SHA-256 of the empty string. */
export const EMPTY_ROOT: Buffer = createHash('sha256').digest();

/** An append-only tree that remembers only what future roots need. Not for concurrent use. */
export class MerkleFrontier {
  #size: number;
  /** Roots of complete subtrees, largest first: one for each set bit of the size. */
  readonly #subtrees: Buffer[];

  /**
   * @param size      entries appended so far
   * @param subtrees  as {@link MerkleFrontier.subtrees} gave them for that size
   * @throws RangeError when the two do not fit together
   */
  constructor(size = 0, subtrees: readonly Buffer[] = []) {
    checkSize(size);
    if (subtrees.length !== countBits(size) || subtrees.some((hash) => hash.length !== HASH_BYTES)) {
      throw new RangeError(`a frontier of size ${size} has ${countBits(size)} hashes of ${HASH_BYTES} bytes`);
    }
    this.#size = size;
    this.#subtrees = [...subtrees];
  }

  get size(): number {
    return this.#size;
  }

  /** What to store to go on later. */
  get subtrees(): readonly Buffer[] {
    return [...this.#subtrees];
  }

  /** Appends one leaf hash (not the entry: see {@link leafHash}). */
  append(leaf: Buffer): void {
    if (leaf.length !== HASH_BYTES) throw new RangeError(`a leaf hash has ${HASH_BYTES} bytes`);
    let hash = leaf;
    // Each trailing set bit of the size is a complete subtree of just that height, which the new one completes.
    for (let carried = this.#size; carried % 2 === 1; carried = (carried - 1) / 2) {
      hash = nodeHash(this.#subtrees.pop() ?? EMPTY_ROOT, hash);
    }
    this.#subtrees.push(hash);
    this.#size += 1;
  }

  root(): Buffer {
    const [last, ...higher] = [...this.#subtrees].reverse();
    if (!last) return EMPTY_ROOT;
    return higher.reduce((right, left) => nodeHash(left, right), last);
  }
}

/**
 * Hash of the subtree over leaves [start, start + 2^level): only complete, aligned subtrees are asked for, so a store
 * may keep them for ever.
 */
export type SubtreeHash = (level: number, index: number) => Buffer;

/** A reader over leaf hashes held in memory. */
export function subtreeHashOf(leaves: readonly Buffer[]): SubtreeHash {
  const read: SubtreeHash = (level, index) => {
    if (level === 0) return leaves[index] ?? missingLeaf(index);
    return nodeHash(read(level - 1, 2 * index), read(level - 1, 2 * index + 1));
  };
  return read;
}

/** Root of the first `size` leaves. */
export function treeRoot(size: number, subtree: SubtreeHash): Buffer {
  checkSize(size);
  return size === 0 ? EMPTY_ROOT : rangeHash(0, size, subtree);
}

/** PATH(index, D[size]), RFC 6962 section 2.1.1: from the leaf upwards. */
export function inclusionProof(index: number, size: number, subtree: SubtreeHash): Buffer[] {
  checkSize(size);
  if (!Number.isSafeInteger(index) || index < 0 || index >= size) throw new RangeError('the leaf is not in the tree');
  const path: Buffer[] = [];
  let [start, end] = [0, size];
  while (end - start > 1) {
    const split = start + splitOf(end - start);
    if (index < split) {
      path.unshift(rangeHash(split, end, subtree));
      end = split;
    } else {
      path.unshift(rangeHash(start, split, subtree));
      start = split;
    }
  }
  return path;
}

/** Is the leaf the `index`-th of the tree with this root? RFC 9162 section 2.1.3.2. False for any malformed input. */
export function verifyInclusion(options: {
  leaf: Buffer;
  index: number;
  size: number;
  proof: readonly Buffer[];
  root: Buffer;
}): boolean {
  const { leaf, index, size, proof, root } = options;
  if (!isSize(size) || !isSize(index) || index >= size || !areHashes([leaf, root, ...proof])) return false;
  let [node, last] = [index, size - 1];
  let hash = leaf;
  for (const sibling of proof) {
    if (last === 0) return false;
    if (node % 2 === 1 || node === last) {
      hash = nodeHash(sibling, hash);
      while (node % 2 === 0 && node !== 0) {
        node = half(node);
        last = half(last);
      }
    } else {
      hash = nodeHash(hash, sibling);
    }
    node = half(node);
    last = half(last);
  }
  return last === 0 && hash.equals(root);
}

/** PROOF(oldSize, D[newSize]), RFC 6962 section 2.1.2. Empty where the sizes are equal or the old tree is empty. */
export function consistencyProof(oldSize: number, newSize: number, subtree: SubtreeHash): Buffer[] {
  checkSize(oldSize);
  checkSize(newSize);
  if (oldSize > newSize) throw new RangeError('a tree cannot be consistent with a smaller one');
  if (oldSize === 0 || oldSize === newSize) return [];
  const proof: Buffer[] = [];
  let [start, end, complete] = [0, newSize, true];
  while (oldSize !== end) {
    const split = start + splitOf(end - start);
    if (oldSize <= split) {
      proof.unshift(rangeHash(split, end, subtree));
      end = split;
    } else {
      proof.unshift(rangeHash(start, split, subtree));
      start = split;
      complete = false;
    }
  }
  // The verifier knows the old root itself, so it is only given where the old tree is not one whole subtree.
  if (!complete) proof.unshift(rangeHash(start, end, subtree));
  return proof;
}

/**
 * Does the tree of `newSize` extend the tree of `oldSize`? RFC 9162 section 2.1.4.2. False for any malformed input.
 * An empty old tree is extended by every tree.
 */
export function verifyConsistency(options: {
  oldSize: number;
  newSize: number;
  oldRoot: Buffer;
  newRoot: Buffer;
  proof: readonly Buffer[];
}): boolean {
  const { oldSize, newSize, oldRoot, newRoot, proof } = options;
  if (!isSize(oldSize) || !isSize(newSize) || oldSize > newSize || !areHashes([oldRoot, newRoot, ...proof]))
    return false;
  if (oldSize === 0) return proof.length === 0 && oldRoot.equals(EMPTY_ROOT);
  if (oldSize === newSize) return proof.length === 0 && oldRoot.equals(newRoot);
  let [node, last] = [oldSize - 1, newSize - 1];
  while (node % 2 === 1) {
    node = half(node);
    last = half(last);
  }
  const [first, ...path] = node === 0 ? [oldRoot, ...proof] : proof;
  if (!first) return false;
  let [oldHash, newHash] = [first, first];
  for (const sibling of path) {
    if (last === 0) return false;
    if (node % 2 === 1 || node === last) {
      oldHash = nodeHash(sibling, oldHash);
      newHash = nodeHash(sibling, newHash);
      while (node % 2 === 0 && node !== 0) {
        node = half(node);
        last = half(last);
      }
    } else {
      newHash = nodeHash(newHash, sibling);
    }
    node = half(node);
    last = half(last);
  }
  return last === 0 && oldHash.equals(oldRoot) && newHash.equals(newRoot);
}

/** MTH of leaves [start, end): complete aligned subtrees are read, the ragged right edge is put together. */
function rangeHash(start: number, end: number, subtree: SubtreeHash): Buffer {
  const count = end - start;
  const split = splitOf(count);
  if (count === 1 || split * 2 === count) return subtree(Math.round(Math.log2(count)), start / count);
  return nodeHash(rangeHash(start, start + split, subtree), rangeHash(start + split, end, subtree));
}

/** Largest power of two smaller than `count` (RFC 6962 section 2.1); 0 for one leaf. */
function splitOf(count: number): number {
  let split = 0;
  for (let power = 1; power < count; power *= 2) split = power;
  return split;
}

// Sizes may pass 2^31: no bitwise operators, which would cut them to 32 bits.
function half(value: number): number {
  return Math.floor(value / 2);
}

function countBits(size: number): number {
  let bits = 0;
  for (let left = size; left > 0; left = half(left)) bits += left % 2;
  return bits;
}

function isSize(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

function checkSize(value: number): void {
  if (!isSize(value)) throw new RangeError('a tree size is a whole number, zero or more');
}

function areHashes(hashes: readonly Buffer[]): boolean {
  return hashes.every((hash) => hash.length === HASH_BYTES);
}

function missingLeaf(index: number): never {
  throw new RangeError(`leaf ${index} is not in the tree`);
}
