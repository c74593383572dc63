import { z } from 'zod'
import { parseOptions } from '../failure/options.ts'

/**
 * Keeps retries a small share of the traffic, however many callers fail: three attempts each, at three layers, are 27
 * calls where one was meant. Share one among all retries towards one callee.
 */
export interface RetryBudget {
  /** Pays for a retry; false, and nothing is taken, when there is not enough. */
  spend(): boolean
  /** A call succeeded at its first attempt. */
  earn(): void
  readonly left: number
}

/** Full at 500 with 5 a retry and 1 a success, as in the AWS SDKs' standard mode: 100 retries, then one for 5 successes. */
const CAPACITY = 500
const RETRY_COST = 5
const SUCCESS_EARNS = 1

export interface RetryBudgetOptions {
  /** What it holds at first and at most; 500 unless given. */
  readonly capacity?: number
  /** What a retry costs; 5 unless given. */
  readonly retryCost?: number
  /** What a success puts back; 1 unless given. */
  readonly successEarns?: number
}

const amountSchema = z.number().gt(0).max(1_000_000_000)

const retryBudgetOptions: z.ZodType<RetryBudgetOptions> = z
  .strictObject({
    capacity: amountSchema.exactOptional(),
    retryCost: amountSchema.exactOptional(),
    successEarns: amountSchema.exactOptional()
  })
  .refine(({ capacity = CAPACITY, retryCost = RETRY_COST }) => retryCost <= capacity, {
    path: ['retryCost'],
    message: 'a full budget must pay for one retry'
  })

/** Throws `INVALID_OPTIONS`. */
export function createRetryBudget(options: RetryBudgetOptions = {}): RetryBudget {
  const parsed = parseOptions(retryBudgetOptions, 'createRetryBudget', options)
  const { capacity = CAPACITY, retryCost = RETRY_COST, successEarns = SUCCESS_EARNS } = parsed
  let left = capacity
  return {
    spend() {
      if (left < retryCost) return false
      left -= retryCost
      return true
    },
    earn() {
      left = Math.min(capacity, left + successEarns)
    },
    get left() {
      return left
    }
  }
}
