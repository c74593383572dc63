import { z } from 'zod'
import { CoreError } from '../failure/core-error.ts'
import { parseOptions } from '../failure/options.ts'
import { reporter } from '../failure/reporter.ts'
import { type Platform, systemPlatform } from '../platform.ts'
import { createSemaphore } from '../turn/semaphore.ts'
import type { Duty } from './duty.ts'
import { type DutyHealth, startRounds } from './rounds.ts'

/** What a worker does, and how often it looks. */
export interface WorkerOptions {
  /** What it does. Names are unique within a worker. Each has its own database, so there may be several. */
  readonly duties: readonly Duty[]
  readonly platform?: Platform
  /**
   * How long a duty that found nothing to do waits before it looks again, unless it knows that something falls due before;
   * 1,000 ms unless given, 1 ms to one day.
   */
  readonly pollMs?: number
  /** Duties that run at the same time; the others wait for their turn, in the order they asked. All unless given. */
  readonly concurrency?: number
  /** How long `close` lets what is under way come to its end before it is cut off; 30,000 ms unless given, up to a day. */
  readonly drainMs?: number
  /** Is told of failures. What it throws or rejects with is dropped: a report must not stop the work. */
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
  /** The time to drain was over, and these duties were still running: what they do is cut off. */
  | { readonly type: 'worker.cut-off'; readonly duties: readonly string[]; readonly drainMs: number }

/** How a worker and its duties fare. */
export interface WorkerHealth {
  readonly state: 'running' | 'closing' | 'closed'
  readonly duties: readonly DutyHealth[]
}

/** How a worker ended. `abandoned` names the duties whose runs did not heed that they were cut off, and may still go on. */
export type WorkerEnd =
  | { readonly outcome: 'drained' }
  | { readonly outcome: 'cut-off'; readonly abandoned: readonly string[] }

/** Runs duties until it is closed. Any number of workers may share the duties' stores. */
export interface Worker extends AsyncDisposable {
  /**
   * There is work now: duties that wait for their next poll run at once, and those that are running look once more. A
   * duty that backs off after a failure keeps to its delay, or every hint would hammer what is broken.
   */
  wake(): void
  /**
   * Tells the runs under way to take nothing more on, and waits for them to end; after `drainMs` they are cut off, and
   * 5 s later left alone. Never rejects; later calls wait for the same.
   */
  close(): Promise<WorkerEnd>
  health(): WorkerHealth
}

const POLL_MS = 1_000
const DRAIN_MS = 30_000
const DAY_MS = 86_400_000

/** What those that are cut off have to give back what they hold: a unit or two of a slow store. */
const CUTOFF_MS = 5_000

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
  pollMs: z.number().min(1).max(DAY_MS).exactOptional(),
  concurrency: z.int().min(1).max(10_000).exactOptional(),
  drainMs: z.number().min(0).max(DAY_MS).exactOptional(),
  observe: z.custom<(event: WorkerEvent) => void>((value) => typeof value === 'function').exactOptional()
})

/**
 * Starts to run every duty, each on its own: again when it says that something falls due, at once (after a turn of the
 * event loop) as long as it handles items and says nothing, and otherwise after `pollMs` or when woken. A duty that
 * throws is reported and run again after a delay that doubles from `pollMs` up to a minute, with jitter; it stops
 * neither the others nor the process.
 *
 * Waiting does not keep the process alive; a run under way does as far as its own I/O does. Throws `INVALID_OPTIONS`.
 */
export function startWorker(options: WorkerOptions): Worker {
  const parsed = parseOptions(workerOptions, 'startWorker', options)
  const { duties, platform = systemPlatform, pollMs = POLL_MS, drainMs = DRAIN_MS, observe } = parsed
  const turns = createSemaphore({ places: parsed.concurrency ?? duties.length, waitingMax: duties.length })
  const closing = new AbortController()
  const cutoff = new AbortController()
  const report = reporter(observe)
  const rounds = duties.map((duty) =>
    startRounds(duty, { platform, pollMs, turns, report, signal: closing.signal, cutoff: cutoff.signal })
  )
  const detach = duties.map((duty, at) => duty.attach?.(() => rounds[at]?.wake()))
  let state: WorkerHealth['state'] = 'running'
  let closed: Promise<WorkerEnd> | undefined

  const running = (): string[] =>
    rounds.flatMap((round) => {
      const { name, state: at } = round.health()
      return at === 'stopped' ? [] : [name]
    })

  /** Whether all have ended within `ms`. */
  const endWithin = (ms: number): Promise<boolean> =>
    new Promise((resolve) => {
      const timer = platform.clock.startTimer(ms, () => resolve(false))
      void Promise.all(rounds.map(({ ended }) => ended)).then(() => {
        timer.cancel()
        resolve(true)
      })
    })

  const end = async (): Promise<WorkerEnd> => {
    state = 'closing'
    for (const stop of detach) stop?.()
    closing.abort(new CoreError('CLOSED', 'the worker was closed', { what: 'worker' }))
    const drained = await endWithin(drainMs)
    if (!drained) {
      report({ type: 'worker.cut-off', duties: running(), drainMs })
      const message = `the worker was closed, and ${drainMs} ms later cut off what was still under way`
      cutoff.abort(new CoreError('CLOSED', message, { what: 'worker' }))
      await endWithin(CUTOFF_MS)
    }
    state = 'closed'
    return drained ? { outcome: 'drained' } : { outcome: 'cut-off', abandoned: running() }
  }
  const close = (): Promise<WorkerEnd> => {
    closed ??= end()
    return closed
  }

  return {
    wake() {
      for (const round of rounds) round.wake()
    },
    close,
    health: () => ({ state, duties: rounds.map((round) => round.health()) }),
    async [Symbol.asyncDispose]() {
      await close()
    }
  }
}
