import type { CryptoProvider } from '../crypto/crypto-provider.ts'
import { isCanonical, KEY_BYTES, SIGNATURE_BYTES } from '../crypto/curve25519.ts'
import type { ByteReader } from '../encoding/byte-reader.ts'
import { joinBytes, labelBytes } from '../encoding/byte-writer.ts'
import { hexOf } from '../encoding/hex.ts'

/** Who somebody is: two public keys, bound to each other. */
export interface PublicIdentity {
  /** Ed25519, 32 bytes: signs prekeys and the agreement key. */
  readonly signingKey: Uint8Array
  /** X25519, 32 bytes: takes part in every key agreement. */
  readonly agreementKey: Uint8Array
  /** The signing key's word that the agreement key is its own: 64 bytes. */
  readonly signature: Uint8Array
}

/** Bytes of an encoded public identity: signing key, agreement key, signature. */
export const PUBLIC_IDENTITY_BYTES = 2 * KEY_BYTES + SIGNATURE_BYTES

/** What a signature of an identity is for, so that none made for one purpose serves another. The NUL ends the label. */
const BINDING_LABEL = labelBytes('Enablement identity binding v1\0')
const FINGERPRINT_LABEL = labelBytes('Enablement fingerprint v1\0')

/** What the signing key signs to vouch for the agreement key. Both keys are in it, so it fits no other pair. */
export function identityBinding(signingKey: Uint8Array, agreementKey: Uint8Array): Uint8Array {
  return joinBytes(BINDING_LABEL, signingKey, agreementKey)
}

/** Whether the two keys are bound and the agreement key has its canonical encoding. */
export async function verifyIdentity(identity: PublicIdentity, crypto: CryptoProvider): Promise<boolean> {
  const { signingKey, agreementKey, signature } = identity
  if (!isCanonical(agreementKey)) return false
  return await crypto.verify(signingKey, identityBinding(signingKey, agreementKey), signature)
}

/**
 * 64 hex digits that stand for both keys: what two parties compare over another channel to know that nobody stands
 * between them. SHA-256, so that no second identity can be made to fit.
 */
export function fingerprintOf(identity: PublicIdentity, crypto: CryptoProvider): string {
  return hexOf(crypto.sha256(joinBytes(FINGERPRINT_LABEL, identity.signingKey, identity.agreementKey)))
}

export function encodeIdentity(identity: PublicIdentity): Uint8Array {
  return joinBytes(identity.signingKey, identity.agreementKey, identity.signature)
}

/** Reads the keys without judging them: `verifyIdentity` does. */
export function readIdentity(reader: ByteReader): PublicIdentity {
  return {
    signingKey: reader.bytes(KEY_BYTES),
    agreementKey: reader.bytes(KEY_BYTES),
    signature: reader.bytes(SIGNATURE_BYTES)
  }
}

/** Whether both are the same pair of keys. Public values: the time it takes tells nothing that is not known. */
export function sameIdentity(left: PublicIdentity, right: PublicIdentity, crypto: CryptoProvider): boolean {
  return crypto.equal(left.signingKey, right.signingKey) && crypto.equal(left.agreementKey, right.agreementKey)
}
