import type { EffectPolicy } from '../partition/outbound-request.ts'

/** What is known of a request before it is sent. */
export interface EgressRequest {
  readonly method: string
  /** Scheme, host and port. */
  readonly origin: string
  readonly path: string
  /** The value of its `Idempotency-Key`, if it has one. */
  readonly idempotencyKey: string | undefined
}

/** How a request is treated; what is left out is as it would be without. */
export interface EgressTreatment {
  readonly policy?: Exclude<EffectPolicy, 'keyed'>
  /** Makes it `keyed`: its server must heed the header. What the request itself carries goes first. */
  readonly idempotencyKey?: string
  /** Requests of one lane are replayed in order; the origin unless given. */
  readonly lane?: string
  /** How long it may take until its reply begins, waiting included. */
  readonly deadlineMs?: number
}

/** RFC 9110 §9.2.1, and draft-ietf-httpbis-safe-method-w-body for QUERY. */
const SAFE = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'QUERY'])
/** RFC 9110 §9.2.2, those that are not safe. */
const IDEMPOTENT = new Set(['PUT', 'DELETE'])

/** draft-ietf-httpapi-idempotency-key-header */
export const IDEMPOTENCY_KEY_HEADER = 'idempotency-key'

/** What RFC 9110 says of a method. PATCH, POST and methods of others must not be repeated. */
export function policyOfMethod(method: string): 'safe' | 'idempotent' | 'never' {
  const name = method.toUpperCase()
  return SAFE.has(name) ? 'safe' : IDEMPOTENT.has(name) ? 'idempotent' : 'never'
}

/** Header names and values, one after the other: the one form of undici's that can be read twice and added to. */
export function flatHeaders(headers: unknown): unknown[] {
  if (headers === null || headers === undefined) return []
  // An odd list, which undici refuses as it would refuse this.
  if (typeof headers !== 'object') return [headers]
  if (Array.isArray(headers)) return [...headers]
  if (Symbol.iterator in headers) return [...(headers as Iterable<readonly [string, unknown]>)].flat(1)
  return Object.entries(headers).flat(1)
}

/** The value of a header in a flat list; undefined too for one that is not one text. */
export function headerOf(flat: readonly unknown[], wanted: string): string | undefined {
  for (let at = 0; at + 1 < flat.length; at += 2) {
    if (String(flat[at]).toLowerCase() !== wanted) continue
    const value = flat[at + 1]
    return typeof value === 'string' ? value : Buffer.isBuffer(value) ? value.toString('latin1') : undefined
  }
  return undefined
}
