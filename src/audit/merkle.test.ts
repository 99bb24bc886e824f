// The tree against the test vectors of RFC 6962's reference implementation, and its proofs.

import { describe, expect, it } from 'vitest';
import { isIncluded, leafHash, MerkleTree } from './merkle.ts';

const LEAVES = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657', '606162636465666768696a6b6c6d6e6f'];
const ROOTS = [
  'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
];

const treeOf = (leaves: readonly Uint8Array[]) => {
  const tree = new MerkleTree();
  for (const leaf of leaves) tree.append(leafHash(leaf));
  return tree;
};

describe('the Merkle tree', () => {
  it('has the roots of the reference, for every prefix', () => {
    const tree = treeOf(LEAVES.map((hex) => Buffer.from(hex, 'hex')));
    expect(ROOTS.map((_, size) => tree.root(size).toString('hex'))).toEqual(ROOTS);
  });

  it('has the audit path of the reference', () => {
    const tree = treeOf(LEAVES.map((hex) => Buffer.from(hex, 'hex')));
    expect(tree.inclusionProof(0, 8).map((hash) => hash.toString('hex'))).toEqual([
      '96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7',
      '5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e',
      '6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4',
    ]);
  });

  it('proves every leaf of every prefix, and no other leaf, place, size or root', () => {
    const leaves = Array.from({ length: 21 }, (_, n) => Buffer.from(`leaf ${n}`));
    const tree = treeOf(leaves);
    const other = leafHash(Buffer.from('another'));
    for (let size = 1; size <= leaves.length; size += 1) {
      for (let index = 0; index < size; index += 1) {
        const path = tree.inclusionProof(index, size);
        const hash = leafHash(leaves[index] ?? Buffer.alloc(0));
        expect(isIncluded(hash, index, size, path, tree.root(size))).toBe(true);
        expect(isIncluded(other, index, size, path, tree.root(size))).toBe(false);
        expect(isIncluded(hash, (index + 1) % (size + 1), size, path, tree.root(size))).toBe(false);
        expect(isIncluded(hash, index, size, path.slice(1), tree.root(size))).toBe(size === 1);
        expect(isIncluded(hash, index, size, [...path, other], tree.root(size))).toBe(false);
        expect(isIncluded(hash, index, size, path, other)).toBe(false);
      }
    }
  });

  it('refuses a prefix or a leaf that it does not have', () => {
    const tree = treeOf([Buffer.from('one')]);
    expect(() => tree.root(2)).toThrow(/no prefix of 2/);
    expect(() => tree.inclusionProof(1)).toThrow(/no leaf 1/);
  });
});
