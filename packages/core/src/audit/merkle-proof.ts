import { z } from 'zod'
import { parseOptions } from '../failure/options.ts'
import { HASH_BYTES, nodeHashOf, sameHash } from './merkle-hash.ts'
import { TreeEdge } from './tree-edge.ts'

/** The leaves from `begin` on, up to and without `end`. */
export interface LeafRange {
  readonly begin: number
  readonly end: number
}

/** That the leaf with this hash stands at this place of the tree with this size and root. */
export interface InclusionClaim {
  readonly leafIndex: number
  readonly leafHash: Uint8Array
  readonly size: number
  readonly root: Uint8Array
}

/** That the tree of `size` leaves begins with the tree of `fromSize`. */
export interface ConsistencyClaim {
  readonly fromSize: number
  readonly fromRoot: Uint8Array
  readonly size: number
  readonly root: Uint8Array
}

/** The ranges whose hashes prove that a leaf is in a tree, from the leaf upwards. RFC 9162 §2.1.3.1. */
export function inclusionRanges(leafIndex: number, size: number): readonly LeafRange[] {
  const ranges: LeafRange[] = []
  let begin = 0
  let end = size
  while (end - begin > 1) {
    const middle = begin + splitOf(end - begin)
    if (leafIndex < middle) {
      ranges.push({ begin: middle, end })
      end = middle
    } else {
      ranges.push({ begin, end: middle })
      begin = middle
    }
  }
  return ranges.reverse()
}

/** The ranges whose hashes prove that a tree begins with a smaller one. RFC 9162 §2.1.4.1. */
export function consistencyRanges(fromSize: number, size: number): readonly LeafRange[] {
  // Every tree begins with the empty one; there is nothing to prove, and no root to prove it with.
  if (fromSize === 0) return []
  const ranges: LeafRange[] = []
  let begin = 0
  let end = size
  while (fromSize < end) {
    const middle = begin + splitOf(end - begin)
    if (fromSize <= middle) {
      ranges.push({ begin: middle, end })
      end = middle
    } else {
      ranges.push({ begin, end: middle })
      begin = middle
    }
  }
  // A smaller tree that is a subtree of the larger one needs no hash of its own: it is what the verifier has.
  if (begin > 0) ranges.push({ begin, end })
  return ranges.reverse()
}

const count = z.int().min(0)

const inclusionSchema: z.ZodType<{ readonly leafIndex: number; readonly size: number; readonly leaves: number }> = z
  .strictObject({ leafIndex: count, size: count, leaves: count })
  .refine(({ leafIndex, size, leaves }) => leafIndex < size && size <= leaves, 'there is no such leaf')

const consistencySchema: z.ZodType<{ readonly fromSize: number; readonly size: number; readonly leaves: number }> = z
  .strictObject({ fromSize: count, size: count, leaves: count })
  .refine(({ fromSize, size, leaves }) => fromSize <= size && size <= leaves, 'there are no such trees')

/**
 * The proof that the leaf at `leafIndex` is in the tree of the first `size` leaves, all unless given, from the hashes of
 * the leaves. Reads them all: a log of a database is proved by `proveInclusion`. Throws `INVALID_OPTIONS`.
 */
export function inclusionProof(
  leafHashes: readonly Uint8Array[],
  leafIndex: number,
  size: number = leafHashes.length
): readonly Uint8Array[] {
  parseOptions(inclusionSchema, 'inclusionProof', { leafIndex, size, leaves: leafHashes.length })
  return inclusionRanges(leafIndex, size).map((range) => rootOf(leafHashes, range))
}

/** The proof that the tree of the first `size` leaves begins with that of `fromSize`. Throws `INVALID_OPTIONS`. */
export function consistencyProof(
  leafHashes: readonly Uint8Array[],
  fromSize: number,
  size: number = leafHashes.length
): readonly Uint8Array[] {
  parseOptions(consistencySchema, 'consistencyProof', { fromSize, size, leaves: leafHashes.length })
  return consistencyRanges(fromSize, size).map((range) => rootOf(leafHashes, range))
}

/** The root of the tree over leaves with these hashes. RFC 9162 §2.1.1. */
export function merkleRoot(leafHashes: readonly Uint8Array[]): Uint8Array {
  return rootOf(leafHashes, { begin: 0, end: leafHashes.length })
}

/** Whether `proof` proves the claim. RFC 9162 §2.1.3.2. Anything that is no proof at all is false, not an error. */
export function verifyInclusion(claim: InclusionClaim, proof: readonly Uint8Array[]): boolean {
  const { leafIndex, leafHash, size, root } = claim
  if (!(isCount(leafIndex) && isCount(size) && leafIndex < size)) return false
  if (![leafHash, root, ...proof].every(isHash)) return false
  // The RFC shifts; these are divided, because sizes go beyond the 32 bits of a shift.
  let node = leafIndex
  let last = size - 1
  let hash = leafHash
  for (const sibling of proof) {
    if (last === 0) return false
    if (isOdd(node) || node === last) {
      hash = nodeHashOf(sibling, hash)
      while (!isOdd(node) && node !== 0) [node, last] = [half(node), half(last)]
    } else {
      hash = nodeHashOf(hash, sibling)
    }
    ;[node, last] = [half(node), half(last)]
  }
  return last === 0 && sameHash(hash, root)
}

/** Whether `proof` proves the claim. RFC 9162 §2.1.4.2. Anything that is no proof at all is false, not an error. */
export function verifyConsistency(claim: ConsistencyClaim, proof: readonly Uint8Array[]): boolean {
  const { fromSize, fromRoot, size, root } = claim
  // Every tree begins with the empty one: that is no claim, and there is nothing to prove it with.
  if (!(isCount(fromSize) && isCount(size) && 0 < fromSize && fromSize <= size)) return false
  if (fromSize === size) return proof.length === 0 && sameHash(fromRoot, root)
  if (![fromRoot, root, ...proof].every(isHash)) return false
  let node = fromSize - 1
  let last = size - 1
  while (isOdd(node)) [node, last] = [half(node), half(last)]
  // Where the smaller tree is one full subtree its root starts the climb, and is not repeated in the proof.
  const [first, ...rest] = node === 0 ? [fromRoot, ...proof] : proof
  if (first === undefined) return false
  let fromHash = first
  let hash = first
  for (const sibling of rest) {
    if (last === 0) return false
    if (isOdd(node) || node === last) {
      fromHash = nodeHashOf(sibling, fromHash)
      hash = nodeHashOf(sibling, hash)
      while (!isOdd(node) && node !== 0) [node, last] = [half(node), half(last)]
    } else {
      hash = nodeHashOf(hash, sibling)
    }
    ;[node, last] = [half(node), half(last)]
  }
  return last === 0 && sameHash(fromHash, fromRoot) && sameHash(hash, root)
}

/** The full subtrees that make up a range of a proof, from the left: `level` and `index` as of `Subtree`. */
export function subtreesOf({ begin, end }: LeafRange): readonly { readonly level: number; readonly index: number }[] {
  const subtrees: { readonly level: number; readonly index: number }[] = []
  let at = begin
  while (at < end) {
    let level = 0
    while ((at / 2 ** level) % 2 === 0 && at + 2 ** (level + 1) <= end) level += 1
    subtrees.push({ level, index: at / 2 ** level })
    at += 2 ** level
  }
  return subtrees
}

function rootOf(leafHashes: readonly Uint8Array[], { begin, end }: LeafRange): Uint8Array {
  const edge = new TreeEdge()
  for (const hash of leafHashes.slice(begin, end)) edge.append(hash)
  return edge.root()
}

/** The largest power of two below `size`, where RFC 9162 §2.1.1 splits a tree of at least two leaves. */
function splitOf(size: number): number {
  let split = 1
  while (split * 2 < size) split *= 2
  return split
}

const isCount = (value: number): boolean => Number.isSafeInteger(value) && value >= 0
/** Two hashes that split their bytes elsewhere would have the same node above them. */
const isHash = (bytes: Uint8Array): boolean => bytes.length === HASH_BYTES
const isOdd = (value: number): boolean => value % 2 === 1
const half = (value: number): number => Math.floor(value / 2)
