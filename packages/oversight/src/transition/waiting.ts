import { type Clock, isSuiteError, type Verdict } from '@enablement/core'
import { OversightError } from '../oversight-error.ts'
import type { OversightEvent } from '../oversight-event.ts'
import type { OversightStore } from '../oversight-store.ts'
import { type RequestRecord, verdictOf } from '../request/request.ts'
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
  for (;;) {
    signal?.throwIfAborted()
    // Listening begins before the look, or a verdict committed in between would wait for the next poll.
    const hint: Hint = { given: false, onGiven: undefined }
    const stop = room.wakeUps.listen(requestId, () => {
      hint.given = true
      hint.onGiven?.()
    })
    try {
      const verdict = await look(room, requestId)
      if (verdict !== undefined) return verdict
      await pause(room, hint, signal)
    } finally {
      stop()
    }
  }
}

/** A hint that may come before anyone waits for it. */
interface Hint {
  given: boolean
  onGiven: (() => void) | undefined
}

/** The verdict that the store holds; undefined while there is none, or while the store is away. */
async function look({ store, emit }: WaitingRoom, requestId: string): Promise<Verdict | undefined> {
  let request: RequestRecord | undefined
  try {
    request = await store.find(requestId)
  } catch (error) {
    if (!isSuiteError(error, 'STORE_UNAVAILABLE') && !isSuiteError(error, 'OVERLOADED')) throw error
    emit({ type: 'wait.store-unavailable', requestId, error })
    return undefined
  }
  if (request === undefined) {
    throw new OversightError('UNKNOWN_REQUEST', `there is no request ${requestId}`, { requestId })
  }
  return verdictOf(request)
}

/** Ends at the next poll or at a hint; rejects when the signal aborts. Timer and listener are gone either way. */
function pause({ clock, pollMs }: WaitingRoom, hint: Hint, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason as Error)
    if (hint.given) return resolve()
    const end = (): void => {
      timer.cancel()
      signal?.removeEventListener('abort', onAbort)
      resolve()
    }
    const onAbort = (): void => {
      timer.cancel()
      reject(signal?.reason as Error)
    }
    const timer = clock.startTimer(pollMs, end)
    hint.onGiven = end
    signal?.addEventListener('abort', onAbort, { once: true })
  })
}
