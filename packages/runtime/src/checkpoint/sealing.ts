import { canonicalJson } from '@enablement/core'
import { createOpener } from '#opener'
import { RuntimeError } from '../runtime-error.ts'

/** What a checkpoint says about itself, in clear and authenticated. */
export interface CheckpointHeader {
  readonly checkpointId: string
  readonly tenant: string
  readonly sandboxId: string
  readonly incarnation: number
  /** The engine build that the image belongs to. */
  readonly engine: string
  readonly createdAt: number
  readonly expiresAt: number
  /** The limit that the sandbox ran under. */
  readonly memoryLimitBytes: number
}

/** What the opener expects. */
interface CheckpointExpectation {
  readonly tenant: string
  readonly engine: string
  /** Set when the checkpoint must be this sandbox's, as in a recovery. */
  readonly sandboxId?: string
  /** Wall clock: epoch milliseconds. */
  readonly now: number
}

/** Seals images for storage and opens them again. */
export interface CheckpointSealer {
  seal(header: CheckpointHeader, image: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>>
  /**
   * Throws `CHECKPOINT_CORRUPT`, `CHECKPOINT_FOREIGN`, `CHECKPOINT_EXPIRED` or `CHECKPOINT_TOO_LARGE`; nothing of the
   * image is looked at before its tag has verified.
   */
  open(
    sealed: Uint8Array,
    expected: CheckpointExpectation
  ): Promise<{ readonly header: CheckpointHeader; readonly image: Uint8Array<ArrayBuffer> }>
}

/*
 * A sealed checkpoint: magic 'ENCK', version u8, zeros u8, header length u16, key id (8 bytes), the header as canonical
 * JSON, nonce (12 bytes), AES-256-GCM of the image with its tag. Everything before the nonce is authenticated.
 */
const MAGIC = [0x45, 0x4e, 0x43, 0x4b]
const VERSION = 1
const PREFIX_BYTES = 16
const KEY_ID_BYTES = 8
const NONCE_BYTES = 12
const TAG_BYTES = 16

/** An image of the largest sandbox whose memory does not compress at all, with room for the frame. */
const SEALED_MAX_BYTES = 536_870_912

/**
 * Checkpoints up to this size are opened at once where the platform can: WebCrypto hands each to another thread and back,
 * which takes 0.3 ms however little there is to open. Larger ones would keep the event loop for longer than that.
 */
const AT_ONCE_MAX_BYTES = 262_144

/**
 * A sealer for one 32-byte key. The key's bytes are handed to WebCrypto and not kept.
 *
 * The nonce is synthetic: HMAC-SHA-256, under a second derived key, over header and image, cut to 96 bits. Equal nonces
 * then mean equal messages, so no state and no good randomness is needed, and a cloned machine or a seeded test platform
 * cannot reuse one (the idea of SIV, RFC 5297, with 2^48 checkpoints a key as the bound).
 */
export async function createCheckpointSealer(sealingKey: Uint8Array): Promise<CheckpointSealer> {
  // RFC 5869 with an empty salt: the input is a uniform key already; the info keeps the uses apart.
  const hkdf = (use: string) => ({
    name: 'HKDF',
    hash: 'SHA-256',
    salt: new Uint8Array(0),
    info: new TextEncoder().encode(`enablement.runtime.checkpoint.v1.${use}`)
  })
  const opener = createOpener(sealingKey, hkdf('seal').info)
  const master = await crypto.subtle.importKey('raw', Uint8Array.from(sealingKey), 'HKDF', false, [
    'deriveKey',
    'deriveBits'
  ])
  const [sealKey, nonceKey, keyIdBits] = await Promise.all([
    crypto.subtle.deriveKey(hkdf('seal'), master, { name: 'AES-GCM', length: 256 }, false, ['encrypt', 'decrypt']),
    crypto.subtle.deriveKey(hkdf('nonce'), master, { name: 'HMAC', hash: 'SHA-256', length: 256 }, false, ['sign']),
    crypto.subtle.deriveBits(hkdf('key-id'), master, KEY_ID_BYTES * 8)
  ])
  const keyId = new Uint8Array(keyIdBits)

  return {
    async seal(header, image) {
      const claims = new TextEncoder().encode(canonicalJson(header))
      const authenticated = new Uint8Array(PREFIX_BYTES + claims.length)
      authenticated.set(MAGIC)
      authenticated[4] = VERSION
      new DataView(authenticated.buffer).setUint16(6, claims.length, true)
      authenticated.set(keyId, 8)
      authenticated.set(claims, PREFIX_BYTES)
      const bound = new Uint8Array(authenticated.length + image.length)
      bound.set(authenticated)
      bound.set(image, authenticated.length)
      const mac = new Uint8Array(await crypto.subtle.sign('HMAC', nonceKey, bound))
      const nonce = mac.slice(0, NONCE_BYTES)
      const parameters = { name: 'AES-GCM', iv: nonce, additionalData: authenticated }
      const body = new Uint8Array(await crypto.subtle.encrypt(parameters, sealKey, image))
      const sealed = new Uint8Array(authenticated.length + NONCE_BYTES + body.length)
      sealed.set(authenticated)
      sealed.set(nonce, authenticated.length)
      sealed.set(body, authenticated.length + NONCE_BYTES)
      return sealed
    },

    async open(sealed, expected) {
      const { header, authenticated, foreignKey } = readFrame(sealed, keyId)
      if (foreignKey) throw foreign('key')
      if (header.tenant !== expected.tenant) throw foreign('tenant')
      if (expected.sandboxId !== undefined && header.sandboxId !== expected.sandboxId) throw foreign('sandbox')
      if (header.engine !== expected.engine) throw foreign('engine')
      const iv = sealed.slice(authenticated.length, authenticated.length + NONCE_BYTES)
      const body = sealed.subarray(authenticated.length + NONCE_BYTES)
      let image: Uint8Array<ArrayBuffer>
      try {
        image =
          opener !== undefined && body.length <= AT_ONCE_MAX_BYTES
            ? opener.open(iv, authenticated, body)
            : new Uint8Array(
                await crypto.subtle.decrypt(
                  { name: 'AES-GCM', iv, additionalData: authenticated },
                  sealKey,
                  Uint8Array.from(body)
                )
              )
      } catch {
        throw corrupt('its tag does not verify')
      }
      // After the tag: an expiry that was tampered with is corruption, not expiry.
      if (expected.now >= header.expiresAt) {
        throw new RuntimeError('CHECKPOINT_EXPIRED', `the checkpoint expired at ${header.expiresAt}`, {
          expiredAt: header.expiresAt
        })
      }
      return { header, image }
    }
  }
}

function readFrame(
  sealed: Uint8Array,
  keyId: Uint8Array
): {
  readonly header: CheckpointHeader
  readonly authenticated: Uint8Array<ArrayBuffer>
  readonly foreignKey: boolean
} {
  if (sealed.length > SEALED_MAX_BYTES) {
    const message = `a checkpoint of ${sealed.length} bytes is over the bound of ${SEALED_MAX_BYTES}`
    throw new RuntimeError('CHECKPOINT_TOO_LARGE', message, { bytes: sealed.length, limitBytes: SEALED_MAX_BYTES })
  }
  if (sealed.length < PREFIX_BYTES || MAGIC.some((byte, at) => sealed[at] !== byte)) {
    throw corrupt('it does not begin like a checkpoint')
  }
  if (sealed[4] !== VERSION) throw corrupt(`format version ${sealed[4]} is not ${VERSION}`)
  const claimsBytes = new DataView(sealed.buffer, sealed.byteOffset).getUint16(6, true)
  const end = PREFIX_BYTES + claimsBytes
  if (sealed.length < end + NONCE_BYTES + TAG_BYTES) throw corrupt('it is cut short')
  const authenticated = sealed.slice(0, end)
  let header: CheckpointHeader
  try {
    header = JSON.parse(new TextDecoder().decode(sealed.subarray(PREFIX_BYTES, end))) as CheckpointHeader
  } catch {
    throw corrupt('its header is not JSON')
  }
  if (typeof header !== 'object' || header === null) throw corrupt('its header is not an object')
  // The key's id is no secret: it is derived one-way and stands in every checkpoint.
  return { header, authenticated, foreignKey: keyId.some((byte, at) => sealed[8 + at] !== byte) }
}

function corrupt(reason: string): RuntimeError<'CHECKPOINT_CORRUPT'> {
  return new RuntimeError('CHECKPOINT_CORRUPT', `the checkpoint cannot be opened: ${reason}`, { reason })
}

function foreign(claim: 'tenant' | 'engine' | 'key' | 'sandbox'): RuntimeError<'CHECKPOINT_FOREIGN'> {
  return new RuntimeError('CHECKPOINT_FOREIGN', `the checkpoint belongs to another ${claim}`, { claim })
}
