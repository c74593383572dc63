import { z } from 'zod'
import type { Platform } from '../platform.ts'
import type { BreakerEvent } from '../resilience/breaker-event.ts'
import { type BreakerWindow, circuitBreakerOptions } from '../resilience/breaker-options.ts'
import { type BreakerPermit, type CircuitBreaker, createCircuitBreaker } from '../resilience/circuit-breaker.ts'

/** The circuit breaker that each destination has. */
export interface DestinationBreaker {
  /** The deliveries that are evidence; those of the last 30 s, of which 20 and half of them fail, unless given. */
  readonly window?: BreakerWindow
  /** How long the first break lasts; 5,000 ms unless given. */
  readonly breakMs?: number
  /** The longest break; 60,000 ms unless given. */
  readonly breakMaxMs?: number
  /** For how long after closing a growing share is let through; 0 unless given. */
  readonly rampMs?: number
}

const CHOSEN: ReadonlySet<string> = new Set(['window', 'breakMs', 'breakMaxMs', 'rampMs'])

export const destinationBreakerSchema: z.ZodType<DestinationBreaker | 'off'> = z
  .custom<DestinationBreaker | 'off'>((value) => value === 'off' || (typeof value === 'object' && value !== null))
  .check(({ value, issues }) => {
    if (typeof value !== 'object' || value === null) return
    const refuse = (path: PropertyKey[], message: string) =>
      issues.push({ code: 'custom', input: value, path, message })
    for (const option of Object.keys(value)) if (!CHOSEN.has(option)) refuse([option], 'there is no such option')
    const parsed = circuitBreakerOptions.safeParse({ ...value, name: 'destination' })
    for (const { path, message } of parsed.error?.issues ?? []) if (path.length > 0) refuse([...path], message)
  })

/** What an attempt says about its destination. */
export type DestinationVerdict = 'success' | 'failure' | 'ignored'

/** Leave to deliver, to be given back with what came of it. */
export interface Leave {
  end(verdict: DestinationVerdict): void
}

/** What this process knows of destinations: how many deliveries are under way, and whether the receiver is well. */
export interface Destinations {
  /** How many more deliveries may begin. Of a destination that is not known, all of its share. */
  roomOf(destination: string): number
  /** Those to which something is under way. */
  busy(): readonly string[]
  /** How many more may begin to each destination, whichever that is, but for `except`. */
  roomOfEach(except?: ReadonlySet<string>): number
  /** For how long nothing is to be sent, by the breaker; 0 when something may. */
  breakMsOf(destination: string): number
  /** Leave to begin, or for how long there is none. */
  begin(destination: string): Leave | { readonly retryInMs: number }
  /** Whose breaker lets nothing or only probes through. */
  broken(): readonly string[]
}

/** Known at once; a breaker has some KB. Beyond it those that nothing goes to are forgotten, the oldest first. */
const KNOWN_MAX = 1_000

interface Known {
  underWay: number
  readonly breaker: CircuitBreaker | undefined
}

/** `share` deliveries to one destination at a time. */
export function destinationsOf(options: {
  readonly share: number
  readonly breaker: DestinationBreaker | 'off'
  /** As long as a delivery may take, after which a probe that does not report is taken back. */
  readonly probeLeaseMs: number
  readonly platform: Platform
  readonly observe: (event: BreakerEvent) => void
}): Destinations {
  const { share, breaker, probeLeaseMs, platform, observe } = options
  const known = new Map<string, Known>()

  const remember = (destination: string): Known => {
    const found = known.get(destination)
    if (found !== undefined) return found
    if (known.size >= KNOWN_MAX) {
      for (const [oldest, { underWay }] of known) {
        if (underWay > 0) continue
        known.delete(oldest)
        break
      }
    }
    const made: Known = {
      underWay: 0,
      breaker:
        breaker === 'off'
          ? undefined
          : createCircuitBreaker({ ...breaker, name: destination, probeLeaseMs, platform, observe })
    }
    known.set(destination, made)
    return made
  }

  const giveBack = (one: Known, permit: BreakerPermit | undefined, verdict: DestinationVerdict): void => {
    one.underWay -= 1
    if (permit === undefined) return
    if (verdict === 'success') one.breaker?.succeed(permit)
    else if (verdict === 'failure') one.breaker?.fail(permit)
    else one.breaker?.release(permit)
  }

  return {
    roomOf: (destination) => share - (known.get(destination)?.underWay ?? 0),
    busy: () => [...known].filter(([, { underWay }]) => underWay > 0).map(([destination]) => destination),
    roomOfEach(except) {
      let most = 0
      for (const [destination, { underWay }] of known) {
        if (except?.has(destination) !== true) most = Math.max(most, underWay)
      }
      return share - most
    },
    breakMsOf(destination) {
      const found = known.get(destination)?.breaker
      if (found === undefined || found.state !== 'open') return 0
      const leave = found.acquire()
      if (leave.outcome === 'rejected') return leave.retryAfterMs
      found.release(leave)
      return 0
    },
    begin(destination) {
      const one = remember(destination)
      const leave = one.breaker?.acquire()
      if (leave?.outcome === 'rejected') return { retryInMs: leave.retryAfterMs }
      one.underWay += 1
      let ended = false
      return {
        end(verdict) {
          if (ended) return
          ended = true
          giveBack(one, leave, verdict)
        }
      }
    },
    broken: () =>
      [...known]
        .filter(([, one]) => one.breaker?.state === 'open' || one.breaker?.state === 'half-open')
        .map(([destination]) => destination)
  }
}
