// The Merkle tree of RFC 6962: the root of any prefix of its leaves, and proofs of inclusion.

import { createHash } from 'node:crypto';

/** A SHA-256 digest. */
export type Digest = Buffer;

/** The hash of a leaf: RFC 6962, section 2.1. The prefix keeps it apart from an inner node. */
export function leafHash(leaf: Uint8Array): Digest {
  return createHash('sha256').update(Uint8Array.of(0)).update(leaf).digest();
}

function nodeHash(left: Digest, right: Digest): Digest {
  return createHash('sha256').update(Uint8Array.of(1)).update(left).update(right).digest();
}

/** The root of a tree without leaves. */
const EMPTY_ROOT: Digest = createHash('sha256').digest();

/** The largest power of two that is smaller than `count`, which is at least 2. */
function splitPoint(count: number): number {
  let size = 1;
  while (size * 2 < count) size *= 2;
  return size;
}

/** A tree that leaves are added to. It keeps the hash of every complete subtree. */
export class MerkleTree {
  /** By height: the hashes of the complete subtrees, from left to right. */
  readonly #levels: Digest[][] = [[]];

  /** The number of leaves. */
  get size(): number {
    return this.#levels[0]?.length ?? 0;
  }

  /** Adds a leaf by its hash. */
  append(hash: Digest): void {
    let node = hash;
    for (let height = 0; ; height += 1) {
      const level = this.#levels[height] ?? [];
      this.#levels[height] = level;
      level.push(node);
      const left = level.at(-2);
      if (level.length % 2 === 1 || left === undefined) return;
      node = nodeHash(left, node);
    }
  }

  /** The root of the first `size` leaves. @throws RangeError if there are not as many */
  root(size = this.size): Digest {
    this.#require(size <= this.size, `a tree of ${this.size} leaves has no prefix of ${size}`);
    return size === 0 ? EMPTY_ROOT : this.#subtree(0, size);
  }

  /**
   * The audit path of a leaf in the tree of the first `size` leaves, from the leaf's sibling up:
   * RFC 6962, section 2.1.1. @throws RangeError if the tree has no such leaf
   */
  inclusionProof(index: number, size = this.size): Digest[] {
    this.#require(index >= 0 && index < size && size <= this.size, `a tree of ${size} leaves has no leaf ${index}`);
    return this.#path(index, 0, size);
  }

  #path(index: number, from: number, to: number): Digest[] {
    if (to - from === 1) return [];
    const middle = from + splitPoint(to - from);
    return index < middle
      ? [...this.#path(index, from, middle), this.#subtree(middle, to)]
      : [...this.#path(index, middle, to), this.#subtree(from, middle)];
  }

  /** The hash over the leaves from `from` up to, but without, `to`. */
  #subtree(from: number, to: number): Digest {
    const count = to - from;
    const height = Math.log2(count);
    // Subtrees begin at a multiple of their size, so every complete one has been kept.
    const kept = Number.isInteger(height) ? this.#levels[height]?.[from / count] : undefined;
    if (kept !== undefined) return kept;
    const middle = from + splitPoint(count);
    return nodeHash(this.#subtree(from, middle), this.#subtree(middle, to));
  }

  #require(holds: boolean, message: string): void {
    if (!holds) throw new RangeError(message);
  }
}

/** Whether the path leads from the leaf's hash to the root of a tree of this size. */
export function isIncluded(
  hash: Digest,
  index: number,
  size: number,
  path: readonly Digest[],
  root: Uint8Array,
): boolean {
  if (!Number.isSafeInteger(index) || index < 0 || index >= size) return false;
  const sides: ('left' | 'right')[] = [];
  let from = 0;
  let to = size;
  while (to - from > 1) {
    const middle = from + splitPoint(to - from);
    if (index < middle) {
      to = middle;
      sides.push('right');
    } else {
      from = middle;
      sides.push('left');
    }
  }
  // The way down gives the side of each sibling; the path begins at the leaf.
  sides.reverse();
  if (path.length !== sides.length) return false;
  const top = path.reduce(
    (node, sibling, at) => (sides[at] === 'left' ? nodeHash(sibling, node) : nodeHash(node, sibling)),
    hash,
  );
  return top.equals(root);
}
