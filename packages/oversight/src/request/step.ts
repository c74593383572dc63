import type { Fact } from '../evidence/fact.ts'
import type { AddressedMessage } from './message.ts'
import type { RequestRecord } from './request.ts'

/**
 * What one input makes of a request: the answer for whoever gave it, and the changes that are to be committed together
 * with their evidence. Steps are pure functions of the request, the store's clock and the input; a store may run one
 * again after a conflict.
 */
export interface Step<Answer> {
  readonly answer: Answer
  /** The request as it is from now on; absent when it stays as it was. */
  readonly request?: RequestRecord
  /** What is to go out because of it. */
  readonly messages?: readonly AddressedMessage[]
  /** What happened, in order, for the record and for observers. */
  readonly facts: readonly Fact[]
}
