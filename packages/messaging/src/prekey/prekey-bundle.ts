import type { CryptoProvider } from '../crypto/crypto-provider.ts'
import { isCanonical, KEY_BYTES, SIGNATURE_BYTES } from '../crypto/curve25519.ts'
import { ByteWriter, labelBytes } from '../encoding/byte-writer.ts'
import { type PublicIdentity, verifyIdentity } from '../identity/public-identity.ts'

/** A public prekey and its number, which is unique among all prekeys of its owner, for ever. Zero is a number too. */
export interface PublicPrekey {
  /** 0 to 2^32 - 1. */
  readonly id: number
  /** X25519, 32 bytes. */
  readonly publicKey: Uint8Array
}

/** A prekey that the owner's identity vouches for. */
export interface SignedPrekey extends PublicPrekey {
  /** Ed25519 over a label, the id and the key: 64 bytes. */
  readonly signature: Uint8Array
}

/** What one needs to write to somebody who is not there. X3DH §3.2. */
export interface PrekeyBundle {
  readonly identity: PublicIdentity
  readonly signedPrekey: SignedPrekey
  /**
   * Absent when the directory has none left: the session works, but its first message could be replayed (X3DH §4.2).
   */
  readonly oneTimePrekey?: PublicPrekey
}

/** What is wrong with a bundle. A directory that hands such a thing out is broken or hostile. */
export type BundleFault = 'malformed' | 'identity-signature' | 'signed-prekey-signature'

const SIGNED_PREKEY_LABEL = labelBytes('Enablement signed prekey v1\0')

/** What the identity signs to vouch for a prekey. */
export function signedPrekeyBinding(id: number, publicKey: Uint8Array): Uint8Array {
  return new ByteWriter().bytes(SIGNED_PREKEY_LABEL).u32(id).bytes(publicKey).finish()
}

/**
 * Judges a bundle from a directory, which is not trusted: shapes first, then both signatures. Undefined when all is
 * well. One-time prekeys carry no signature (X3DH §3.2): a false one makes a session that its owner cannot open.
 */
export async function findBundleFault(bundle: PrekeyBundle, crypto: CryptoProvider): Promise<BundleFault | undefined> {
  if (!isWellFormed(bundle)) return 'malformed'
  const { identity, signedPrekey } = bundle
  if (!(await verifyIdentity(identity, crypto))) return 'identity-signature'
  const binding = signedPrekeyBinding(signedPrekey.id, signedPrekey.publicKey)
  if (!(await crypto.verify(identity.signingKey, binding, signedPrekey.signature))) return 'signed-prekey-signature'
  return undefined
}

/** A bundle may come from JSON off the network, so nothing about its shape is taken on trust. */
function isWellFormed(bundle: Partial<PrekeyBundle> | undefined): bundle is PrekeyBundle {
  const { identity, signedPrekey, oneTimePrekey } = bundle ?? {}
  return (
    hasBytes(identity?.signingKey, KEY_BYTES) &&
    hasBytes(identity?.agreementKey, KEY_BYTES) &&
    hasBytes(identity?.signature, SIGNATURE_BYTES) &&
    isPublicPrekey(signedPrekey) &&
    hasBytes(signedPrekey?.signature, SIGNATURE_BYTES) &&
    (oneTimePrekey === undefined || isPublicPrekey(oneTimePrekey))
  )
}

function isPublicPrekey(prekey: Partial<PublicPrekey> | undefined): boolean {
  const { id, publicKey } = prekey ?? {}
  const isId = typeof id === 'number' && Number.isInteger(id) && id >= 0 && id <= 0xffff_ffff
  return isId && hasBytes(publicKey, KEY_BYTES) && isCanonical(publicKey)
}

function hasBytes(value: unknown, length: number): value is Uint8Array {
  return value instanceof Uint8Array && value.length === length
}
