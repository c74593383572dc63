/** A decision as it was committed. */
export interface Vote {
  readonly approver: string
  /** Who that is, what they may speak for and how much they weigh, as the directory said when they voted. */
  readonly principal: string
  readonly roles: readonly string[]
  readonly authority: number
  readonly decision: 'approve' | 'deny'
  readonly reason: string | undefined
  readonly idempotencyKey: string | undefined
  /** Of what the approver decided on. */
  readonly argumentHash: string
  /** Epoch milliseconds by the store's clock. */
  readonly votedAt: number
}
