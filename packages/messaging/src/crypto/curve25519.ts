import { MessagingError } from '../messaging-error.ts'

/** Bytes of a public key, a private key and a seed, on both curves. */
export const KEY_BYTES = 32

/** Bytes of an Ed25519 signature. */
export const SIGNATURE_BYTES = 64

/**
 * Whether the bytes are the one encoding of their field element: below p = 2^255 - 19 with bit 255 clear.
 *
 * X25519 gives the same secret for every alias of a key (RFC 7748 §5), so a message under an alias would pass for a new
 * one wherever keys are compared by their bytes. The protocols refuse aliases before they compute anything.
 */
export function isCanonical(publicKey: Uint8Array): boolean {
  if (publicKey.length !== KEY_BYTES) return false
  const top = publicKey[31] as number
  if (top !== 0x7f) return top < 0x7f
  for (let at = 30; at > 0; at -= 1) if (publicKey[at] !== 0xff) return true
  return (publicKey[0] as number) < 0xed
}

/**
 * The y-coordinates of the eight Ed25519 points of small order, with the two non-canonical encodings of them, as hex
 * with the sign bit cleared. Under such a public key one signature verifies for many messages.
 */
const SMALL_ORDER_SIGNING_KEYS: ReadonlySet<string> = new Set([
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0100000000000000000000000000000000000000000000000000000000000000',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f'
])

/** Whether an Ed25519 public key is a point of small order, in any encoding. */
export function hasSmallOrder(publicKey: Uint8Array): boolean {
  let hex = ''
  for (let at = 0; at < publicKey.length; at += 1) {
    const byte = publicKey[at] as number
    hex += (at === 31 ? byte & 0x7f : byte).toString(16).padStart(2, '0')
  }
  return SMALL_ORDER_SIGNING_KEYS.has(hex)
}

/** Refuses anything that is not `lengthBytes` bytes. `key` names it in the error. */
export function assertLength(bytes: Uint8Array, key: string, lengthBytes: number = KEY_BYTES): void {
  if (bytes instanceof Uint8Array && bytes.length === lengthBytes) return
  const found = bytes instanceof Uint8Array ? `${bytes.length} bytes` : typeof bytes
  throw invalidKey(key, `expected ${lengthBytes} bytes and found ${found}`)
}

export function invalidKey(key: string, reason: string, cause?: unknown): MessagingError<'INVALID_KEY'> {
  return new MessagingError('INVALID_KEY', `${key} is not usable: ${reason}`, { key, reason }, { cause })
}
