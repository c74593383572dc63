import { type Issue, isSuiteError, SuiteError } from '@enablement/core'
import type { LimitConflict } from './quota/limit-conflict.ts'

/** What goes wrong in metering, by code. */
export type MeteringErrorTable = {
  /** `accept` was given usage that `record` would have rejected. Nothing was counted. */
  readonly USAGE_REJECTED: { readonly issues: readonly Issue[] }
  /** `accept` was given an identity that was counted before with another payload. Nothing was counted. */
  readonly USAGE_CONFLICT: {
    readonly tenant: string
    readonly subscription: string
    readonly transactionId: string
    readonly firstReceivedAt: number
  }
  /** A batch holds more events than one call may bring. Nothing was counted; send it in parts. */
  readonly BATCH_TOO_LARGE: { readonly events: number; readonly limit: number }
  /** A subscription has more metrics in the range than a total may list; ask for them one by one. */
  readonly TOO_MANY_METRICS: { readonly tenant: string; readonly subscription: string; readonly limit: number }
  /** An amount to consume is not an integer in [1, 9e15]. Nothing was spent. */
  readonly INVALID_AMOUNT: { readonly amount: number | undefined; readonly max: number }
  /** Levels of limits contradict each other. Construction fails with those of all limits; a call with those of its own. */
  readonly LIMIT_CONFLICT: { readonly conflicts: readonly LimitConflict[] }
  /** `consume` was called on a limit that counts what is in use at the same time: only holds draw on it. */
  readonly HOLDS_ONLY: { readonly limit: string }
  /** A guarded model call would exceed its quota. Nothing was held, and the model was not called. */
  readonly QUOTA_EXCEEDED: {
    readonly limit: string
    readonly path: readonly string[]
    readonly requested: number
    readonly remaining: number
    readonly retryAt: number | null
  }
  /** A guarded model call has no quota: the store gave no decision, the limit is unknown, or its hold has ended before. */
  readonly QUOTA_UNDECIDED: { readonly outcome: string }
  /** A rate names a currency that ISO 4217 does not list with minor units. */
  readonly UNKNOWN_CURRENCY: { readonly currency: string }
  /** Usage of a metric that the rate card has no price for, and is told not to give away. Nothing was billed. */
  readonly UNRATED_METRIC: { readonly metric: string }
  /** The bill of a period needs a rate card or a subscription that nobody has. Nothing was billed. */
  readonly NOT_BILLABLE: { readonly tenant: string; readonly subscription: string; readonly reason: string }
  /** A wallet was begun with another scale of its unit than is declared now. Nothing was changed. */
  readonly UNIT_MISMATCH: { readonly unit: string; readonly scale: number; readonly storedScale: number }
  /** A charge or hold would draw on more grants than one call may. Nothing was changed; ask in parts. */
  readonly CREDITS_FRAGMENTED: { readonly limit: number }
  /** A wallet has grants of as many different scopes as it may. Nothing was changed. */
  readonly TOO_MANY_SCOPES: { readonly limit: number }
  /**
   * The store failed during `operation`, with the code `reason` of the cause. Whether it took effect may be unknown;
   * every operation is idempotent, so the answer to doubt is to call again with the same transaction id or key.
   */
  readonly STORE_FAILED: { readonly operation: string; readonly reason: string }
  /**
   * Neither the store nor the journal took an event, with the code `reason` of what the journal said: `OVERLOADED` when it
   * is full. The event is in the caller's hands alone: send it again.
   */
  readonly JOURNAL_FAILED: { readonly operation: string; readonly reason: string }
  /** What usage is exported to did not take it: `http-503`, `no-answer`, `circuit-open`, `too-slow`. It is sent again. */
  readonly EXPORT_FAILED: {
    readonly target: string
    readonly reason: string
    readonly retryAfterMs: number | undefined
  }
  /** What usage is exported to refuses the key that it is called with. */
  readonly EXPORT_UNAUTHORIZED: { readonly target: string; readonly reason: string }
}

/** An error of `@enablement/metering`. */
export class MeteringError<Code extends keyof MeteringErrorTable = keyof MeteringErrorTable> extends SuiteError<
  MeteringErrorTable,
  Code
> {
  override readonly name = 'MeteringError'
}

/** Faults after which the same call may succeed. */
const PASSING = [
  'STORE_UNAVAILABLE',
  'COMMIT_UNKNOWN',
  'OVERLOADED',
  'TIMED_OUT',
  'CIRCUIT_OPEN',
  'THROTTLED',
  'CLOSED'
]

/** Whether a store failed in a way that passes by itself: everybody else's calls fail as well meanwhile. */
export function isPassing(error: unknown): boolean {
  if (!isSuiteError(error)) return false
  const { reason = error.code } = error.detail as { readonly reason?: string }
  return PASSING.includes(error.code === 'STORE_FAILED' ? reason : error.code)
}

/**
 * A store's failure in metering's terms, or undefined when it is none: only the suite's own errors are failures of a
 * store, anything else that a store throws is a bug. What `signal` aborted with is none either, whatever it is: a worker
 * that closes aborts its duties with an error of the suite.
 */
export function storeFailure(
  operation: string,
  error: unknown,
  signal: AbortSignal | undefined
): MeteringError<'STORE_FAILED'> | undefined {
  if (!isSuiteError(error) || (signal?.aborted === true && error === signal.reason)) return undefined
  return new MeteringError(
    'STORE_FAILED',
    `the store failed to ${operation}: ${error.message}`,
    { operation, reason: error.code },
    { cause: error }
  )
}
