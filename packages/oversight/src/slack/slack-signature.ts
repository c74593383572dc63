import { hmac } from '@noble/hashes/hmac.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { utf8ToBytes } from '@noble/hashes/utils.js'

/** How far a request's timestamp may be from the clock, either way: https://docs.slack.dev/authentication/verifying-requests-from-slack. */
export const SIGNATURE_WINDOW_MS = 300_000

const TIMESTAMP = /^\d{1,12}$/
const SIGNATURE = /^v0=([0-9a-f]{64})$/

export interface SignedRequest {
  /** `X-Slack-Request-Timestamp`. */
  readonly timestamp: string | null
  /** `X-Slack-Signature`. */
  readonly signature: string | null
  /** As it was received: what was parsed and written again is not what was signed. */
  readonly body: Uint8Array
}

/**
 * Whether Slack has signed a request, with any of the secrets, within five minutes of `now` (epoch milliseconds) either
 * way. A signature says where a request comes from, and not that it comes for the first time.
 */
export function checkSignature(
  { timestamp, signature, body }: SignedRequest,
  secrets: readonly string[],
  now: number
): 'sound' | 'signature' | 'timestamp' {
  const hex = SIGNATURE.exec(signature ?? '')?.[1]
  if (timestamp === null || !TIMESTAMP.test(timestamp) || hex === undefined) return 'signature'
  const claimed = bytesOf(hex)
  const prefix = utf8ToBytes(`v0:${timestamp}:`)
  let sound = false
  // All are tried, whichever fits, so that the time taken says nothing about it.
  for (const secret of secrets) {
    const expected = hmac.create(sha256, utf8ToBytes(secret)).update(prefix).update(body).digest()
    sound = areEqual(expected, claimed) || sound
  }
  if (!sound) return 'signature'
  return Math.abs(now - Number(timestamp) * 1_000) > SIGNATURE_WINDOW_MS ? 'timestamp' : 'sound'
}

/** In a time that does not depend on where they differ. */
function areEqual(one: Uint8Array, other: Uint8Array): boolean {
  let difference = one.length ^ other.length
  for (const [at, byte] of one.entries()) difference |= byte ^ (other[at] ?? 0)
  return difference === 0
}

const bytesOf = (hex: string): Uint8Array =>
  Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16))
