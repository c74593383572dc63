import { type Clock, isSuiteError, type Verdict } from '@enablement/core'
import type { OversightEvent } from '../evidence/event.ts'
import { OversightError } from '../oversight-error.ts'
import type { OversightStore } from '../oversight-store.ts'
import { verdictOf } from './request.ts'
import type { WakeUps } from './wake-ups.ts'

/** What waiting needs. */
interface WaitingRoom {
  readonly store: OversightStore
  readonly clock: Clock
  readonly wakeUps: WakeUps
  readonly emit: (event: OversightEvent) => void
  readonly pollMs: number
}

/**
 * Waits until the store holds a verdict. The store is asked every `pollMs`, which finds what other processes decided;
 * a hint from this process makes it look at once. A store that does not answer is asked again at the next poll, for a
 * human may take hours and the wait should survive a failover; the signal ends it.
 */
export async function verdictFrom(
  room: WaitingRoom,
  requestId: string,
  signal: AbortSignal | undefined
): Promise<Verdict> {
  const { store, wakeUps, emit } = room
  for (;;) {
    signal?.throwIfAborted()
    // Listening begins before the look, or a verdict committed in between would wait for the next poll.
    let hinted = false
    let onHint = (): void => {
      hinted = true
    }
    const stop = wakeUps.listen(requestId, () => onHint())
    try {
      const request = await store.find(requestId)
      if (request === undefined) throw unknown(requestId)
      const verdict = verdictOf(request)
      if (verdict !== undefined) return verdict
    } catch (error) {
      if (!isSuiteError(error, 'STORE_UNAVAILABLE') && !isSuiteError(error, 'OVERLOADED')) {
        stop()
        throw error
      }
      emit({ type: 'wait.store-unavailable', requestId, error })
    }
    try {
      await new Promise<void>((resolve, reject) => {
        if (hinted) return resolve()
        if (signal?.aborted) return reject(signal.reason as Error)
        const end = (): void => {
          timer.cancel()
          signal?.removeEventListener('abort', onAbort)
        }
        const onAbort = (): void => {
          end()
          reject(signal?.reason as Error)
        }
        onHint = () => {
          end()
          resolve()
        }
        const timer = room.clock.startTimer(room.pollMs, onHint)
        signal?.addEventListener('abort', onAbort, { once: true })
      })
    } finally {
      stop()
    }
  }
}

function unknown(requestId: string): OversightError<'UNKNOWN_REQUEST'> {
  return new OversightError('UNKNOWN_REQUEST', `there is no request ${requestId}`, { requestId })
}
