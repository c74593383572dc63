import type { JsonObject, Verdict } from '@enablement/core'
import type { RequestView } from './request/request-view.ts'

/** What came of a vote, as channels, links and pages are told; `Oversight.decide`. */
export type VoteAnswer =
  | { readonly outcome: 'recorded'; readonly verdict: Verdict | undefined }
  | {
      readonly outcome: 'already-decided'
      readonly decision: 'approve' | 'deny'
      readonly verdict: Verdict | undefined
    }
  | { readonly outcome: 'too-late'; readonly verdict: Verdict }
  | { readonly outcome: 'not-authorized'; readonly because: 'not-asked' | 'separation-of-duties' | 'not-known' }
  /** It was for another version than the one that is asked now. Nothing was counted. */
  | { readonly outcome: 'superseded'; readonly argumentHash: string; readonly version: number }

/** The part of `Oversight` that a surface for people needs: a page, a chat, a link. */
export interface OversightCalls {
  /** Throws `UNKNOWN_REQUEST`, and `INVALID_OPTIONS` (core) for a malformed ballot: a denial needs a reason. */
  decide(
    requestId: string,
    ballot: {
      readonly approver: string
      readonly idempotencyKey?: string
      readonly argumentHash?: string
    } & (
      | { readonly decision: 'approve'; readonly reason?: string }
      | { readonly decision: 'deny'; readonly reason: string }
    )
  ): Promise<VoteAnswer>
  /** Throws `UNKNOWN_REQUEST`. */
  inspect(requestId: string): Promise<RequestView>
  /**
   * Requests of a tenant, the newest first, 50 to a page unless given, at most 200. With `approver`, those pending ones
   * whose asked tiers hold that person. `next` is given back as `after`.
   */
  list(query: {
    readonly tenant: string
    readonly status?: 'pending' | 'settled'
    readonly approver?: string
    readonly after?: string
    readonly limit?: number
  }): Promise<{ readonly requests: readonly RequestView[]; readonly next: string | undefined }>
  /** Changes what is asked. Votes are void, and whoever was asked is asked again. The schema of the action checks it. */
  edit(
    requestId: string,
    call: { readonly by: string; readonly detail: JsonObject; readonly reason: string; readonly argumentHash: string }
  ): Promise<
    | { readonly outcome: 'edited'; readonly version: number; readonly argumentHash: string }
    | { readonly outcome: 'unchanged' }
    | { readonly outcome: 'superseded'; readonly argumentHash: string; readonly version: number }
    | { readonly outcome: 'not-authorized'; readonly because: 'not-asked' | 'separation-of-duties' | 'not-known' }
    | { readonly outcome: 'already-settled'; readonly verdict: Verdict }
    /** It has been edited as often as a request may be. */
    | { readonly outcome: 'full' }
  >
  /** Adds a comment, at most 100 to a request. A repetition under the same key changes nothing. */
  comment(
    requestId: string,
    call: { readonly by: string; readonly text: string; readonly idempotencyKey?: string }
  ): Promise<{ readonly outcome: 'recorded' | 'full' }>
  /** Puts on record that someone was shown the request in full; once for each person and version. */
  viewed(requestId: string, call: { readonly by: string; readonly argumentHash?: string }): Promise<void>
}
