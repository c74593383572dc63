/**
 * Waits for `work` no longer than until the signal aborts, and rejects with its reason then; the work itself goes on. For
 * a signal that has not aborted yet: one that has is not heard. Leaves no listener behind.
 */
export function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason as Error)
    signal.addEventListener('abort', onAbort, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}
