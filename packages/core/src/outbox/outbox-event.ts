import type { BreakerEvent } from '../resilience/breaker-event.ts'

/** Which message an event is about. Neither its key, which may name a person, nor its payload. */
export interface OutboxMessageRef {
  readonly outbox: string
  readonly id: string
  readonly destination: string
}

/** Why a message was dead-lettered. */
export type DeathCause =
  /** The deliverer said that it will never be taken. */
  | 'refused'
  /** It was attempted as often as it may. */
  | 'attempts'
  /** The next attempt would have come after `ageMaxMs`. */
  | 'age'
  /** Workers died or hung, again and again, while they had it: it may be what kills them. */
  | 'unanswered'
  /** It was delivered, and `settled` threw for it again and again. */
  | 'unsettled'

/** What an operator should hear of. What `observe` throws is dropped. */
export type OutboxEvent =
  /** `lagMs`: from when it was put, by the store's clock, until its delivery had ended. */
  | ({ readonly type: 'outbox.delivered'; readonly attempt: number; readonly lagMs: number } & OutboxMessageRef)
  /** It will be attempted again. `error` is what the deliverer threw, if it did. */
  | ({
      readonly type: 'outbox.attempt-failed'
      readonly attempt: number
      readonly reason: string
      readonly retryInMs: number
      readonly error?: unknown
    } & OutboxMessageRef)
  /** The deliverer put it off, and will be given it again. */
  | ({
      readonly type: 'outbox.postponed'
      readonly attempt: number
      readonly reason: string
      readonly retryInMs: number
    } & OutboxMessageRef)
  /** It will not be attempted again, unless it is revived. */
  | ({
      readonly type: 'outbox.dead-lettered'
      readonly attempt: number
      readonly cause: DeathCause
      readonly reason: string
      readonly error?: unknown
    } & OutboxMessageRef)
  /** The lease could not be extended in time: the delivery's signal was aborted, and the message is somebody else's. */
  | ({ readonly type: 'outbox.lease-lost'; readonly heldMs: number } & OutboxMessageRef)
  /** An attempt ended when another worker had already taken the message over: what it says changed nothing. */
  | ({ readonly type: 'outbox.overtaken'; readonly fence: number } & OutboxMessageRef)
  /**
   * `settled` threw for the messages with these ids, and nothing of their unit was written. They are settled again in
   * `retryInMs`, each by itself; without it, the message is dead-lettered, and `settled` is not told.
   */
  | {
      readonly type: 'outbox.settlements-failed'
      readonly outbox: string
      readonly ids: readonly string[]
      readonly error: unknown
      readonly retryInMs: number | undefined
    }
  /** The store failed while deliveries were under way; it is asked again in `retryInMs`. */
  | {
      readonly type: 'outbox.store-failed'
      readonly outbox: string
      readonly error: unknown
      readonly retryInMs: number
    }
  /** Of the breaker of a destination, which is the breaker's name. */
  | BreakerEvent
