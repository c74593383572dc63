import { secondsUntil } from './quota-problem.ts'

/** How a quota stands, for the `RateLimit` field. */
export interface Standing {
  /** The limit that has least left. */
  readonly limit: string
  readonly remaining: number
  /** Epoch milliseconds; null where waiting alone does not help. */
  readonly resetsAt: number | null
}

/**
 * The `RateLimit` field of draft-ietf-httpapi-ratelimit-headers-10: the policy's name, what remains (`r`) and in how many
 * seconds it resets (`t`). A limit's name needs no escape in a structured-field string.
 */
export function rateLimitField({ limit, remaining, resetsAt }: Standing, now: number): string {
  const reset = resetsAt === null ? '' : `;t=${secondsUntil(resetsAt, now)}`
  return `"${limit}";r=${Math.min(remaining, INTEGER_MAX)}${reset}`
}

/** A structured field's integers have at most 15 digits (RFC 9651 §3.3.1). */
const INTEGER_MAX = 999_999_999_999_999

/** The response with the field; one whose headers cannot be changed, as `fetch` gives them, is copied. */
export function withRateLimit(response: Response, field: string): Response {
  try {
    response.headers.set('ratelimit', field)
    return response
  } catch {
    const copy = new Response(response.body, response)
    copy.headers.set('ratelimit', field)
    return copy
  }
}
