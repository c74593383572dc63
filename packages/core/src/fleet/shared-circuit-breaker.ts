import { z } from 'zod'
import { createIdSource } from '../chance/uuid-v7.ts'
import { parseOptions } from '../failure/options.ts'
import { reporter } from '../failure/reporter.ts'
import { nameSchema } from '../lock/lock-store.ts'
import { systemPlatform } from '../platform.ts'
import type { BreakerEvent } from '../resilience/breaker-event.ts'
import { breakerOf } from '../resilience/breaker-machine.ts'
import { BREAK_MS, type CircuitBreakerOptions, circuitBreakerOptions } from '../resilience/breaker-options.ts'
import type { BreakerPermit, BreakerRejection, CircuitBreaker } from '../resilience/circuit-breaker.ts'
import type { CallOptions } from '../resilience/policy.ts'
import { createTimeout } from '../resilience/timeout.ts'
import type { Timer } from '../time/clock.ts'
import { BREAKS_MAX, type BreakerStateStore, type SharedStanding } from './breaker-state-store.ts'
import { storeQuestion } from './store-question.ts'

/** What an operator should hear of a breaker that processes share. */
export type SharedBreakerEvent =
  | BreakerEvent
  /** The store failed or did not answer in time: until it does, this process goes on as if it were the only one. */
  | { readonly type: 'breaker.alone'; readonly breaker: string; readonly error: unknown }
  /** The store has answered again, and this process follows it. */
  | { readonly type: 'breaker.rejoined'; readonly breaker: string }

export interface SharedCircuitBreakerOptions extends Omit<CircuitBreakerOptions, 'observe'> {
  /** Where the processes agree. All whose breakers have the same `name` in it share one; give them the same options. */
  readonly store: BreakerStateStore
  /** How often the store is looked at, one reading each; 500 ms unless given, from 10 ms to a minute. */
  readonly pollMs?: number
  /** After this long without an answer this process goes on alone; 250 ms unless given, from 1 ms to a minute. */
  readonly storeTimeoutMs?: number
  /** What it throws is dropped: a report must not cost the call. */
  readonly observe?: (event: SharedBreakerEvent) => void
}

/**
 * A circuit breaker that processes share. Each counts its own calls, in memory, and answers from memory; in the background
 * it tells the store what it found out and looks at what the others did.
 *
 * - A break that one opens is all others' too, within `pollMs` and at most four answers of the store (one that is under
 *   way and the next, on either side), each of which takes `storeTimeoutMs` at most. Breaks in a row are counted by all
 *   together, so that they grow for all.
 * - After a break one process claims the probe in the store; the others answer `probing`. With several `probes` all are
 *   that process's. When it dies, the next one's turn comes `probeLeaseMs` and a second after its claim. What it reports
 *   after that changes nothing, here or there. All hear of its success as of a break, and each climbs a ramp of its own.
 * - While the store does not answer nobody waits for it: each process goes on by itself, opens, probes and closes, after
 *   one `breaker.alone`. When it answers again, what this process found out counts if nobody changed anything meanwhile;
 *   else what stands in the store does.
 * - `reset` closes it for all, `trip` opens it for all. `switchTo` is this process's own: meanwhile it neither tells the
 *   others nor follows them, and `reset` brings it back to what they have.
 */
export interface SharedCircuitBreaker extends CircuitBreaker, AsyncDisposable {
  /** Whether the store did not answer when it was last asked. */
  readonly alone: boolean
  /**
   * As `acquire`, for the moment after a break: the first call to come then waits for the store's leave to probe, at most
   * twice `storeTimeoutMs`. All others are answered at once. `execute` takes its permits like this. Where calls are so
   * few that a second often passes without one, the breaker only closes again by this or `execute`: leave to probe that
   * `acquire` asked for is there for its next call within a second.
   */
  admit(options?: CallOptions): Promise<BreakerPermit | BreakerRejection>
  /**
   * Tells the store and looks at it now, rather than at the next poll, for processes that are frozen between calls.
   * Resolves within `storeTimeoutMs` for each question, also when the store does not answer.
   */
  refresh(): Promise<void>
  /**
   * Stops looking at the store, after one more attempt to tell it what it has not been told. From then on it is a breaker
   * of this process alone.
   */
  close(): Promise<void>
}

const POLL_MS = 500
/** As long as the store of a call's own process is commonly given; the call does not wait for it but to probe. */
const STORE_TIMEOUT_MS = 250

/**
 * How long leave to probe may lie unused, so that a probe which begins at the end of it has its whole lease within the
 * claim. Long enough for the next call of a callee that is worth a shared breaker, short to wait for when its owner died.
 */
const START_MS = 1_000

/** Questions to a store that does not answer: they are asked one after the other, so these have been given up. */
const OUTSTANDING_MAX = 8

const sharedOptions: z.ZodType<{
  readonly name: string
  readonly store: BreakerStateStore
  readonly pollMs?: number
  readonly storeTimeoutMs?: number
}> = z.strictObject({
  // One that stores refuse would leave the process alone for ever.
  name: nameSchema,
  store: z.custom<BreakerStateStore>((value) => typeof value === 'object' && value !== null && 'claimProbe' in value),
  pollMs: z.number().min(10).max(60_000).exactOptional(),
  storeTimeoutMs: z.number().min(1).max(60_000).exactOptional()
})

/** What happened here that the store has not been told, and what this process knew of the others then. */
interface Finding {
  readonly what: 'opened' | 'closed' | 'reset'
  readonly generation: number | undefined
}

/** Throws `INVALID_OPTIONS`. */
export function createSharedCircuitBreaker(options: SharedCircuitBreakerOptions): SharedCircuitBreaker {
  const subject = 'createSharedCircuitBreaker'
  const { store: givenStore, pollMs: givenPollMs, storeTimeoutMs: givenTimeoutMs, ...rest } = options
  const shared = { name: options.name, store: givenStore, pollMs: givenPollMs, storeTimeoutMs: givenTimeoutMs }
  const { store, pollMs = POLL_MS, storeTimeoutMs = STORE_TIMEOUT_MS } = parseOptions(sharedOptions, subject, shared)
  const parsed = parseOptions(circuitBreakerOptions, subject, rest)
  const { name, platform = systemPlatform, breakMs = BREAK_MS } = parsed
  const { probeLeaseMs = breakMs } = parsed
  const observe = parsed.observe as ((event: SharedBreakerEvent) => void) | undefined
  const { clock } = platform
  const owner = createIdSource(platform)()
  const ask = storeQuestion({
    what: `breaker ${name}`,
    timeoutMs: storeTimeoutMs,
    outstandingMax: OUTSTANDING_MAX,
    platform
  })

  /** Of the call that waits for leave to probe. */
  const patience = createTimeout({ timeoutMs: 2 * storeTimeoutMs, platform })

  /** What stood when the store last answered; undefined before it ever did. */
  let agreed: SharedStanding | undefined
  /** When that was, on this process's monotonic clock. */
  let agreedAt = 0
  /** The generation that the breaker here follows: not the agreed one while it has something to tell, or is overridden. */
  let followed: number | undefined
  /** This process's leave to probe, and until when a probe may begin by it. */
  let leave: { readonly generation: number; readonly startUntil: number } | undefined
  /** Whether the claim that stands may be this process's, which was not told. */
  let claimUnanswered = false
  let finding: Finding | undefined
  let wantsLeave = false
  /** Whether the wait for leave has been given to a call. */
  let waited = false
  let alone = false
  let closed = false
  let talk: Promise<void> | undefined
  let timer: Timer | undefined

  const report = reporter<SharedBreakerEvent>(observe)

  const { breaker, controls } = breakerOf(parsed, {
    holdMs(now) {
      if (alone || closed) return 0
      if (leave !== undefined && now <= leave.startUntil) return 0
      const othersMs = leave === undefined && !claimUnanswered ? agreedProbeMs(now) : 0
      if (othersMs > 0) return Math.min(othersMs, pollMs)
      if (!wantsLeave) waited = false
      wantsLeave = true
      void converse()
      return storeTimeoutMs
    },
    leave(options) {
      if (!wantsLeave || waited || closed) return undefined
      waited = true
      return patience.execute(converse, options).catch(() => {})
    },
    changed(to) {
      if (closed) return
      finding = to === 'resumed' ? undefined : { what: to, generation: agreed?.generation }
      leave = undefined
      void converse()
    }
  })

  /** How long another process's claim lasts, as far as is known. */
  const agreedProbeMs = (now: number): number =>
    agreed?.state === 'open' ? Math.max(0, agreed.probeLeftMs - (now - agreedAt)) : 0

  const follow = (standing: SharedStanding, askedAt: number): void => {
    agreed = standing
    agreedAt = askedAt
    if (leave?.generation !== standing.generation) leave = undefined
    // What was found out here meanwhile is told first.
    if (finding !== undefined || OVERRIDES.has(controls.state)) return
    const isNew = standing.generation !== followed
    followed = standing.generation
    if (standing.state === 'open') {
      // Of a break that it follows already, a half-open breaker has nothing to learn, and its probes go on.
      if (isNew || controls.state !== 'half-open') controls.takeBreak(standing)
      return
    }
    if (controls.state !== 'closed') controls.takeClose()
    if (isNew && standing.generation > 0) controls.remember(standing)
  }

  const tell = async ({ what, generation }: Finding, known: SharedStanding): Promise<SharedStanding> => {
    if (what === 'reset') return store.reset(name)
    if (what === 'closed') return generation === undefined ? known : store.close(name, { generation })
    // Nothing was known when it opened, so a break that stands is the others' finding, not older than this one.
    if (generation === undefined && known.state === 'open') return known
    const standing = await store.open(name, { generation: generation ?? known.generation, ...lastBreak() })
    // A store that has lost its record knows nothing that this finding could be older than.
    return standing.generation === 0 ? store.open(name, { generation: 0, ...lastBreak() }) : standing
  }

  /** As the store takes it, in whole milliseconds. */
  const lastBreak = () => {
    const { breaks, breakMs: lengthMs, breakLeftMs } = controls.lastBreak()
    const whole = Math.ceil(lengthMs)
    return {
      breaks: Math.min(BREAKS_MAX, Math.max(1, breaks)),
      breakMs: whole,
      breakLeftMs: Math.min(whole, Math.ceil(breakLeftMs))
    }
  }

  const claim = async (generation: number): Promise<void> => {
    const askedAt = clock.monotonic()
    const leaseMs = Math.ceil(probeLeaseMs) + START_MS
    claimUnanswered = true
    const { outcome, standing } = await ask(() => store.claimProbe(name, { generation, owner, leaseMs }))
    claimUnanswered = false
    follow(standing, askedAt)
    if (outcome === 'granted') leave = { generation: standing.generation, startUntil: askedAt + START_MS }
  }

  /** What was found out here is told, or else what the others did is asked. */
  const exchange = async (): Promise<void> => {
    const askedAt = clock.monotonic()
    const known = agreed ?? (await ask(() => store.read(name)))
    const told = finding
    finding = undefined
    if (told === undefined) return follow(agreed === undefined ? known : await ask(() => store.read(name)), askedAt)
    try {
      const standing = await ask(() => tell(told, known))
      // What happened here while the store took it in has come after it.
      if (finding !== undefined && (standing.state === 'open') === (told.what === 'opened')) {
        finding = { ...(finding as Finding), generation: standing.generation }
      }
      follow(standing, askedAt)
    } catch (error) {
      finding ??= told
      throw error
    }
  }

  /** Exchanges until there is nothing more to tell, and asks for leave to probe where it is wanted. */
  const exchanges = async (): Promise<void> => {
    try {
      do {
        await exchange()
        const mayClaim = finding === undefined && controls.state === 'half-open' && agreed?.state === 'open'
        if (wantsLeave && mayClaim) await claim(agreed?.generation ?? 0)
        wantsLeave = false
      } while (finding !== undefined)
      const wasAlone = alone
      alone = false
      if (wasAlone) report({ type: 'breaker.rejoined', breaker: name })
    } catch (error) {
      wantsLeave = false
      const wasAlone = alone
      alone = true
      if (!wasAlone) report({ type: 'breaker.alone', breaker: name, error })
    } finally {
      talk = undefined
    }
  }

  /** Talks to the store, one question after the other: an answer that overtook another would look like news. */
  const converse = (): Promise<void> => {
    talk ??= exchanges()
    return talk
  }

  const poll = (): void => {
    timer = clock.startTimer(
      pollMs,
      () => {
        void converse().then(() => {
          if (!closed) poll()
        })
      },
      { background: true }
    )
  }
  void converse()
  poll()

  const close = async (): Promise<void> => {
    closed = true
    timer?.cancel()
    await (finding === undefined ? talk : converse())
  }

  const sharedBreaker = Object.assign(breaker, {
    admit: controls.admit,
    refresh: async () => {
      if (!closed) await converse()
    },
    close,
    [Symbol.asyncDispose]: close
  })
  return Object.defineProperty(sharedBreaker as typeof sharedBreaker & { alone: boolean }, 'alone', {
    enumerable: true,
    get: () => alone
  })
}

const OVERRIDES: ReadonlySet<string> = new Set(['metrics-only', 'forced-open', 'disabled'])
