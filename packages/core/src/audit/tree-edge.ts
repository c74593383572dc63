import { EMPTY_ROOT, HASH_BYTES, nodeHashOf } from './merkle-hash.ts'

/** A full subtree: `level` is the logarithm of its leaves, `index` counts those of its level from the left. */
export interface Subtree {
  readonly level: number
  readonly index: number
  readonly hash: Uint8Array
}

/**
 * The right edge of a Merkle tree: the roots of its full subtrees, the largest first. It is all that one needs to append
 * leaves and to know the root, and holds one hash per bit that is set in the tree's size, 53 at most.
 */
export class TreeEdge {
  readonly #roots: Subtree[] = []
  #size = 0

  /** The edge that `bytes` gave for a tree of `size` leaves; undefined when they are not one. */
  static from(size: number, bytes: Uint8Array): TreeEdge | undefined {
    const edge = new TreeEdge()
    const levels = levelsOf(size)
    if (bytes.length !== levels.length * HASH_BYTES) return undefined
    for (const [at, level] of levels.entries()) {
      edge.append(bytes.slice(at * HASH_BYTES, (at + 1) * HASH_BYTES), level)
    }
    return edge
  }

  /** Leaves in the tree. */
  get size(): number {
    return this.#size
  }

  /**
   * Adds a leaf, or a full subtree of 2^`level` leaves, whose size must divide that of the tree so far. Gives the
   * subtrees that this made full, from the added one upwards.
   */
  append(hash: Uint8Array, level = 0): readonly Subtree[] {
    let added: Subtree = { level, index: this.#size / 2 ** level, hash }
    const full = [added]
    this.#size += 2 ** level
    for (let left = this.#roots.at(-1); left?.level === added.level; left = this.#roots.at(-1)) {
      this.#roots.pop()
      added = { level: left.level + 1, index: left.index / 2, hash: nodeHashOf(left.hash, added.hash) }
      full.push(added)
    }
    this.#roots.push(added)
    return full
  }

  /** The root of the tree: RFC 9162 §2.1.1. */
  root(): Uint8Array {
    if (this.#roots.length === 0) return EMPTY_ROOT
    return this.#roots.map(({ hash }) => hash).reduceRight((right, left) => nodeHashOf(left, right))
  }

  /** The hashes of the edge, one after the other. */
  bytes(): Uint8Array {
    const bytes = new Uint8Array(this.#roots.length * HASH_BYTES)
    for (const [at, { hash }] of this.#roots.entries()) bytes.set(hash, at * HASH_BYTES)
    return bytes
  }
}

/** The levels of the full subtrees that a tree of `size` leaves is made of, the largest first: the bits of its size. */
function levelsOf(size: number): readonly number[] {
  const bits = size.toString(2)
  return [...bits].flatMap((bit, at) => (bit === '1' ? [bits.length - 1 - at] : []))
}
