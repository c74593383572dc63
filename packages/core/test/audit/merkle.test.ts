import { createHash } from 'node:crypto'
import {
  consistencyProof,
  inclusionProof,
  leafHashOf,
  merkleRoot,
  verifyConsistency,
  verifyInclusion
} from '@enablement/core/audit'
import { fc, test } from '@fast-check/vitest'
import { describe, expect, inject, it } from 'vitest'
import vectors from './merkle-vectors.json' with { type: 'json' }

/** What is tried grows with the third power of it. */
const scale = Math.min(inject('scale'), 4)

type Hashes = readonly Uint8Array[]

const sha256 = (...parts: readonly (Uint8Array | string)[]): Uint8Array => {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return new Uint8Array(hash.digest())
}

/** RFC 9162 §2.1, word for word: slow, recursive, and with a hash of Node's. */
const reference = {
  /** k, the largest power of two smaller than n. */
  split: (n: number): number => 2 ** Math.ceil(Math.log2(n) - 1),
  root(leaves: Hashes): Uint8Array {
    const [only] = leaves
    if (only === undefined) return sha256('')
    if (leaves.length === 1) return only
    const k = reference.split(leaves.length)
    return sha256(Uint8Array.of(1), reference.root(leaves.slice(0, k)), reference.root(leaves.slice(k)))
  },
  path(m: number, leaves: Hashes): Hashes {
    if (leaves.length === 1) return []
    const k = reference.split(leaves.length)
    return m < k
      ? [...reference.path(m, leaves.slice(0, k)), reference.root(leaves.slice(k))]
      : [...reference.path(m - k, leaves.slice(k)), reference.root(leaves.slice(0, k))]
  },
  proof: (m: number, leaves: Hashes): Hashes => reference.subproof(m, leaves, true),
  subproof(m: number, leaves: Hashes, whole: boolean): Hashes {
    if (m === leaves.length) return whole ? [] : [reference.root(leaves)]
    const k = reference.split(leaves.length)
    return m <= k
      ? [...reference.subproof(m, leaves.slice(0, k), whole), reference.root(leaves.slice(k))]
      : [...reference.subproof(m - k, leaves.slice(k), false), reference.root(leaves.slice(0, k))]
  }
}

const leavesOf = (size: number): Hashes => Array.from({ length: size }, (_, at) => sha256(`leaf ${at}`))
const flipped = (hash: Uint8Array): Uint8Array => hash.map((byte, at) => (at === 7 ? byte ^ 0x10 : byte))
const bytes = (base64: string | undefined): Uint8Array => new Uint8Array(Buffer.from(base64 ?? '', 'base64'))
const hashAt = (at: number): Uint8Array => bytes(vectors.hashes[at])

describe('a Merkle tree', () => {
  it('hashes leaves and nothing as RFC 9162 §2.1.1 has it', () => {
    expect(leafHashOf(Uint8Array.of(1, 2))).toEqual(sha256(Uint8Array.of(0, 1, 2)))
    expect(leafHashOf(new Uint8Array(0))).toEqual(sha256(Uint8Array.of(0)))
    expect(merkleRoot([])).toEqual(sha256(''))
  })

  it('has the roots and the proofs of the definition, at every size up to a bound', () => {
    const bound = 40 * scale
    const all = leavesOf(bound)
    for (let size = 0; size <= bound; size++) {
      const leaves = all.slice(0, size)
      const root = merkleRoot(leaves)
      expect(root).toEqual(reference.root(leaves))
      for (let leafIndex = 0; leafIndex < size; leafIndex++) {
        const proof = inclusionProof(all, leafIndex, size)
        expect(proof).toEqual(reference.path(leafIndex, leaves))
        const claim = { leafIndex, leafHash: leaves[leafIndex] as Uint8Array, size, root }
        expect(verifyInclusion(claim, proof)).toBe(true)
        // Of no other place, and of no other size but those where the proof is the same one.
        for (const other of [leafIndex - 1, leafIndex + 1, size]) {
          expect(verifyInclusion({ ...claim, leafIndex: other }, proof)).toBe(false)
        }
      }
      for (let fromSize = 1; fromSize <= size; fromSize++) {
        const proof = consistencyProof(all, fromSize, size)
        expect(proof).toEqual(reference.proof(fromSize, leaves))
        const fromRoot = merkleRoot(leaves.slice(0, fromSize))
        expect(verifyConsistency({ fromSize, fromRoot, size, root }, proof)).toBe(true)
      }
    }
  })

  it('refuses every proof in which one bit is wrong, and every one that is cut or padded', () => {
    const all = leavesOf(13)
    const root = merkleRoot(all)
    for (let at = 0; at < 13; at++) {
      const path = inclusionProof(all, at)
      const claim = { leafIndex: at, leafHash: all[at] as Uint8Array, size: 13, root }
      const fromRoot = merkleRoot(all.slice(0, at))
      const between = { fromSize: at, fromRoot, size: 13, root }
      const consistency = consistencyProof(all, at)
      expect(verifyInclusion({ ...claim, leafHash: flipped(claim.leafHash) }, path)).toBe(false)
      expect(verifyInclusion({ ...claim, root: flipped(root) }, path)).toBe(false)
      expect(verifyInclusion(claim, [...path, root])).toBe(false)
      expect(verifyInclusion(claim, path.slice(1))).toBe(false)
      for (const [place, hash] of path.entries())
        expect(verifyInclusion(claim, path.with(place, flipped(hash)))).toBe(false)
      if (at === 0) continue
      expect(verifyConsistency({ ...between, fromRoot: flipped(fromRoot) }, consistency)).toBe(false)
      expect(verifyConsistency({ ...between, root: flipped(root) }, consistency)).toBe(false)
      expect(verifyConsistency(between, [...consistency, root])).toBe(false)
      expect(verifyConsistency(between, consistency.slice(1))).toBe(false)
      for (const [place, hash] of consistency.entries()) {
        expect(verifyConsistency(between, consistency.with(place, flipped(hash)))).toBe(false)
      }
    }
  })

  test.prop([fc.integer({ min: 1, max: 300 }), fc.nat(299), fc.nat(299)], { numRuns: 20 * scale })(
    'proves any entry and any beginning of a larger tree',
    (size, one, other) => {
      const all = leavesOf(size)
      const root = merkleRoot(all)
      const leafIndex = one % size
      const fromSize = 1 + (other % size)
      const path = inclusionProof(all, leafIndex)
      expect(verifyInclusion({ leafIndex, leafHash: all[leafIndex] as Uint8Array, size, root }, path)).toBe(true)
      const fromRoot = merkleRoot(all.slice(0, fromSize))
      expect(verifyConsistency({ fromSize, fromRoot, size, root }, consistencyProof(all, fromSize))).toBe(true)
      expect(
        verifyConsistency({ fromSize, fromRoot: flipped(fromRoot), size, root }, consistencyProof(all, fromSize))
      ).toBe(false)
    }
  )

  it('climbs trees beyond 2^32 leaves', () => {
    // One leaf, then a chain of siblings as long as the path of a tree of 2^40 leaves.
    const siblings = Array.from({ length: 40 }, (_, level) => sha256(`sibling ${level}`))
    const leafIndex = 0xaa_aaaa_aaaa
    let hash = sha256('leaf')
    for (const [level, sibling] of siblings.entries()) {
      const isRight = Math.floor(leafIndex / 2 ** level) % 2 === 1
      hash = isRight ? sha256(Uint8Array.of(1), sibling, hash) : sha256(Uint8Array.of(1), hash, sibling)
    }
    const claim = { leafIndex, leafHash: sha256('leaf'), size: 2 ** 40, root: hash }
    expect(verifyInclusion(claim, siblings)).toBe(true)
    expect(verifyInclusion({ ...claim, leafIndex: leafIndex - 1 }, siblings)).toBe(false)
  })

  it('answers false, and throws nothing, for claims about trees that cannot be', () => {
    const hash = leavesOf(1)[0] as Uint8Array
    for (const [leafIndex, size] of [
      [-1, 1],
      [1, 1],
      [0, 0],
      [0.5, 1],
      [Number.NaN, 1],
      [0, Number.POSITIVE_INFINITY],
      [0, 2 ** 53]
    ] as const) {
      expect(verifyInclusion({ leafIndex, leafHash: hash, size, root: hash }, [])).toBe(false)
    }
    for (const [fromSize, size] of [
      [-1, 1],
      [2, 1],
      [1, Number.NaN]
    ] as const) {
      expect(verifyConsistency({ fromSize, fromRoot: hash, size, root: hash }, [])).toBe(false)
    }
    expect(verifyConsistency({ fromSize: 0, fromRoot: hash, size: 1, root: hash }, [hash])).toBe(false)
  })

  it('refuses to prove what is not there, with the path', () => {
    const all = leavesOf(3)
    for (const [leafIndex, size] of [
      [3, 3],
      [0, 4],
      [-1, 3],
      [0.5, 3]
    ] as const) {
      expect(() => inclusionProof(all, leafIndex, size)).toThrow(/inclusionProof/)
    }
    expect(() => consistencyProof(all, 4)).toThrow(/consistencyProof/)
    expect(() => consistencyProof(all, Number.NaN)).toThrow(/fromSize/)
  })
})

describe('the vectors of transparency-dev/merkle (§5 Audit)', () => {
  it.for(vectors.inclusion)('%s', ([name, leafIndex, size, leafHash, root, proof, wantError]) => {
    const claim = {
      leafIndex: leafIndex as number,
      leafHash: hashAt(leafHash as number),
      size: size as number,
      root: hashAt(root as number)
    }
    expect({ name, verified: verifyInclusion(claim, (proof as number[]).map(hashAt)) }).toEqual({
      name,
      verified: !wantError
    })
  })

  it.for(vectors.consistency)('%s', ([name, fromSize, size, fromRoot, root, proof, wantError]) => {
    const claim = {
      fromSize: fromSize as number,
      fromRoot: hashAt(fromRoot as number),
      size: size as number,
      root: hashAt(root as number)
    }
    expect({ name, verified: verifyConsistency(claim, (proof as number[]).map(hashAt)) }).toEqual({
      name,
      verified: !wantError
    })
  })
})
