import type { JsonObject } from '../json/json.ts'

/** Something that was used and may have to be paid for. */
export interface Usage {
  readonly tenant: string
  readonly subscription: string
  /** Names the use within tenant and subscription: the same id reported twice is counted once. */
  readonly transactionId: string
  /** What was used, such as `sandbox-milliseconds`. */
  readonly metric: string
  /** A non-negative integer in the metric's smallest unit, at most 9e15. */
  readonly quantity: number
  /** When it was used: epoch milliseconds. */
  readonly at: number
  readonly properties?: JsonObject
}

/** The seam through which packages report usage. Metering answers it. */
export interface UsageSink {
  /** Resolved means durable, counted once. Rejects when that could not be achieved; report the same usage again. */
  accept(usage: Usage): Promise<void>
}
