import type { JsonObject } from '@enablement/core'
import type { UsageIdentity } from '../event/usage-event.ts'

/** A counted event as a feed gives it. */
export interface RecordedUsage extends UsageIdentity {
  /** Its place in the order of recording: a positive integer, unique, with gaps between. */
  readonly position: number
  readonly source?: string
  readonly metric: string
  readonly quantity: number
  /** When it was used, as it is counted, and when it was received first: epoch milliseconds. */
  readonly at: number
  readonly receivedAt: number
  readonly properties: JsonObject
}

/**
 * Reads the ledger in the order of recording. What was set aside takes its place when it is released; what is late is in
 * it like the rest.
 *
 * An event never appears at or before a position that was given out or passed over: who remembers the last position it
 * has dealt with, and reads after it, deals with each event.
 */
export interface UsageFeed {
  /**
   * Counted events after a position, in order, at most `limit`. With `upTo`, a position that was read before, exactly those
   * that were there then.
   */
  read(
    range: { readonly after: number; readonly limit: number; readonly upTo?: number },
    options?: { readonly signal?: AbortSignal }
  ): Promise<readonly RecordedUsage[]>
  /** The last position that may be passed over now, 0 in an empty ledger. */
  end(options?: { readonly signal?: AbortSignal }): Promise<number>
}
