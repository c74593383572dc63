/** Why a holder must stop. */
export type LockLossReason =
  /** The lease ran out as the holder counts it: it was not extended in time, by choice or because the store did not answer. */
  | 'expired'
  /** It ran out while this machine slept: its wall clock went on, its monotonic clock did not. Also a wall clock set forward. */
  | 'suspended'
  /** The store says that the lease is no longer this holder's: taken over, expired by the store's clock, or forgotten. */
  | 'disowned'
  /** It has been extended for as long as `holdMaxMs` allows. */
  | 'held-too-long'

/** How a lock was lost. */
export interface LockLoss {
  readonly reason: LockLossReason
  readonly name: string
  /** The fence of the lease that was lost. */
  readonly fence: number
  /** How long it had been held, by this machine's clocks. */
  readonly heldMs: number
}

/** What an operator should hear of. */
export type LockEvent =
  /** A holder's signal was aborted. The work may still be running until it looks. */
  | ({ readonly type: 'lock.lost' } & LockLoss)
  /** The store failed to extend; it is asked again soon, and the lock is lost in `remainingMs` unless it answers. */
  | {
      readonly type: 'lock.extension-failed'
      readonly name: string
      readonly fence: number
      readonly remainingMs: number
      readonly error: unknown
    }
  /** The store failed to release, after the work was over or a claim was given up. The lease ends by itself. */
  | { readonly type: 'lock.release-failed'; readonly name: string; readonly error: unknown }
