import { ed25519, x25519 } from '@noble/curves/ed25519.js'
import { hkdf } from '@noble/hashes/hkdf.js'
import { hmac } from '@noble/hashes/hmac.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { randomBytes } from '@noble/hashes/utils.js'
import { copyBytes } from '../encoding/copy-bytes.ts'
import type { AgreementKey, CryptoProvider, PeerKey, SigningKey } from './crypto-provider.ts'
import { assertLength, hasSmallOrder, invalidKey, KEY_BYTES, SIGNATURE_BYTES } from './curve25519.ts'
import { nobleAead, TAG_BYTES } from './noble-aead.ts'

/** The bytes behind the handles. A handle without an entry was made by another provider. */
const secrets = new WeakMap<AgreementKey | SigningKey, Uint8Array>()

/**
 * The universal provider: audited JavaScript, no native code, the same in Node, browsers and at the edge. An X25519
 * agreement takes about 1.2 ms, thirty times Node's own, so Node gets `node-provider.ts` unless asked otherwise.
 */
export const cryptoProvider: CryptoProvider = {
  name: 'noble',

  random: (lengthBytes) => randomBytes(lengthBytes),

  generateAgreementKey: () => agreementKey(x25519.utils.randomSecretKey()),
  importAgreementKey(secret) {
    assertLength(secret, 'X25519 private key')
    return agreementKey(copyBytes(secret))
  },
  exportAgreementKey: (key) => secretOf(key).slice(),
  importPeerKey(bytes): PeerKey {
    assertLength(bytes, 'X25519 public key')
    return Object.freeze({ kind: 'x25519-public', bytes: copyBytes(bytes) })
  },
  agree(key, peer) {
    const secret = secretOf(key)
    try {
      return x25519.getSharedSecret(secret, peer.bytes)
    } catch (cause) {
      throw invalidKey('X25519 public key', 'its point is of small order', cause)
    }
  },

  generateSigningKey: () => signingKey(ed25519.utils.randomSecretKey()),
  importSigningKey(seed) {
    assertLength(seed, 'Ed25519 seed')
    return signingKey(copyBytes(seed))
  },
  exportSigningKey: (key) => secretOf(key).slice(),
  sign: (key, message) => ed25519.sign(message, secretOf(key)),
  verify(publicKey, message, signature) {
    if (publicKey.length !== KEY_BYTES || signature.length !== SIGNATURE_BYTES || hasSmallOrder(publicKey)) return false
    try {
      // The default of noble is ZIP 215, which takes signatures that RFC 8032 and OpenSSL refuse.
      return ed25519.verify(signature, message, publicKey, { zip215: false })
    } catch {
      return false
    }
  },

  sha256: (message) => sha256(message),
  hmac: (key, message) => hmac(sha256, key, message),
  hkdf: (secret, salt, info, lengthBytes) => hkdf(sha256, secret, salt, info, lengthBytes),
  seal: nobleAead.seal,
  open: (key, nonce, associatedData, sealed) =>
    sealed.length < TAG_BYTES ? undefined : nobleAead.open(key, nonce, associatedData, sealed),
  equal(left, right) {
    if (left.length !== right.length) return false
    let difference = 0
    for (let at = 0; at < left.length; at += 1) difference |= (left[at] as number) ^ (right[at] as number)
    return difference === 0
  }
}

function agreementKey(secret: Uint8Array): AgreementKey {
  const key: AgreementKey = Object.freeze({ kind: 'x25519-private', publicKey: x25519.getPublicKey(secret) })
  secrets.set(key, secret)
  return key
}

function signingKey(seed: Uint8Array): SigningKey {
  const key: SigningKey = Object.freeze({ kind: 'ed25519-private', publicKey: ed25519.getPublicKey(seed) })
  secrets.set(key, seed)
  return key
}

function secretOf(key: AgreementKey | SigningKey): Uint8Array {
  const secret = secrets.get(key)
  if (secret === undefined) throw invalidKey(`${key.kind} key`, 'the noble provider did not make it')
  return secret
}
