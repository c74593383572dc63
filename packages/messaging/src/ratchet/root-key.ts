import type { AgreementKey, CryptoProvider, PeerKey } from '../crypto/crypto-provider.ts'
import { KEY_BYTES } from '../crypto/curve25519.ts'
import { wipe } from '../crypto/wipe.ts'
import type { RatchetProfile } from './ratchet-profile.ts'

/** What a DH step gives. */
export interface RootStep {
  readonly rootKey: Uint8Array
  readonly chainKey: Uint8Array
}

/**
 * KDF_RK(rk, DH(own, peer)) of Double Ratchet §3.1: HKDF with the root key as salt, 64 bytes, root key first.
 *
 * Throws `INVALID_KEY` when the peer's key is of small order.
 */
export async function stepRoot(
  rootKey: Uint8Array,
  own: AgreementKey,
  peer: PeerKey,
  crypto: CryptoProvider,
  profile: RatchetProfile
): Promise<RootStep> {
  const shared = await crypto.agree(own, peer)
  const derived = crypto.hkdf(shared, rootKey, profile.rootLabel, 2 * KEY_BYTES)
  const step = { rootKey: derived.slice(0, KEY_BYTES), chainKey: derived.slice(KEY_BYTES) }
  wipe(shared, derived)
  return step
}
