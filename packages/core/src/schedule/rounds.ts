import type { Platform } from '../platform.ts'
import type { Semaphore } from '../turn/semaphore.ts'
import type { Duty, DutyStatus } from './duty.ts'
import type { WorkerEvent } from './worker.ts'

/** How one duty fares. */
export interface DutyHealth {
  readonly name: string
  readonly state: 'running' | 'waiting' | 'backing-off' | 'stopped'
  /** Failures in a row, 0 after a run that succeeded. */
  readonly failures: number
  /** When a run last succeeded: epoch milliseconds, undefined before the first. */
  readonly succeededAt: number | undefined
  /** Items handled since the worker started. */
  readonly handled: number
  /** What the duty knew of its items when it last looked, if it says. */
  readonly status: DutyStatus | undefined
}

/** The runs of one duty, one after the other. */
export interface Rounds {
  wake(): void
  health(): DutyHealth
  /** Resolves when the worker is closed and the last run has ended. */
  readonly ended: Promise<void>
}

/** The longest that a failing duty is left alone: a repaired store is noticed within a minute. */
const BACKOFF_MAX_MS = 60_000

/** What the runs of a worker share. */
interface RoundsOptions {
  readonly platform: Platform
  readonly pollMs: number
  readonly turns: Semaphore
  readonly report: (event: WorkerEvent) => void
  readonly signal: AbortSignal
  readonly cutoff: AbortSignal
}

export function startRounds(duty: Duty, worker: RoundsOptions): Rounds {
  const { platform, pollMs, turns, report, signal, cutoff } = worker
  const { clock, random } = platform
  const { name } = duty
  let state: DutyHealth['state'] = 'waiting'
  let failures = 0
  let handledInAll = 0
  let succeededAt: number | undefined
  /** Set by a wake since the run began, which may have looked before the new work was there. */
  let wokenMeanwhile = false
  let endPause: (() => void) | undefined

  const run = async (): Promise<number> => {
    state = 'running'
    wokenMeanwhile = false
    const { handled, nextDueInMs } = await duty.run({ signal, cutoff })
    if (failures > 0) report({ type: 'duty.recovered', duty: name, failures })
    failures = 0
    handledInAll += handled
    succeededAt = clock.now()
    state = 'waiting'
    if (nextDueInMs !== undefined) return Math.min(pollMs, Math.max(0, nextDueInMs))
    return handled > 0 ? 0 : pollMs
  }

  /** The delay until the next run, after a run that went well or not. */
  const round = async (): Promise<number> => {
    try {
      return await turns.run(run, { signal })
    } catch (error) {
      // A run that ended because it was told to has not failed.
      if (signal.aborted && (error === signal.reason || error === cutoff.reason)) return 0
      failures += 1
      const ceilingMs = Math.max(pollMs, Math.min(BACKOFF_MAX_MS, pollMs * 2 ** failures))
      const retryInMs = Math.ceil(ceilingMs * (0.5 + random.float() / 2))
      report({ type: 'duty.failed', duty: name, error, failures, retryInMs })
      state = 'backing-off'
      return retryInMs
    }
  }

  /**
   * Ends after `delayMs`, when woken, or when the worker closes. A pause of 0 ms is a turn of the event loop, so that a
   * duty that is always busy starves neither timers nor sockets; the process must not end on it.
   */
  const pause = (delayMs: number): Promise<void> =>
    new Promise((resolve) => {
      const end = (): void => {
        timer.cancel()
        signal.removeEventListener('abort', end)
        endPause = undefined
        resolve()
      }
      const timer = clock.startTimer(delayMs, end, { background: delayMs > 0 })
      signal.addEventListener('abort', end, { once: true })
      endPause = end
    })

  const drive = async (): Promise<void> => {
    // The caller gets its worker before the first run, which may want to use it.
    await Promise.resolve()
    while (!signal.aborted) {
      const delayMs = await round()
      if (signal.aborted) break
      // Asked only here, in one step with the start of the pause: a wake may come between the end of the run and this.
      await pause(state === 'waiting' && wokenMeanwhile ? 0 : delayMs)
    }
    state = 'stopped'
  }

  return {
    wake() {
      wokenMeanwhile = true
      if (state === 'waiting') endPause?.()
      else if (state === 'running') duty.wake?.()
    },
    health: () => ({
      name,
      state,
      failures,
      succeededAt,
      handled: handledInAll,
      status: duty.status?.()
    }),
    ended: drive()
  }
}
