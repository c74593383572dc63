import { type CircuitBreaker, isSuiteError } from '@enablement/core'
import { type MeteringError, storeFailure } from '../metering-error.ts'

/** The store gave no answer. */
export interface Down {
  readonly outcome: 'down'
  readonly reason: 'store-failed' | 'circuit-open' | 'overloaded'
  /** How it failed, or failed last. Made once per failed call of the store, never per caller. */
  readonly error?: MeteringError<'STORE_FAILED'>
}

export type Asked<T> = { readonly outcome: 'answered'; readonly value: T } | Down

/** The way to the store, past the breaker. */
export interface StoreGate {
  /**
   * Asks the store. Throws what is no failure of a store: a bug, and the reason of `signal`. What is refused for being too
   * much (`OVERLOADED`) is a failure to the caller and none to the breaker: it concerns one tenant and not all.
   */
  ask<T>(operation: string, work: () => Promise<T>, signal?: AbortSignal): Promise<Asked<T>>
}

export function storeGate(breaker: CircuitBreaker, monotonic: () => number): StoreGate {
  let lastError: MeteringError<'STORE_FAILED'> | undefined
  const open = (): Down => ({
    outcome: 'down',
    reason: 'circuit-open',
    ...(lastError === undefined ? {} : { error: lastError })
  })
  return {
    async ask(operation, work, signal) {
      const permit = breaker.acquire()
      if (permit.outcome === 'rejected') return open()
      const startedAt = monotonic()
      try {
        const value = await work()
        breaker.succeed(permit, monotonic() - startedAt)
        return { outcome: 'answered', value }
      } catch (error) {
        // What was asked is malformed: whoever asked is wrong, and the store is well.
        const wrong = isSuiteError(error, 'INVALID_OPTIONS') || isSuiteError(error, 'INVALID_AMOUNT')
        const failure = wrong ? undefined : storeFailure(operation, error, signal)
        if (failure === undefined || isSuiteError(error, 'OVERLOADED')) breaker.release(permit)
        else breaker.fail(permit, monotonic() - startedAt)
        if (failure === undefined) throw error
        lastError = failure
        return { outcome: 'down', reason: 'store-failed', error: failure }
      }
    }
  }
}
