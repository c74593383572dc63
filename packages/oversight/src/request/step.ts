import type { Fact } from '../evidence/fact.ts'
import type { Delivery } from './delivery.ts'
import type { Vote } from './dossier.ts'
import type { RequestRecord } from './request.ts'

/**
 * What one input makes of a request: the answer for whoever gave it, and the changes that are to be committed together
 * with their evidence. Steps are pure functions of the dossier, the store's clock and the input; a store may run one
 * again after a conflict.
 */
export interface Step<Answer> {
  readonly answer: Answer
  /** The request as it is from now on; absent when it stays as it was. */
  readonly request?: RequestRecord
  /** A vote to add. */
  readonly vote?: Vote
  /** Deliveries to add. A store refuses an id that it already holds: no step may fire twice. */
  readonly newDeliveries?: readonly Delivery[]
  /** Deliveries that changed. */
  readonly changedDeliveries?: readonly Delivery[]
  /** What happened, in order, for the record and for observers. */
  readonly facts: readonly Fact[]
}
