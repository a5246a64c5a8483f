import { describe, expect, test } from '@jest/globals';
import {
  consistencyProof,
  EMPTY_ROOT,
  inclusionProof,
  leafHash,
  MerkleFrontier,
  subtreeHashOf,
  treeRoot,
  verifyConsistency,
  verifyInclusion,
} from '../../../src/platform/ledger/merkle.js';

/** Entries and roots of the Certificate Transparency reference tests (sizes 1 to 8). */
const ENTRIES = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657', '606162636465666768696a6b6c6d6e6f'];
const ROOTS = [
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
];

function leaves(count: number): Buffer[] {
  return Array.from({ length: count }, (_, index) => leafHash(Buffer.from(`entry ${index}`)));
}

describe('Merkle tree, RFC 6962 section 2.1', () => {
  test('the roots of the reference entries are the published ones', () => {
    const frontier = new MerkleFrontier();
    expect(frontier.root()).toEqual(EMPTY_ROOT);
    for (const [index, entry] of ENTRIES.entries()) {
      frontier.append(leafHash(Buffer.from(entry, 'hex')));
      expect(frontier.root().toString('hex')).toBe(ROOTS[index]);
    }
  });

  test('a frontier taken up again after a restart goes on with the same roots', () => {
    const all = leaves(70);
    let frontier = new MerkleFrontier();
    for (const [index, leaf] of all.entries()) {
      frontier = new MerkleFrontier(frontier.size, frontier.subtrees);
      frontier.append(leaf);
      expect(frontier.root()).toEqual(treeRoot(index + 1, subtreeHashOf(all)));
    }
  });

  test('a frontier whose hashes do not fit its size is refused', () => {
    expect(() => new MerkleFrontier(3, [EMPTY_ROOT])).toThrow('a frontier of size 3 has 2 hashes');
  });

  test('every inclusion proof verifies for its own leaf and index and for no other', () => {
    const all = leaves(19);
    const read = subtreeHashOf(all);
    for (let size = 1; size <= all.length; size += 1) {
      const root = treeRoot(size, read);
      for (let index = 0; index < size; index += 1) {
        const proof = inclusionProof(index, size, read);
        const leaf = all[index] ?? EMPTY_ROOT;
        expect(verifyInclusion({ leaf, index, size, proof, root })).toBe(true);
        expect(verifyInclusion({ leaf: EMPTY_ROOT, index, size, proof, root })).toBe(false);
        if (size > 1) expect(verifyInclusion({ leaf, index: (index + 1) % size, size, proof, root })).toBe(false);
        expect(verifyInclusion({ leaf, index, size, proof: [...proof, EMPTY_ROOT], root })).toBe(false);
      }
    }
  });

  test('every consistency proof verifies, and fails when any hash, root or size is changed', () => {
    const all = leaves(19);
    const read = subtreeHashOf(all);
    for (let newSize = 0; newSize <= all.length; newSize += 1) {
      const newRoot = treeRoot(newSize, read);
      for (let oldSize = 0; oldSize <= newSize; oldSize += 1) {
        const oldRoot = treeRoot(oldSize, read);
        const proof = consistencyProof(oldSize, newSize, read);
        expect(verifyConsistency({ oldSize, newSize, oldRoot, newRoot, proof })).toBe(true);
        if (oldSize === 0 || oldSize === newSize) continue;
        expect(verifyConsistency({ oldSize, newSize, oldRoot: leafHash(oldRoot), newRoot, proof })).toBe(false);
        expect(verifyConsistency({ oldSize, newSize, oldRoot, newRoot: leafHash(newRoot), proof })).toBe(false);
        expect(verifyConsistency({ oldSize, newSize, oldRoot, newRoot, proof: proof.slice(1) })).toBe(false);
        for (const at of proof.keys()) {
          const bent = proof.map((hash, index) => (index === at ? leafHash(hash) : hash));
          expect(verifyConsistency({ oldSize, newSize, oldRoot, newRoot, proof: bent })).toBe(false);
        }
      }
    }
  });

  test('a history rewritten behind an old head has no proof that verifies', () => {
    const honest = leaves(12);
    const rewritten = honest.map((leaf, index) => (index === 3 ? leafHash(Buffer.from('forged')) : leaf));
    const oldRoot = treeRoot(8, subtreeHashOf(honest));
    const forged = subtreeHashOf(rewritten);
    const proof = consistencyProof(8, 12, forged);
    expect(verifyConsistency({ oldSize: 8, newSize: 12, oldRoot, newRoot: treeRoot(12, forged), proof })).toBe(false);
  });
});
