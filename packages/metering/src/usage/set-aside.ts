import type { JsonObject } from '@enablement/core'
import type { UsageIdentity } from '../event/usage-event.ts'

/** Why an event is kept and not counted: its time is too far ahead, or it came too late for any bill. */
export type SetAside = 'quarantine' | 'review'

/** An event that is kept and not counted until somebody decides. */
export interface SetAsideUsage extends UsageIdentity {
  readonly reason: SetAside
  readonly source?: string
  readonly metric: string
  readonly quantity: number
  /** Its own time: epoch milliseconds. */
  readonly at: number
  readonly properties: JsonObject
  /** When it was received: epoch milliseconds. */
  readonly receivedAt: number
  /** The period that it was used in, where it is known: [from, to), epoch milliseconds. */
  readonly period?: { readonly from: number; readonly to: number }
}

/** A place in a list of them, which goes by time of receipt. */
export interface SetAsidePlace {
  readonly receivedAt: number
  readonly subscription: string
  readonly transactionId: string
}

/** Which of them to list: the oldest first. */
export interface SetAsideQuery {
  readonly tenant: string
  readonly reason: SetAside
  /** Those after this place. */
  readonly after?: SetAsidePlace
  readonly limit: number
}

/** What somebody decided about one of them. */
export type SetAsideDecision = UsageIdentity & {
  /** As it is now; when it is no longer, somebody else was first and nothing changes. */
  readonly reason: SetAside
  /** Who: `operator:bo`. */
  readonly by: string
  /** Epoch milliseconds. */
  readonly decidedAt: number
} & (
    | {
        readonly as: 'counted'
        /** The time it is counted under. */
        readonly at: number
        readonly lateness: 'on-time' | 'grace' | 'adjustment'
        /** The period that it is an adjustment of. */
        readonly period?: { readonly from: number; readonly to: number }
      }
    /** It is in quarantine, and by now too late for any bill. */
    | { readonly as: 'review'; readonly period: { readonly from: number; readonly to: number } }
    /** Never counted. Its identity stays taken: sent again, it is a duplicate. */
    | { readonly as: 'discarded' }
  )

/** What is known of an identity. */
export type SetAsideState =
  | { readonly state: 'set-aside'; readonly usage: SetAsideUsage }
  | { readonly state: 'counted' | 'discarded' }
  | { readonly state: 'unknown' }
