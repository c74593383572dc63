import type { Clock } from './clock.ts'

/**
 * Resolves after `delayMs` of the clock's monotonic time. Rejects with the signal's reason when it aborts first; the
 * timer and the listener are gone either way. An undefined signal is none: nearly every caller hands on what it may not
 * have been given itself.
 */
export function sleep(
  clock: Clock,
  delayMs: number,
  options: { readonly signal?: AbortSignal | undefined; readonly background?: boolean } = {}
): Promise<void> {
  const { signal, background = false } = options
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason as Error)
    const onAbort = (): void => {
      timer.cancel()
      reject(signal?.reason as Error)
    }
    const timer = clock.startTimer(
      delayMs,
      () => {
        signal?.removeEventListener('abort', onAbort)
        resolve()
      },
      { background }
    )
    signal?.addEventListener('abort', onAbort, { once: true })
  })
}
