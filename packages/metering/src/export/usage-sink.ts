import type { MeteringError } from '../metering-error.ts'
import type { RecordedUsage } from '../usage/usage-feed.ts'

/** What became of one event. */
export type SendOutcome =
  /** It is there, now or from before. */
  | { readonly outcome: 'accepted' }
  /** It is not for this target. */
  | { readonly outcome: 'skipped' }
  /** It will never be taken as it is: `too-old`, `http-400`. Names, never the target's words. */
  | { readonly outcome: 'refused'; readonly reason: string }
  /** It may be taken another time. */
  | {
      readonly outcome: 'failed'
      readonly error: unknown
      /** Whether it may be there all the same. */
      readonly mayBeThere: boolean
      readonly retryAfterMs?: number
    }
  /** Nobody got to it. */
  | { readonly outcome: 'unsent' }

/** Where usage is exported to. Each event goes under an identifier that makes it one there, however often it is sent. */
export interface UsageSink {
  /** What became of each event, in order. Stops to begin sends when the signal aborts. Does not throw. */
  send(
    events: readonly RecordedUsage[],
    options: {
      readonly signal: AbortSignal
      /** From `POISON_ATTEMPTS` on, one that fails for itself is to be told from those that fail with it. */
      readonly attempt: number
    }
  ): Promise<readonly SendOutcome[]>
}

/** Attempts at an event that fails while others get through: after some minutes it is what is wrong. */
export const POISON_ATTEMPTS = 8

/** An error of the target's, as `failed`. */
export function failed(
  error: MeteringError<'EXPORT_FAILED' | 'EXPORT_UNAUTHORIZED'>,
  mayBeThere: boolean
): Extract<SendOutcome, { outcome: 'failed' }> {
  const retryAfterMs = error.is('EXPORT_FAILED') ? error.detail.retryAfterMs : undefined
  return { outcome: 'failed', error, mayBeThere, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) }
}
