import type { Clock } from '@enablement/core'

/** An attempt took longer than it may. What it was about may have happened. */
class AttemptTimedOut extends Error {
  override readonly name = 'AttemptTimedOut'
}

/**
 * Gives `work` at most `limitMs` of monotonic time, then aborts its signal and rejects, whether or not the work heeds
 * it. The timer is gone either way.
 */
export function withinTime<T>(clock: Clock, limitMs: number, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController()
  return new Promise<T>((resolve, reject) => {
    const timer = clock.startTimer(limitMs, () => {
      const error = new AttemptTimedOut(`no answer within ${limitMs} ms`)
      reject(error)
      controller.abort(error)
    })
    // In a microtask of its own, so that a channel that throws before its first await rejects like any other.
    Promise.resolve()
      .then(() => work(controller.signal))
      .then(resolve, reject)
      .finally(() => timer.cancel())
  })
}
