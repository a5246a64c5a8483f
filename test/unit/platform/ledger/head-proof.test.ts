import { createHash } from 'node:crypto';
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  emptyChain,
  entryLeaf,
  extendChain,
  packFrontier,
  unpackFrontier,
} from '../../../../src/platform/ledger/entry-hash.js';
import { growTree } from '../../../../src/platform/ledger/head-proof.js';
import { MerkleFrontier, subtreeHashOf, treeRoot, verifyConsistency } from '../../../../src/platform/ledger/merkle.js';

const hashOf = (n: number): Buffer => createHash('sha256').update(String(n)).digest();
const hashes = (from: number, to: number): Buffer[] => Array.from({ length: to - from }, (_, n) => hashOf(from + n));

function treeOf(size: number): MerkleFrontier {
  const tree = new MerkleFrontier();
  for (const hash of hashes(0, size)) tree.append(entryLeaf(hash));
  return tree;
}

test('for every pair of sizes the old frontier and the new hashes are enough for root and proof', () => {
  for (let oldSize = 0; oldSize <= 40; oldSize++) {
    const old = treeOf(oldSize);
    for (let newSize = oldSize; newSize <= 75; newSize++) {
      const { tree, proof } = growTree(oldSize, unpackFrontier(packFrontier(old.subtrees)), hashes(oldSize, newSize));
      const root = treeRoot(newSize, subtreeHashOf(hashes(0, newSize).map(entryLeaf)));
      expect(tree.root()).toEqual(root);
      expect(verifyConsistency({ oldSize, newSize, oldRoot: old.root(), newRoot: root, proof })).toBe(true);
    }
  }
});

test('a proof over changed old entries never verifies', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 200 }),
      fc.integer({ min: 1, max: 200 }),
      fc.nat(),
      (oldSize, more, place) => {
        const old = treeOf(oldSize);
        const forged = hashes(0, oldSize).map((hash, n) => (n === place % oldSize ? hashOf(-1) : hash));
        const other = new MerkleFrontier();
        for (const hash of forged) other.append(entryLeaf(hash));
        const { tree, proof } = growTree(oldSize, other.subtrees, hashes(oldSize, oldSize + more));
        const verdict = verifyConsistency({
          oldSize,
          newSize: oldSize + more,
          oldRoot: old.root(),
          newRoot: tree.root(),
          proof,
        });
        expect(verdict).toBe(false);
      },
    ),
    { numRuns: 200 },
  );
});

test('every field of an entry is under its hash, and none can slide into its neighbour', () => {
  const base = { kind: 'a.b', subject: 'unit:x', atMicros: 1, body: '{}' };
  const hash = (content: typeof base, epoch = 1): string =>
    extendChain(emptyChain(epoch), [content]).entries[0]?.hash.toString('hex') ?? '';
  const all = [
    hash(base),
    hash(base, 2),
    hash({ ...base, kind: 'a.bu', subject: 'nit:x' }),
    hash({ ...base, subject: 'unit:x{', body: '}' }),
    hash({ ...base, atMicros: 2 }),
    hash({ ...base, body: '{"a":1}' }),
  ];
  expect(new Set(all).size).toBe(all.length);
});
