import { CoreError } from '../failure/core-error.ts'
import type { Platform } from '../platform.ts'
import { createTimeout } from '../resilience/timeout.ts'

/** Asks a store something, for as long as somebody is willing to wait. */
export type StoreQuestion = <T>(question: () => Promise<T>) => Promise<T>

/**
 * Questions to a store that must not hold up calls. Throws what the store throws, `TIMED_OUT` after `timeoutMs`, and
 * `OVERLOADED`, without asking, while `outstandingMax` questions have no answer: those that were given up count until they
 * have one, so that a store which never answers is not asked for ever.
 */
export function storeQuestion(options: {
  readonly what: string
  readonly timeoutMs: number
  readonly outstandingMax: number
  readonly platform: Platform
}): StoreQuestion {
  const { what, timeoutMs, outstandingMax, platform } = options
  const timeout = createTimeout({ timeoutMs, platform })
  let outstanding = 0
  const answerTo = async <T>(question: () => Promise<T>): Promise<T> => {
    outstanding += 1
    try {
      return await question()
    } finally {
      outstanding -= 1
    }
  }
  return async (question) => {
    if (outstanding < outstandingMax) return timeout.execute(() => answerTo(question))
    throw new CoreError('OVERLOADED', `the store of the ${what} has ${outstanding} questions to answer`, {
      what,
      waiting: outstanding,
      limit: outstandingMax
    })
  }
}
