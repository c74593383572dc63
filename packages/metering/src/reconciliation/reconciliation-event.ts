/** What reconciliation tells an observer. */
export type ReconciliationEvent =
  /** A period's bills differ from its ledger by more than the tolerance. Alert on it. */
  | {
      readonly type: 'reconciliation.differs'
      readonly tenant: string
      readonly subscription: string
      readonly periodAt: number
      readonly currency: string
      /** Billed less processed: negative when too little was billed. */
      readonly minorUnits: bigint
      readonly metrics: readonly string[]
    }
  /** What was different is now put right on the next invoice. */
  | {
      readonly type: 'reconciliation.adjusted'
      readonly tenant: string
      readonly subscription: string
      readonly periodAt: number
      readonly run: string
    }
  /** A period with usage has had no final invoice a day after it could have had. Alert on it. */
  | {
      readonly type: 'reconciliation.not-invoiced'
      readonly tenant: string
      readonly subscription: string
      readonly periodAt: number
      readonly events: number
    }
  /** A subscription could not be compared; the others go on. */
  | {
      readonly type: 'reconciliation.failed'
      readonly tenant: string
      readonly subscription: string
      readonly run: string
      readonly error: unknown
    }
  | {
      readonly type: 'reconciliation.run-ended'
      readonly run: string
      readonly checked: number
      readonly differing: number
      readonly failed: number
    }
