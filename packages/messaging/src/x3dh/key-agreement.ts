import type { AgreementKey, CryptoProvider, PeerKey } from '../crypto/crypto-provider.ts'
import { KEY_BYTES } from '../crypto/curve25519.ts'
import { wipe } from '../crypto/wipe.ts'
import { joinBytes, labelBytes } from '../encoding/byte-writer.ts'
import type { IdentityKeys } from '../identity/identity.ts'
import type { PrekeyBundle } from '../prekey/prekey-bundle.ts'

const SECRET_LABEL = labelBytes('Enablement X3DH secret v1\0')

/** Stands before the secrets so that the input differs from any that starts with a signature's point. X3DH §2.2. */
const SECRET_PREFIX = new Uint8Array(KEY_BYTES).fill(0xff)

/** As many zero bytes as the hash has, X3DH §2.2. */
const ZERO_SALT = new Uint8Array(KEY_BYTES)

/**
 * The initiator's side of X3DH §3.3, with the one-time prekey where the bundle has one. The bundle must have been
 * verified. Gives SK: 32 bytes, the double ratchet's first root key. Throws `INVALID_KEY` when one of its keys is of
 * small order.
 */
export async function agreeAsInitiator(
  keys: IdentityKeys,
  baseKey: AgreementKey,
  bundle: PrekeyBundle,
  sessionId: Uint8Array
): Promise<Uint8Array> {
  const { crypto } = keys
  const identity = await crypto.importPeerKey(bundle.identity.agreementKey)
  const signedPrekey = await crypto.importPeerKey(bundle.signedPrekey.publicKey)
  const pairs: Pair[] = [
    [keys.agreement, signedPrekey],
    [baseKey, identity],
    [baseKey, signedPrekey]
  ]
  if (bundle.oneTimePrekey !== undefined) {
    pairs.push([baseKey, await crypto.importPeerKey(bundle.oneTimePrekey.publicKey)])
  }
  return await deriveSecret(crypto, pairs, sessionId)
}

/**
 * The responder's side of X3DH §3.4: the same agreements from the other ends, in the same order. Throws `INVALID_KEY`
 * when the initiator's identity or base key is of small order.
 */
export async function agreeAsResponder(
  keys: IdentityKeys,
  prekeys: { readonly signed: AgreementKey; readonly oneTime: AgreementKey | undefined },
  initiator: { readonly agreementKey: Uint8Array; readonly baseKey: Uint8Array },
  sessionId: Uint8Array
): Promise<Uint8Array> {
  const { crypto } = keys
  const identity = await crypto.importPeerKey(initiator.agreementKey)
  const baseKey = await crypto.importPeerKey(initiator.baseKey)
  const pairs: Pair[] = [
    [prekeys.signed, identity],
    [keys.agreement, baseKey],
    [prekeys.signed, baseKey]
  ]
  if (prekeys.oneTime !== undefined) pairs.push([prekeys.oneTime, baseKey])
  return await deriveSecret(crypto, pairs, sessionId)
}

type Pair = readonly [AgreementKey, PeerKey]

async function deriveSecret(
  crypto: CryptoProvider,
  pairs: readonly Pair[],
  sessionId: Uint8Array
): Promise<Uint8Array> {
  const shared: Uint8Array[] = []
  try {
    for (const [key, peer] of pairs) shared.push(await crypto.agree(key, peer))
    const input = joinBytes(SECRET_PREFIX, ...shared)
    const secret = crypto.hkdf(input, ZERO_SALT, joinBytes(SECRET_LABEL, sessionId), KEY_BYTES)
    wipe(input)
    return secret
  } finally {
    wipe(...shared)
  }
}
