import { parseRetryAfter } from '@enablement/core'

/** What an endpoint's answer means for the message. */
export type Answer =
  | { readonly meaning: 'taken' }
  /** Its refusal is final. */
  | { readonly meaning: 'declined' }
  /** The endpoint is no more, and wants nothing again. */
  | { readonly meaning: 'gone' }
  /** It may take it later: not before `retryAfterMs`, if it said so. `throttled`: this was no attempt in earnest. */
  | { readonly meaning: 'failed'; readonly throttled: boolean; readonly retryAfterMs?: number }

/** Statuses of the 4xx that say "later" rather than "never": request timeout, too early, too many requests. */
const LATER: ReadonlySet<number> = new Set([408, 425, 429])

/**
 * Standard Webhooks 1.0, "Delivery": only 2xx is taken; a redirect is a failure and is never followed; 410 disables the
 * endpoint. `now` is wall time, for a `Retry-After` that is a date.
 */
export function answerOf(status: number, retryAfter: string | undefined, now: number): Answer {
  if (status >= 200 && status < 300) return { meaning: 'taken' }
  if (status === 410) return { meaning: 'gone' }
  if (status >= 400 && status < 500 && !LATER.has(status)) return { meaning: 'declined' }
  const retryAfterMs = retryAfter === undefined ? undefined : parseRetryAfter(retryAfter, now)
  if (retryAfterMs === undefined) return { meaning: 'failed', throttled: false }
  return { meaning: 'failed', throttled: status === 429, retryAfterMs }
}
