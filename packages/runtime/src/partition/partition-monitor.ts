import {
  type Backoff,
  backoffMs,
  type Platform,
  parseOptions,
  reporter,
  systemPlatform,
  type Timer
} from '@enablement/core'
import { z } from 'zod'
import { RuntimeError } from '../runtime-error.ts'
import { connectedStanding, type NetworkState, type NextRound, partitionStep } from './partition-state.ts'

/** Where egress goes: a host name or an address, and a TCP port. */
export interface EgressEndpoint {
  readonly host: string
  readonly port: number
}

/** Finds out whether an endpoint can be reached: resolves when it can, rejects when it cannot, and heeds the signal. */
export type EgressProbe = (endpoint: EgressEndpoint, call: { readonly signal: AbortSignal }) => Promise<void>

/** What one round of probes found. */
export interface PartitionReading {
  readonly state: NetworkState
  /** The state before, when this round changed it. */
  readonly changedFrom?: NetworkState
  /** Whether this round was good: fewer endpoints failed than the threshold. */
  readonly reachable: boolean
  /** Endpoints that failed, and why. A round ends as soon as it is decided, so there may be more of them. */
  readonly failed: readonly { readonly endpoint: EgressEndpoint; readonly error: unknown }[]
}

export interface PartitionMonitorOptions {
  /** At least one, 64 at most; two or more of different providers, or one of them down looks like a partition. */
  readonly endpoints: readonly EgressEndpoint[]
  readonly probe: EgressProbe
  /** Failed endpoints from which on a round is bad: 1 to the number of endpoints, all of them unless given. */
  readonly threshold?: number
  /** Bad rounds in a row that make a partition; 2 unless given. */
  readonly badRoundsMin?: number
  /** Good rounds in a row that end it; 2 unless given. */
  readonly goodRoundsMin?: number
  /** How long a probe may take; 5,000 ms unless given. */
  readonly probeMs?: number
  /** Between rounds while connected, give or take a quarter; 10,000 ms unless given. */
  readonly intervalMs?: number
  /** Between rounds from the first bad one on; full jitter from 250 ms to 30 s unless given. */
  readonly reconnect?: Backoff
  readonly platform?: Platform
}

/** Watches the way out by probing endpoints. Starts with its first round, in the background. */
export interface PartitionMonitor extends AsyncDisposable {
  readonly state: NetworkState
  /** Whether it is connected and the last round was good. */
  readonly reachable: boolean
  /**
   * Looks now, because something failed: a round that begins after this call, or the one that is about to. Calls share a
   * round, and rounds keep a distance of the reconnect base, however many ask. Rejects with `CLOSED`.
   */
  check(): Promise<PartitionReading>
  /** Hears of every round, in order, until the function that it gives back is called. What a listener throws is dropped. */
  subscribe(listener: (reading: PartitionReading) => void): () => void
  /** Ends the probes under way and looks no more. */
  close(): Promise<void>
}

/** Catalog RT-4. */
const PROBE_MS = 5_000
const INTERVAL_MS = 10_000
const BAD_ROUNDS_MIN = 2
const GOOD_ROUNDS_MIN = 2
/** Interval times 0.75 to 1.25, so that many processes do not probe together. */
const INTERVAL_JITTER_RATIO = 0.25
const RECONNECT: Backoff = { jitter: 'full', baseMs: 250, maxMs: 30_000 }

const endpoint: z.ZodType<EgressEndpoint> = z.strictObject({
  host: z.string().min(1).max(253),
  port: z.int().min(1).max(65_535)
})

const backoff: z.ZodType<Backoff> = z.strictObject({
  jitter: z.enum(['full', 'equal', 'decorrelated', 'none']),
  baseMs: z.number().min(1).max(86_400_000),
  maxMs: z.number().min(1).max(86_400_000),
  factor: z.number().min(1).max(10).exactOptional()
})

const partitionMonitorOptions: z.ZodType<PartitionMonitorOptions> = z
  .strictObject({
    endpoints: z.array(endpoint).min(1).max(64),
    probe: z.custom<EgressProbe>((value) => typeof value === 'function', 'must be a function'),
    threshold: z.int().min(1).exactOptional(),
    badRoundsMin: z.int().min(1).max(100).exactOptional(),
    goodRoundsMin: z.int().min(1).max(100).exactOptional(),
    probeMs: z.number().min(1).max(60_000).exactOptional(),
    intervalMs: z.number().min(1).max(86_400_000).exactOptional(),
    reconnect: backoff.exactOptional(),
    platform: z.custom<Platform>((value) => typeof value === 'object' && value !== null).exactOptional()
  })
  .refine(({ endpoints, threshold = 1 }) => threshold <= endpoints.length, {
    path: ['threshold'],
    message: 'is above the number of endpoints: no round could ever be bad'
  })

/**
 * A monitor of the way out. Nothing but a probe says that an endpoint is there, and a probe makes a connection of its own:
 * what a half-open connection of somebody else's still pretends is no evidence. Throws `INVALID_OPTIONS`.
 */
export function createPartitionMonitor(options: PartitionMonitorOptions): PartitionMonitor {
  const parsed = parseOptions(partitionMonitorOptions, 'createPartitionMonitor', options)
  const { endpoints, probe, threshold = endpoints.length, probeMs = PROBE_MS, intervalMs = INTERVAL_MS } = parsed
  const { badRoundsMin = BAD_ROUNDS_MIN, goodRoundsMin = GOOD_ROUNDS_MIN, reconnect = RECONNECT } = parsed
  const { clock, random } = parsed.platform ?? systemPlatform
  const rule = { failuresMin: threshold, badRoundsMin, goodRoundsMin }
  const listeners = new Set<(reading: PartitionReading) => void>()
  const closing = new AbortController()
  let standing = connectedStanding
  let timer: Timer | undefined
  let dueAt = Number.POSITIVE_INFINITY
  let round: Promise<void> | undefined
  let endedAt = Number.NEGATIVE_INFINITY
  let backedOffMs = 0
  /** Those who wait for a round that has not begun. */
  let asked: PromiseWithResolvers<PartitionReading> | undefined

  const arm = (delayMs: number): void => {
    const at = clock.monotonic() + delayMs
    if (closing.signal.aborted || round !== undefined || at >= dueAt) return
    timer?.cancel()
    dueAt = at
    // In the background: whoever waits for the network keeps the process alive himself.
    timer = clock.startTimer(delayMs, begin, { background: true })
  }

  /** How long until a round may begin that somebody waits for. */
  const spacingMs = (): number => Math.max(0, endedAt + reconnect.baseMs - clock.monotonic())

  const delayOf = (next: NextRound): number => {
    if (next.after === 'backoff') {
      backedOffMs = backoffMs(reconnect, next.failures, backedOffMs, random)
      return backedOffMs
    }
    backedOffMs = 0
    return intervalMs * (1 + INTERVAL_JITTER_RATIO * (2 * random.float() - 1))
  }

  /** Ends as soon as enough endpoints have answered, or failed, or the time is over. */
  const probeAll = (): Promise<PartitionReading['failed']> =>
    new Promise((resolve) => {
      const over = new AbortController()
      const failed: { readonly endpoint: EgressEndpoint; readonly error: unknown }[] = []
      const waiting = new Set(endpoints)
      const end = (): void => {
        deadline.cancel()
        closing.signal.removeEventListener('abort', end)
        waiting.clear()
        resolve(failed)
        over.abort()
      }
      const decide = (): void => {
        const reached = endpoints.length - waiting.size - failed.length
        if (failed.length >= threshold || reached > endpoints.length - threshold) end()
      }
      const deadline = clock.startTimer(
        probeMs,
        () => {
          for (const endpoint of waiting) {
            failed.push({ endpoint, error: new Error(`no connection within ${probeMs} ms`) })
          }
          end()
        },
        { background: true }
      )
      closing.signal.addEventListener('abort', end, { once: true })
      for (const endpoint of endpoints) {
        Promise.resolve()
          .then(() => probe(endpoint, { signal: over.signal }))
          .then(
            () => {
              if (waiting.delete(endpoint)) decide()
            },
            (error: unknown) => {
              if (!waiting.delete(endpoint)) return
              failed.push({ endpoint, error })
              decide()
            }
          )
      }
    })

  const look = async (): Promise<void> => {
    const answer = asked
    asked = undefined
    const failed = await probeAll()
    round = undefined
    if (closing.signal.aborted) {
      answer?.reject(closedError())
      return
    }
    const before = standing.state
    const step = partitionStep(standing, failed.length, rule)
    standing = step.standing
    endedAt = clock.monotonic()
    const reading: PartitionReading = {
      state: standing.state,
      ...(before === standing.state ? {} : { changedFrom: before }),
      reachable: failed.length < threshold,
      failed
    }
    const delayMs = delayOf(step.next)
    arm(asked === undefined ? delayMs : Math.min(delayMs, spacingMs()))
    for (const listener of listeners) listener(reading)
    answer?.resolve(reading)
  }

  function begin(): void {
    timer = undefined
    dueAt = Number.POSITIVE_INFINITY
    round = look()
  }

  arm(0)

  const close = async (): Promise<void> => {
    closing.abort()
    timer?.cancel()
    listeners.clear()
    asked?.reject(closedError())
    asked = undefined
    await round
  }

  return {
    get state() {
      return standing.state
    },
    get reachable() {
      return standing.state === 'connected' && standing.badRounds === 0
    },
    check() {
      if (closing.signal.aborted) return Promise.reject(closedError())
      if (asked === undefined) {
        asked = Promise.withResolvers()
        // Whoever asked may have stopped waiting by the time of a close.
        asked.promise.catch(() => undefined)
        arm(spacingMs())
      }
      return asked.promise
    },
    subscribe(listener) {
      const told = reporter(listener)
      listeners.add(told)
      return () => void listeners.delete(told)
    },
    close,
    [Symbol.asyncDispose]: close
  }
}

function closedError(): RuntimeError<'CLOSED'> {
  return new RuntimeError('CLOSED', 'the partition monitor was closed', { what: 'partition monitor' })
}
