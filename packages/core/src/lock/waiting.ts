import type { Platform } from '../platform.ts'
import { createKeyedMutex } from '../turn/keyed-mutex.ts'
import type { LeaseGrant } from './lock-store.ts'

type Busy = Extract<LeaseGrant, { outcome: 'busy' }>

/** Lets the claims of one process wait: one per name asks the store, the others queue behind it. */
export interface Waiting {
  /**
   * Calls `attempt` until it is not busy, at most for `waitMs`, and then gives its last answer. A claim whose time runs
   * out in the queue asks once. Throws what `attempt` throws, `OVERLOADED` when 1,024 claims wait for the name, and the
   * signal's reason.
   */
  until<T extends object>(
    name: string,
    attempt: () => Promise<T | Busy>,
    options: { readonly waitMs: number; readonly signal: AbortSignal | undefined }
  ): Promise<T | Busy>
  /** The lock may be free: the claim at the head of its queue asks at once. */
  wake(name: string): void
}

/** Ends the patience of a claim; never seen outside. */
const OUT_OF_PATIENCE = Symbol('out of patience')

export function createWaiting({ platform, pollMs }: { readonly platform: Platform; readonly pollMs: number }): Waiting {
  const { clock, random } = platform
  const mutex = createKeyedMutex()
  /** Ends the pause of the claim at the head of a name's queue: as many entries as names that are being waited for. */
  const pauses = new Map<string, () => void>()

  const pause = (name: string, delayMs: number, patience: AbortSignal): Promise<void> =>
    new Promise((resolve, reject) => {
      const stop = (): void => {
        timer.cancel()
        patience.removeEventListener('abort', onAbort)
        pauses.delete(name)
      }
      const onAbort = (): void => {
        stop()
        reject(patience.reason as Error)
      }
      const end = (): void => {
        stop()
        resolve()
      }
      const timer = clock.startTimer(delayMs, end)
      patience.addEventListener('abort', onAbort, { once: true })
      pauses.set(name, end)
    })

  const poll = async <T extends object>(
    name: string,
    attempt: () => Promise<T | Busy>,
    patience: AbortSignal
  ): Promise<T | Busy> => {
    for (;;) {
      const answer = await attempt()
      if (!isBusy(answer)) return answer
      patience.throwIfAborted()
      // At random, or processes that were turned away together would come back together.
      const delayMs = pollMs * (0.5 + random.float())
      await pause(name, Math.min(delayMs, Math.max(1, answer.remainingMs)), patience)
    }
  }

  return {
    async until(name, attempt, { waitMs, signal }) {
      if (waitMs === 0) return attempt()
      const patience = new AbortController()
      const onAbort = (): void => patience.abort(signal?.reason)
      signal?.addEventListener('abort', onAbort, { once: true })
      const timer = clock.startTimer(waitMs, () => patience.abort(OUT_OF_PATIENCE))
      try {
        return await mutex.run(name, () => poll(name, attempt, patience.signal), { signal: patience.signal })
      } catch (error) {
        if (error !== OUT_OF_PATIENCE) throw error
        return await attempt()
      } finally {
        timer.cancel()
        signal?.removeEventListener('abort', onAbort)
      }
    },
    wake: (name) => pauses.get(name)?.()
  }
}

function isBusy(answer: object): answer is Busy {
  return 'outcome' in answer && answer.outcome === 'busy'
}
