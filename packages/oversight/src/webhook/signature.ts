import { hmac } from '@noble/hashes/hmac.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { concatBytes, utf8ToBytes } from '@noble/hashes/utils.js'
import { z } from 'zod'

/** Standard Webhooks 1.0, "Symmetric secrets": 192 to 512 bits. */
const SECRET_MIN_BYTES = 24
const SECRET_MAX_BYTES = 64
const PREFIX = 'whsec_'

/** During a rotation the old and the new sign; more than a few would be a header nobody planned for. */
const SECRETS_MAX = 5

/** Of an endpoint, or of its receiver. */
export const secretsSchema: z.ZodType<readonly string[]> = z
  .array(
    z
      .string()
      .refine(
        (text) => secretBytes(text) !== undefined,
        `must be ${PREFIX} and base64 of ${SECRET_MIN_BYTES} to ${SECRET_MAX_BYTES} bytes`
      )
  )
  .min(1)
  .max(SECRETS_MAX)

/** The key behind `whsec_…`; undefined when it is malformed. */
export function secretBytes(text: string): Uint8Array | undefined {
  const bytes = text.startsWith(PREFIX) ? fromBase64(text.slice(PREFIX.length)) : undefined
  return bytes !== undefined && bytes.length >= SECRET_MIN_BYTES && bytes.length <= SECRET_MAX_BYTES ? bytes : undefined
}

/** HMAC-SHA256 over `id.timestamp.body` (Standard Webhooks 1.0, "Signature scheme"), of the body's very bytes. */
export function signatureOf(
  key: Uint8Array,
  about: { readonly id: string; readonly timestamp: string },
  body: Uint8Array
): Uint8Array {
  return hmac(sha256, key, concatBytes(utf8ToBytes(`${about.id}.${about.timestamp}.`), body))
}

/** `v1,` and the signature in base64, for each secret. */
export function signatureHeader(
  secrets: readonly string[],
  about: { readonly id: string; readonly timestamp: string },
  body: Uint8Array
): string {
  return secrets
    .map((secret) => `v1,${toBase64(signatureOf(secretBytes(secret) as Uint8Array, about, body))}`)
    .join(' ')
}

/** Whether two signatures are the same, in a time that does not depend on where they differ. */
export function sameSignature(left: Uint8Array, right: Uint8Array): boolean {
  if (left.length !== right.length) return false
  let difference = 0
  for (const [at, byte] of left.entries()) difference |= byte ^ (right[at] as number)
  return difference === 0
}

const toBase64 = (bytes: Uint8Array): string => btoa(String.fromCharCode(...bytes))

/** Standard base64 with or without padding; undefined for what is not exactly what `toBase64` makes. */
export function fromBase64(text: string): Uint8Array | undefined {
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(text)) return undefined
  try {
    const bytes = Uint8Array.from(atob(text), (one) => one.charCodeAt(0))
    return toBase64(bytes).replaceAll('=', '') === text.replaceAll('=', '') ? bytes : undefined
  } catch {
    return undefined
  }
}
