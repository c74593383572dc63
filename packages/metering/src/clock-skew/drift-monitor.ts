import { parseOptions, reporter } from '@enablement/core'
import { z } from 'zod'
import type { ClockEvent } from './clock-event.ts'
import { classifySkew, FUTURE_MS, STALE_MS } from './skew.ts'

/** How drift is watched. */
export interface DriftMonitorOptions {
  /** Over which time it is looked at, in tenths: five minutes unless given. */
  readonly windowMs?: number
  /** Events that must have come from a source in that time: 10 unless given. */
  readonly eventsMin?: number
  /** Sources known at once, those seen last: 10,000 unless given, some 3 MB. */
  readonly sourcesMax?: number
  readonly observe?: (event: ClockEvent) => void
}

/** A source whose clock is off. */
export interface DriftingSource {
  readonly tenant: string
  readonly source: string
  readonly skew: 'future' | 'stale'
  readonly driftMs: number
}

/** Watches the clocks of those who send events. */
export interface DriftMonitor {
  /** An event came from `source`. Costs well under a microsecond, unless a tenth of a window has passed. */
  note(event: {
    readonly tenant: string
    /** Whose clock it is: a host, a service, a device. */
    readonly source: string
    /** The receipt minus the time of use. */
    readonly driftMs: number
    /** Epoch milliseconds. */
    readonly receivedAt: number
  }): void
  /** Those that are off, as of their last event. */
  drifting(): readonly DriftingSource[]
}

const WINDOW_MS = 300_000
const EVENTS_MIN = 10
const SOURCES_MAX = 10_000

/** Tenths of a window. */
const SLOTS = 10

/** Tenths that must have seen events: a burst is no drift that persists. */
const SLOTS_MIN = 5

/** A source that was off is right again at half the limits: one that hovers at a limit does not alert time and again. */
const RECOVERY_RATIO = 0.5

const optionsSchema: z.ZodType<DriftMonitorOptions> = z.strictObject({
  windowMs: z.int().min(10_000).max(86_400_000).exactOptional(),
  eventsMin: z.int().min(1).max(1_000_000).exactOptional(),
  sourcesMax: z.int().min(1).max(1_000_000).exactOptional(),
  observe: z.custom<(event: ClockEvent) => void>((value) => typeof value === 'function').exactOptional()
})

/**
 * Tells when a source's clock is off, once, and when it is right again, once. The drift of an event is how far the clock
 * is behind plus how long the event was under way, which is never negative: so of each tenth of the window only the
 * quickest event counts (the clock filter of NTP, RFC 5905 §10), and of those the median, which one odd event does not
 * move. A source with a slow queue is no source with a slow clock, as long as an event in each tenth is quick.
 *
 * It is off when the median is `future` or `stale`, and right again when it is within half of those limits. Both need
 * `eventsMin` events in five tenths of the window or more. Throws `INVALID_OPTIONS`.
 */
export function createDriftMonitor(options: DriftMonitorOptions = {}): DriftMonitor {
  const parsed = parseOptions(optionsSchema, 'createDriftMonitor', options)
  const { windowMs = WINDOW_MS, eventsMin = EVENTS_MIN, sourcesMax = SOURCES_MAX } = parsed
  const slotMs = windowMs / SLOTS
  const report = reporter(parsed.observe)
  /** In the order in which they were last seen. */
  const sources = new Map<string, Source>()

  const sourceOf = (tenant: string, name: string): Source => {
    // The length keeps the two apart whatever they contain.
    const key = `${tenant.length}:${tenant}${name}`
    const known = sources.get(key)
    if (known !== undefined) {
      sources.delete(key)
      sources.set(key, known)
      return known
    }
    if (sources.size >= sourcesMax) {
      const [oldestKey, oldest] = sources.entries().next().value as [string, Source]
      sources.delete(oldestKey)
      if (oldest.skew !== undefined) {
        report({ type: 'clock.forgotten', tenant: oldest.tenant, source: oldest.name })
      }
    }
    const added = new Source(tenant, name)
    sources.set(key, added)
    return added
  }

  const judge = (source: Source): void => {
    if (source.events() < eventsMin || source.slotsSeen() < SLOTS_MIN) return
    const driftMs = source.median()
    const { tenant, name, skew: before } = source
    const skew = classifySkew(driftMs)
    source.driftMs = driftMs
    if (skew !== 'acceptable' && skew !== before) {
      source.skew = skew
      report({ type: 'clock.drifted', tenant, source: name, skew, driftMs })
    } else if (before !== undefined && driftMs >= -FUTURE_MS * RECOVERY_RATIO && driftMs <= STALE_MS * RECOVERY_RATIO) {
      source.skew = undefined
      report({ type: 'clock.recovered', tenant, source: name, driftMs })
    }
  }

  return {
    note({ tenant, source: name, driftMs, receivedAt }) {
      const source = sourceOf(tenant, name)
      const slot = Math.floor(receivedAt / slotMs)
      // Further back than a window: what was taken for the present before was not, and nothing of it is left.
      if (slot > source.slot || slot <= source.slot - SLOTS) {
        judge(source)
        source.advanceTo(slot)
      }
      source.add(driftMs)
    },
    drifting() {
      const off: DriftingSource[] = []
      for (const { tenant, name: source, skew, driftMs } of sources.values()) {
        if (skew !== undefined) off.push({ tenant, source, skew, driftMs })
      }
      return off
    }
  }
}

/** The window of one source: of each tenth the least drift and the number of events. */
class Source {
  readonly tenant: string
  readonly name: string
  slot = Number.NEGATIVE_INFINITY
  skew: 'future' | 'stale' | undefined
  driftMs = 0
  readonly #least = new Float64Array(SLOTS).fill(Number.POSITIVE_INFINITY)
  readonly #events = new Uint32Array(SLOTS)

  constructor(tenant: string, name: string) {
    this.tenant = tenant
    this.name = name
  }

  /** Empties the tenths that have passed, all of them after a leap. Where clocks were set back, events go to the last one. */
  advanceTo(slot: number): void {
    const passed = Math.min(SLOTS, Math.abs(slot - this.slot))
    for (let step = 0; step < passed; step++) {
      const at = (slot - step) % SLOTS
      this.#least[at] = Number.POSITIVE_INFINITY
      this.#events[at] = 0
    }
    this.slot = slot
  }

  add(driftMs: number): void {
    const at = this.slot % SLOTS
    this.#least[at] = Math.min(this.#least[at] as number, driftMs)
    this.#events[at] = (this.#events[at] as number) + 1
  }

  events(): number {
    return this.#events.reduce((sum, events) => sum + events, 0)
  }

  slotsSeen(): number {
    return this.#events.reduce((seen, events) => seen + (events > 0 ? 1 : 0), 0)
  }

  /** Of an even number the one nearer to no drift: an alert needs more than half. */
  median(): number {
    const seen = this.#least.filter((driftMs) => driftMs !== Number.POSITIVE_INFINITY).sort()
    const upper = seen[Math.floor(seen.length / 2)] as number
    const lower = seen[Math.floor((seen.length - 1) / 2)] as number
    return Math.abs(upper) < Math.abs(lower) ? upper : lower
  }
}
