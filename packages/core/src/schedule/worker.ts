import { z } from 'zod'
import { CoreError } from '../failure/core-error.ts'
import { parseOptions } from '../failure/options.ts'
import { type Platform, systemPlatform } from '../platform.ts'
import type { Duty } from './duty.ts'

/** What a worker does, and how often it looks. */
export interface WorkerOptions {
  /** What it does. Names are unique within a worker. */
  readonly duties: readonly Duty[]
  readonly platform?: Platform
  /** How long a duty that found nothing to do waits before it looks again; 1,000 ms unless given, 1 ms to one day. */
  readonly pollMs?: number
  /** Is told of failures. What it throws is dropped: a report must not stop the work. */
  readonly observe?: (event: WorkerEvent) => void
}

/** What an operator should hear of. */
export type WorkerEvent =
  /** A run threw. The duty is run again after `retryInMs`; the others go on meanwhile. */
  | {
      readonly type: 'duty.failed'
      readonly duty: string
      readonly error: unknown
      /** Failures in a row, this one included. */
      readonly failures: number
      readonly retryInMs: number
    }
  /** The first run that succeeded after `failures` in a row. */
  | { readonly type: 'duty.recovered'; readonly duty: string; readonly failures: number }

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
}

/** How a worker and its duties fare. */
export interface WorkerHealth {
  readonly state: 'running' | 'closing' | 'closed'
  readonly duties: readonly DutyHealth[]
}

/** Runs duties until it is closed. Any number of workers may share the duties' stores. */
export interface Worker extends AsyncDisposable {
  /**
   * There is work now: duties that wait for their next poll run at once, and those that are running run once more. A
   * duty that backs off after a failure keeps to its delay, or every hint would hammer what is broken.
   */
  wake(): void
  /** Aborts the signal of the runs under way and waits for them to end. Never rejects; later calls wait for the same. */
  close(): Promise<void>
  health(): WorkerHealth
}

const POLL_MS = 1_000
const POLL_MAX_MS = 86_400_000

/** The longest that a failing duty is left alone: a repaired store is noticed within a minute. */
const BACKOFF_MAX_MS = 60_000

const isDuty = (value: unknown): value is Duty =>
  typeof value === 'object' &&
  value !== null &&
  typeof (value as Partial<Duty>).name === 'string' &&
  (value as Partial<Duty>).name !== '' &&
  typeof (value as Partial<Duty>).run === 'function'

// `custom` keeps the duties as they are: an object schema would copy them and cut their methods off.
const workerOptions: z.ZodType<WorkerOptions> = z.strictObject({
  duties: z
    .array(z.custom<Duty>(isDuty, 'a duty is { name, run }'))
    .min(1)
    .check(({ value, issues }) => {
      const seen = new Set<string>()
      for (const [at, { name }] of value.entries()) {
        if (seen.has(name)) {
          issues.push({ code: 'custom', input: value, path: [at, 'name'], message: `two duties are named ${name}` })
        }
        seen.add(name)
      }
    }),
  platform: z.custom<Platform>((value) => typeof value === 'object' && value !== null).exactOptional(),
  pollMs: z.number().min(1).max(POLL_MAX_MS).exactOptional(),
  observe: z.custom<(event: WorkerEvent) => void>((value) => typeof value === 'function').exactOptional()
})

/**
 * Starts to run every duty, each on its own: again at once (after a turn of the event loop) as long as it handles
 * items, otherwise after `pollMs` or when woken. A duty that throws is reported and run again after a delay that
 * doubles from `pollMs` up to a minute, with jitter; it stops neither the others nor the process.
 *
 * Waiting does not keep the process alive; a run under way does as far as its own I/O does. Throws `INVALID_OPTIONS`.
 */
export function startWorker(options: WorkerOptions): Worker {
  const {
    duties,
    platform = systemPlatform,
    pollMs = POLL_MS,
    observe
  } = parseOptions(workerOptions, 'startWorker', options)
  const closing = new AbortController()
  const report = (event: WorkerEvent): void => {
    try {
      observe?.(event)
    } catch {
      // Promised in the options: there is nowhere to report that reporting failed.
    }
  }
  const rounds = duties.map((duty) => startRounds(duty, { platform, pollMs, report, signal: closing.signal }))
  let state: WorkerHealth['state'] = 'running'
  let closed: Promise<void> | undefined

  const close = (): Promise<void> => {
    closed ??= (async () => {
      state = 'closing'
      closing.abort(new CoreError('CLOSED', 'the worker was closed', { what: 'worker' }))
      await Promise.all(rounds.map(({ ended }) => ended))
      state = 'closed'
    })()
    return closed
  }

  return {
    wake() {
      for (const round of rounds) round.wake()
    },
    close,
    health: () => ({ state, duties: rounds.map((round) => round.health()) }),
    [Symbol.asyncDispose]: close
  }
}

interface Rounds {
  wake(): void
  health(): DutyHealth
  readonly ended: Promise<void>
}

function startRounds(
  duty: Duty,
  worker: {
    readonly platform: Platform
    readonly pollMs: number
    readonly report: (event: WorkerEvent) => void
    readonly signal: AbortSignal
  }
): Rounds {
  const { platform, pollMs, report, signal } = worker
  const { clock, random } = platform
  const { name } = duty
  let state: DutyHealth['state'] = 'waiting'
  let failures = 0
  let handledInAll = 0
  let succeededAt: number | undefined
  /** Set by a wake since the run began, which may have looked before the new work was there. */
  let wokenMeanwhile = false
  let endPause: (() => void) | undefined

  /** The delay until the next run, after a run that went well or not. */
  const round = async (): Promise<number> => {
    state = 'running'
    wokenMeanwhile = false
    try {
      const { handled } = await duty.run({ signal })
      if (failures > 0) report({ type: 'duty.recovered', duty: name, failures })
      failures = 0
      handledInAll += handled
      succeededAt = clock.now()
      state = 'waiting'
      return handled > 0 ? 0 : pollMs
    } catch (error) {
      // A run that ended because it was told to has not failed.
      if (signal.aborted && error === signal.reason) return 0
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
    },
    health: () => ({ name, state, failures, succeededAt, handled: handledInAll }),
    ended: drive()
  }
}
