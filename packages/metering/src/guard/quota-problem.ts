import type { Refused, Unavailable } from '../quota/quota-outcome.ts'

/** The registered problem type of draft-ietf-httpapi-ratelimit-headers, section 6.1. */
const QUOTA_EXCEEDED = 'https://iana.org/assignments/http-problem-types#quota-exceeded'

/** The same draft, section 6.2: the service itself is short of capacity. */
const REDUCED_CAPACITY = 'https://iana.org/assignments/http-problem-types#temporary-reduced-capacity'

/** When the store does not say when to come back: about as long as a breaker's first break. */
const UNAVAILABLE_RETRY_S = 5

/** 429, as RFC 9457 has it. Says the limit and the numbers, and no path: whose part it is may be a person's name. */
export function quotaExceeded({ level, requested, remaining, retryAt }: Refused, now: number): Response {
  const retryAfter = retryAt === null ? undefined : secondsUntil(retryAt, now)
  return problem(429, retryAfter, {
    type: QUOTA_EXCEEDED,
    title: 'The quota has been exceeded',
    detail: `${requested} requested, ${remaining} remaining`,
    'violated-policies': [level.limit],
    requested,
    remaining
  })
}

/** 503: the request may well be within its quota, and nobody can tell. */
export function quotaUndecided({ reason }: Pick<Unavailable, 'reason'>): Response {
  return problem(503, UNAVAILABLE_RETRY_S, {
    type: REDUCED_CAPACITY,
    title: 'The quota cannot be checked',
    detail: reason === 'overloaded' ? 'too many requests wait for the quota store' : 'the quota store does not answer'
  })
}

/** 409: the idempotency key names another request, or one whose work has ended. */
export function keyConflict(detail: string): Response {
  return problem(409, undefined, { type: 'about:blank', title: 'The idempotency key was used before', detail })
}

function problem(status: number, retryAfter: number | undefined, members: Readonly<Record<string, unknown>>): Response {
  const headers = new Headers({ 'content-type': 'application/problem+json', 'cache-control': 'no-store' })
  if (retryAfter !== undefined) headers.set('retry-after', String(retryAfter))
  return new Response(JSON.stringify({ status, ...members }), { status, headers })
}

/** Whole seconds, rounded up: who comes back when told to must not be too early. At least 1. */
export function secondsUntil(at: number, now: number): number {
  return Math.max(1, Math.ceil((at - now) / 1_000))
}
