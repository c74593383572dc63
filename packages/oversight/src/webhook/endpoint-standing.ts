import type { BreakerPermit, BreakerRejection, CircuitBreaker } from '@enablement/core'
import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js'

/** A circuit breaker of one process, or one that processes share. */
export type EndpointBreaker = CircuitBreaker & {
  admit?(options: { readonly signal: AbortSignal }): Promise<BreakerPermit | BreakerRejection>
  close?(): Promise<void>
}

/** What is remembered of an endpoint while it is in use. Instants are of the monotonic clock. */
export interface EndpointStanding {
  /** Host and a hash of the URL, whose path and query may hold a secret. */
  readonly name: string
  readonly breaker: EndpointBreaker
  /** Deliveries under way; with any, it is not forgotten. */
  running: number
  /** Since when it has failed without a success, and when it did last. */
  outage: { readonly since: number; readonly lastAt: number } | undefined
  /** Until when it asked to be left alone. */
  heldUntil: number
  /** Until when it is not asked, since it said that it is gone. */
  goneUntil: number
}

/** The endpoints that are in use, up to a bound. */
export interface EndpointStandings {
  /** That of a URL; undefined when as many as are kept are all busy. */
  of(url: string): EndpointStanding | undefined
  close(): Promise<void>
}

export function endpointStandings({
  standingsMax,
  breakerOf
}: {
  readonly standingsMax: number
  readonly breakerOf: (name: string) => EndpointBreaker
}): EndpointStandings {
  // By a hash of the URL, in the order of use.
  const known = new Map<string, EndpointStanding>()

  /** Forgets one that is idle: one that is well before one of which something would be lost. */
  const makeRoom = (): boolean => {
    const idle = [...known].filter(([, { running }]) => running === 0)
    const forgotten = idle.find(([, { outage }]) => outage === undefined) ?? idle[0]
    if (forgotten === undefined) return false
    known.delete(forgotten[0])
    // A shared breaker goes on watching its store otherwise. What its closing throws concerns nobody here.
    forgotten[1].breaker.close?.().catch(() => undefined)
    return true
  }

  const added = (url: string, key: string): EndpointStanding => {
    const name = `${URL.parse(url)?.hostname.slice(0, 100) || 'unknown'}#${key.slice(0, 16)}`
    return { name, breaker: breakerOf(name), running: 0, outage: undefined, heldUntil: 0, goneUntil: 0 }
  }

  return {
    of(url) {
      const key = bytesToHex(sha256(utf8ToBytes(url)))
      const found = known.get(key)
      if (found === undefined && known.size >= standingsMax && !makeRoom()) return undefined
      const standing = found ?? added(url, key)
      known.delete(key)
      known.set(key, standing)
      return standing
    },
    async close() {
      const breakers = [...known.values()].map(({ breaker }) => breaker)
      known.clear()
      await Promise.allSettled(breakers.map(async (breaker) => breaker.close?.()))
    }
  }
}
