import { sha256 } from '@noble/hashes/sha2.js'

/** The bytes of a hash of the tree: SHA-256. */
export const HASH_BYTES = 32

/** The root of a tree without leaves: the hash of nothing. RFC 9162 §2.1.1. */
export const EMPTY_ROOT: Uint8Array = sha256(new Uint8Array(0))

const NODE_PREFIX = Uint8Array.of(0x01)
const LEAF_PREFIX = Uint8Array.of(0x00)

/** The hash of a leaf. Its prefix keeps it apart from that of a node, so no inner node can pass for an entry. RFC 9162 §2.1.1. */
export function leafHashOf(data: Uint8Array): Uint8Array {
  return sha256.create().update(LEAF_PREFIX).update(data).digest()
}

/** The hash of the node above two others. RFC 9162 §2.1.1. */
export function nodeHashOf(left: Uint8Array, right: Uint8Array): Uint8Array {
  return sha256.create().update(NODE_PREFIX).update(left).update(right).digest()
}

/** Whether two hashes are the same. Hashes are public: this need not take constant time. */
export function sameHash(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && one.every((byte, at) => byte === other[at])
}
