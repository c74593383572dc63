import type { Clock, Timer } from '@enablement/core'
import type { MemoryMonitor, MemoryReading } from '../monitor/memory-monitor.ts'
import type { HostSandbox, RunBounds, RunEnd } from './sandbox-host.ts'
import { CHECKPOINT_BUDGET_MS, within } from './within.ts'

/** How long a guest in the critical range may go on to its next job boundary before it is interrupted. */
const BOUNDARY_GRACE_MS = 250

/** How long an interrupted guest may take to stop before its thread is ended: the grace of catalog RT-1. */
const STOP_GRACE_MS = 5_000

/** What made the host stop a run. */
export type StopCause = 'timeout' | 'abort' | 'pressure' | 'preemption'

/** A run that has ended. */
interface EndedRun {
  readonly end: RunEnd
  /** Why it was stopped, if the host stopped it. */
  readonly cause: StopCause | undefined
  /** Whether the guest had to be ended because it did not stop. */
  readonly unresponsive: boolean
  readonly elapsedMs: number
}

/** A run under way: it watches memory and deadlines, and makes sure that the run ends. */
export interface Run {
  readonly ended: Promise<EndedRun>
  /** The host reports that the guest is in the critical range. */
  press(): void
  /**
   * Stops the guest at its next job boundary, does `work` on it, and lets it go on, unless `work` succeeds and `after` is
   * `end`. `late`: it came to no boundary in time; `over`: its run ended before. Rejects as `work`.
   */
  pause<T>(work: () => Promise<T>, after: 'proceed' | 'end'): Promise<Paused<T>>
}

/** How a pause went. */
type Paused<T> = { readonly outcome: 'done'; readonly value: T } | { readonly outcome: 'late' | 'over' }

/** A pause that is wished for. */
interface Pause {
  /** The guest stands at a boundary. Gives whether its run ends here. */
  reached(): Promise<'proceed' | 'end'>
  missed(outcome: 'late' | 'over'): void
}

/** Starts `begin` and watches over it. `onReading` sees every sample; `onStale` a gap between them. */
export function startRun(options: {
  readonly clock: Clock
  readonly sandbox: HostSandbox
  readonly monitor: MemoryMonitor
  readonly timeoutMs: number
  readonly signal: AbortSignal | undefined
  readonly bounds?: RunBounds
  readonly begin: () => Promise<RunEnd>
  readonly onReading: (reading: MemoryReading) => void
  readonly onStale: () => void
}): Run {
  const { clock, sandbox, monitor, timeoutMs, signal, bounds, begin, onReading, onStale } = options
  const startedAt = clock.monotonic()
  let cause: StopCause | undefined
  let unresponsive = false
  let boundaryGrace: Timer | undefined
  let stopGrace: Timer | undefined
  let sampling: Timer | undefined
  let late = false
  let pause: Pause | undefined

  const sample = (): MemoryReading => {
    const reading = monitor.observe({ usedBytes: sandbox.usage().usedBytes, at: clock.monotonic() })
    onReading(reading)
    return reading
  }

  const stop = (wanted: StopCause): void => {
    if (cause !== undefined) return
    cause = wanted
    sandbox.interrupt()
    stopGrace = clock.startTimer(STOP_GRACE_MS, () => {
      unresponsive = true
      void sandbox.kill()
    })
  }

  const press = (): void => {
    if (sample().level !== 'critical' || boundaryGrace !== undefined) return
    boundaryGrace = clock.startTimer(BOUNDARY_GRACE_MS, () => {
      boundaryGrace = undefined
      // It may have freed what it held; then it goes on, and is watched on.
      if (sandbox.usage().usedBytes >= monitor.criticalAtBytes) stop('pressure')
    })
  }

  const watch = (delayMs: number): void => {
    sampling = clock.startTimer(
      delayMs,
      () => {
        // Once per gap, however long it lasts: a starved host need not hear of it at every sample.
        const stale = monitor.isStale(clock.monotonic())
        if (stale && !late) onStale()
        late = stale
        const reading = sample()
        if (reading.level === 'critical') press()
        watch(reading.nextSampleMs)
      },
      { background: true }
    )
  }

  /** Carries a run through its pauses. */
  const lead = async (started: Promise<RunEnd>): Promise<RunEnd> => {
    for (let end = await started; ; ) {
      if (end.outcome !== 'suspended' || end.on === 'pressure') {
        pause?.missed('over')
        return end
      }
      // Without a pause its patience was at an end when the guest came to the boundary.
      if ((await pause?.reached()) === 'end') {
        cause ??= 'preemption'
        return end
      }
      const proceeding = sandbox.proceed(bounds)
      // A deadline that passed in the pause stopped nobody.
      if (cause !== undefined) sandbox.interrupt()
      end = await proceeding
    }
  }

  const pauseFor = <T>(work: () => Promise<T>, after: 'proceed' | 'end'): Promise<Paused<T>> => {
    if (pause !== undefined || cause !== undefined || sandbox.suspend === undefined) {
      return Promise.resolve({ outcome: 'late' })
    }
    return new Promise((resolve, reject) => {
      const patience = clock.startTimer(CHECKPOINT_BUDGET_MS, () => wished.missed('late'))
      const wished: Pause = {
        async reached() {
          patience.cancel()
          try {
            const value = await within(clock, CHECKPOINT_BUDGET_MS, work())
            resolve({ outcome: 'done', value })
            return after
          } catch (error) {
            reject(error)
            return 'proceed'
          } finally {
            pause = undefined
          }
        },
        missed(outcome) {
          patience.cancel()
          pause = undefined
          sandbox.suspend?.(false)
          resolve({ outcome })
        }
      }
      pause = wished
      sandbox.suspend?.(true)
    })
  }

  const onAbort = (): void => stop('abort')
  signal?.addEventListener('abort', onAbort, { once: true })
  const deadline = clock.startTimer(timeoutMs, () => stop('timeout'))
  const ended = lead(begin())
    .then((end) => {
      sample()
      return { end, cause, unresponsive, elapsedMs: clock.monotonic() - startedAt }
    })
    .finally(() => {
      signal?.removeEventListener('abort', onAbort)
      for (const timer of [deadline, boundaryGrace, stopGrace, sampling]) timer?.cancel()
    })
  watch(sample().nextSampleMs)
  return { ended, press, pause: pauseFor }
}
