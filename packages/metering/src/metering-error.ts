import { type Issue, isSuiteError, SuiteError } from '@enablement/core'

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
  /** A rate names a currency that ISO 4217 does not list with minor units. */
  readonly UNKNOWN_CURRENCY: { readonly currency: string }
  /**
   * The store failed during `operation`, with the code `reason` of the cause. Whether it took effect may be unknown;
   * every operation is idempotent, so the answer to doubt is to call again with the same transaction id or key.
   */
  readonly STORE_FAILED: { readonly operation: string; readonly reason: string }
}

/** An error of `@enablement/metering`. */
export class MeteringError<Code extends keyof MeteringErrorTable = keyof MeteringErrorTable> extends SuiteError<
  MeteringErrorTable,
  Code
> {
  override readonly name = 'MeteringError'
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
