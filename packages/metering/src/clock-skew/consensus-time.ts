import {
  CoreError,
  createTimeout,
  type Platform,
  parseOptions,
  reporter,
  systemPlatform,
  untilAborted
} from '@enablement/core'
import { z } from 'zod'
import { USED_AT_LIMIT, USED_AT_MIN } from '../event/usage-event.ts'
import { agreementOf, type Claim, holds } from './agreement.ts'
import type { ClockEvent } from './clock-event.ts'
import type { TimeSource } from './time-source.ts'

/** How the sources are asked. */
export interface ConsensusTimeOptions {
  /** 1 to 16, best three or more: one of three may lie. More than half of them must agree. */
  readonly sources: readonly TimeSource[]
  /** How long a consensus counts before the sources are asked again: a minute unless given. */
  readonly refreshMs?: number
  /** How long each source has to answer: 2 s unless given. */
  readonly timeoutMs?: number
  /** How long the last consensus is held when no majority agrees any more: an hour unless given. At least `refreshMs`. */
  readonly holdMs?: number
  readonly observe?: (event: ClockEvent) => void
  readonly platform?: Platform
}

/** The time as it is known, with what it rests on. */
export interface ConsensusReading {
  /** Epoch milliseconds, an integer. */
  readonly at: number
  /**
   * `agreed`: a majority of the sources, `refreshMs` ago at most. `held`: the last one that did, `holdMs` ago at most.
   * `own-clock`: there was none, or it is older.
   */
  readonly basis: 'agreed' | 'held' | 'own-clock'
  /** The true time is within this of it; undefined for the own clock. */
  readonly errorMs: number | undefined
}

/** The time that several sources agree on, read at once. */
export interface ConsensusTime extends AsyncDisposable {
  /** Epoch milliseconds, from what is known already. Where that is older than `refreshMs`, the sources are being asked. */
  now(): number
  /** `now` with what it rests on. */
  reading(): ConsensusReading
  /**
   * Asks the sources, or waits for those who are being asked. Resolves when all have answered or had their time, whatever
   * they said. Call it once at start. Throws `CLOSED` and the signal's reason.
   */
  refresh(options?: { readonly signal?: AbortSignal }): Promise<ConsensusReading>
  /** Aborts what is under way. `now` goes on as well as it can, and asks nobody any more. */
  close(): Promise<void>
}

/** RFC 5905 §3 (PHI): how fast an undisciplined oscillator leaves the truth, with room. 50 µs a second are 3 ms a minute. */
const DRIFT_RATIO = 50e-6

/**
 * Where wall and monotonic clock drift apart by more since the consensus, one of them jumped: the machine slept, or
 * somebody set the clock.
 */
const JUMP_MS = 1_000

/** How soon the sources are asked again where they did not agree, or a clock jumped. */
const RETRY_MS = 5_000

/** A source that is less sure than this agrees with nearly everybody, and tells nothing. */
const ERROR_MAX_MS = 3_600_000

/** A majority of these is nine, more than anybody has clocks. Each is one call a minute. */
const SOURCES_MAX = 16

const sourceSchema = z.custom<TimeSource>(
  (value) =>
    typeof value === 'object' &&
    value !== null &&
    typeof (value as TimeSource).name === 'string' &&
    typeof (value as TimeSource).now === 'function',
  'must be a time source, such as clockTimeSource()'
)

const optionsSchema: z.ZodType<ConsensusTimeOptions> = z
  .strictObject({
    sources: z
      .array(sourceSchema)
      .min(1)
      .max(SOURCES_MAX)
      .refine((all) => new Set(all.map(({ name }) => name)).size === all.length, 'must have different names'),
    refreshMs: z.number().min(100).max(86_400_000).exactOptional(),
    timeoutMs: z.number().min(1).max(60_000).exactOptional(),
    holdMs: z.number().min(0).max(86_400_000).exactOptional(),
    observe: z.custom<(event: ClockEvent) => void>((value) => typeof value === 'function').exactOptional(),
    platform: z.custom<Platform>((value) => typeof value === 'object' && value !== null).exactOptional()
  })
  .refine(({ refreshMs = REFRESH_MS, holdMs = HOLD_MS }) => refreshMs <= holdMs, {
    path: ['holdMs'],
    message: 'must not be less than refreshMs'
  })

const REFRESH_MS = 60_000
const TIMEOUT_MS = 2_000
const HOLD_MS = 3_600_000

/** A consensus, on both of this machine's clocks. */
interface Consensus {
  readonly epochMs: number
  readonly errorMs: number
  readonly monotonic: number
  readonly wall: number
}

/** What a source said: where its clock stands relative to the monotonic one, as an interval. */
interface Answer {
  readonly source: TimeSource
  readonly claim: Claim
}

/**
 * Time by majority: each source is asked at once and says a time and its error; half the way there and back is added to
 * the error (RFC 5905 §8), and the time is the middle of what the most sources agree on, if that is more than half of all
 * there are, those that did not answer included. Between refreshes it runs on the monotonic clock. Reading it takes two
 * readings of clocks and never waits. No timer runs: the sources are asked by whoever finds the consensus too old.
 *
 * Without a majority the last consensus is held for `holdMs`, its error growing by 50 µs a second, and after it this
 * machine's own clock is used. Where the wall clock runs ahead of the monotonic one by more than a second, as it does
 * when the machine has slept, it is believed until the sources have answered. Throws `INVALID_OPTIONS`.
 */
export function createConsensusTime(options: ConsensusTimeOptions): ConsensusTime {
  const parsed = parseOptions(optionsSchema, 'createConsensusTime', options)
  const { sources, refreshMs = REFRESH_MS, timeoutMs = TIMEOUT_MS, holdMs = HOLD_MS } = parsed
  const { platform = systemPlatform } = parsed
  const { clock } = platform
  const timeout = createTimeout({ timeoutMs, platform })
  const report = reporter(parsed.observe)
  const closing = new AbortController()
  /** Those that were given up and have not ended yet, however long ago that was: they are not asked another. */
  const unanswered = new Set<TimeSource>()
  const troubled = new Set<TimeSource>()
  let consensus: Consensus | undefined
  let agreed: boolean | undefined
  let round: Promise<void> | undefined
  /** On the monotonic clock: when a round is due, and when one is allowed where a clock has jumped. */
  let dueAt = Number.NEGATIVE_INFINITY
  let allowedAt = Number.NEGATIVE_INFINITY

  const ask = async (source: TimeSource): Promise<Answer | undefined> => {
    if (unanswered.has(source)) return undefined
    try {
      const { epochMs, errorMs, sentAt, answeredAt } = await timeout.execute(
        async ({ signal }) => {
          unanswered.add(source)
          const sentAt = clock.monotonic()
          try {
            const { epochMs, errorMs } = await source.now({ signal })
            return { epochMs, errorMs, sentAt, answeredAt: clock.monotonic() }
          } finally {
            unanswered.delete(source)
          }
        },
        { signal: closing.signal }
      )
      const isOfThisEra = typeof epochMs === 'number' && epochMs >= USED_AT_MIN && epochMs < USED_AT_LIMIT
      if (!isOfThisEra || !(errorMs >= 0 && errorMs <= ERROR_MAX_MS)) {
        throw new TypeError(`${source.name} answered with no time: epoch milliseconds, and an error of an hour at most`)
      }
      // The answer was true at some moment in between.
      return { source, claim: { low: epochMs - errorMs - answeredAt, high: epochMs + errorMs - sentAt } }
    } catch (error) {
      if (!closing.signal.aborted) trouble(source, { type: 'time.source-failed', source: source.name, error })
      return undefined
    }
  }

  const trouble = (source: TimeSource, event: ClockEvent): void => {
    if (troubled.has(source)) return
    troubled.add(source)
    report(event)
  }

  const settle = (answers: readonly Answer[]): void => {
    const best = agreementOf(answers.map(({ claim }) => claim))
    const agreeing = best?.agreeing ?? 0
    const hasMajority = agreeing * 2 > sources.length
    if (best === undefined || !hasMajority) {
      if (agreed !== false) report({ type: 'time.disagreed', agreeing, sources: sources.length })
      agreed = false
      return
    }
    const monotonic = clock.monotonic()
    const wall = clock.now()
    consensus = { epochMs: best.at + monotonic, errorMs: best.error, monotonic, wall }
    for (const { source, claim } of answers) {
      if (!holds(claim, best.at)) {
        const offsetMs = Math.round((claim.low + claim.high) / 2 - best.at)
        trouble(source, { type: 'time.outlier', source: source.name, offsetMs })
      } else if (troubled.delete(source)) report({ type: 'time.source-recovered', source: source.name })
    }
    const ownOffsetMs = Math.round(wall - consensus.epochMs)
    if (agreed !== true) report({ type: 'time.agreed', agreeing, sources: sources.length, ownOffsetMs })
    agreed = true
  }

  const refreshNow = (): Promise<void> => {
    round ??= Promise.all(sources.map(ask)).then((answers) => {
      round = undefined
      if (!closing.signal.aborted) settle(answers.filter((answer) => answer !== undefined))
      allowedAt = clock.monotonic() + RETRY_MS
      dueAt = agreed === true ? clock.monotonic() + refreshMs : allowedAt
    })
    return round
  }

  const reading = (): ConsensusReading => {
    const monotonic = clock.monotonic()
    const wall = clock.now()
    const since = consensus === undefined ? undefined : monotonic - consensus.monotonic
    const jumpedMs = consensus === undefined || since === undefined ? 0 : wall - consensus.wall - since
    const isDue = monotonic >= dueAt || (Math.abs(jumpedMs) > JUMP_MS && monotonic >= allowedAt)
    if (isDue && !closing.signal.aborted) void refreshNow()
    if (consensus === undefined || since === undefined) return { at: wall, basis: 'own-clock', errorMs: undefined }
    const elapsedMs = jumpedMs > JUMP_MS ? since + jumpedMs : since
    if (elapsedMs > holdMs) return { at: wall, basis: 'own-clock', errorMs: undefined }
    return {
      at: Math.round(consensus.epochMs + elapsedMs),
      basis: agreed === true && elapsedMs <= refreshMs ? 'agreed' : 'held',
      errorMs: consensus.errorMs + elapsedMs * DRIFT_RATIO
    }
  }

  return {
    now: () => reading().at,
    reading,
    async refresh({ signal } = {}) {
      signal?.throwIfAborted()
      if (closing.signal.aborted) throw closed()
      const refreshed = refreshNow()
      await (signal === undefined ? refreshed : untilAborted(refreshed, signal))
      if (closing.signal.aborted) throw closed()
      return reading()
    },
    async close() {
      closing.abort(closed())
      await round
    },
    [Symbol.asyncDispose]() {
      return this.close()
    }
  }
}

function closed(): CoreError<'CLOSED'> {
  return new CoreError('CLOSED', 'the consensus time is closed', { what: 'consensus time' })
}
