import type { Delivery } from './delivery.ts'
import type { RequestRecord } from './request.ts'

/** A decision as it was committed. */
export interface Vote {
  readonly approver: string
  readonly decision: 'approve' | 'deny'
  readonly reason: string | undefined
  readonly idempotencyKey: string | undefined
  /** Of what the approver decided on. */
  readonly argumentHash: string
  readonly votedAt: number
}

/** Everything the store holds about one request. */
export interface Dossier {
  readonly request: RequestRecord
  readonly votes: readonly Vote[]
  readonly deliveries: readonly Delivery[]
}
