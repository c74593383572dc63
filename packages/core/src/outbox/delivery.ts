import { CoreError } from '../failure/core-error.ts'
import type { HeldRow } from '../schedule/due-claims.ts'
import type { Clock, Timer } from '../time/clock.ts'
import { elapsedSince, type Reading, read } from '../time/reckoning.ts'
import type { Leave } from './destinations.ts'
import type { ClaimedMessage } from './message-table.ts'

/** The share of a lease, at its end, during which a delivery has already been told to stop. */
const MARGIN_RATIO = 0.1
/** Two failures of the store in a row still leave time for a third try. */
const EXTENSION_RATIO = 1 / 3
/** The longest that a sleep of the machine goes unnoticed after waking. */
const LOOK_MAX_MS = 1_000

/** A delivery that is under way. */
export interface Delivery {
  readonly message: ClaimedMessage
  /** Tells the deliverer to stop, before its time limit does. */
  readonly controller: AbortController
  /** That of its destination. */
  readonly leave: Leave
  readonly begunAt: Reading
  /** From before the store was asked for the lease, or for its last extension. */
  askedAt: Reading
  /** Why it was told to stop: its lease was over, or the worker's time to close was. */
  stopped: 'lost' | 'cut-off' | undefined
}

/** The leases of the deliveries that a worker has under way. */
export interface Leases {
  /** Whether a lease asked for at `askedAt` may still be used, by whichever of the clocks says less. */
  isUsable(askedAt: Reading): boolean
  /** The deliveries among these whose leases should be extended now. */
  due(deliveries: Iterable<Delivery>): Delivery[]
  /** Tells a delivery that its lease is over. */
  lose(delivery: Delivery): void
  /**
   * Looks at the clocks until stopped: tells the deliveries whose leases are over, before the store gives the messages to
   * anybody else, and calls `onDue` when some should be extended.
   */
  watch(deliveries: ReadonlyMap<string, Delivery>, onDue: () => void): { stop(): void }
}

/** `onLost` hears of each delivery once. */
export function leasesOf(options: {
  readonly clock: Clock
  readonly leaseMs: number
  readonly onLost: (delivery: Delivery, heldMs: number) => void
}): Leases {
  const { clock, leaseMs, onLost } = options
  const usableMs = leaseMs - Math.ceil(leaseMs * MARGIN_RATIO)
  const lookMs = Math.min(LOOK_MAX_MS, Math.max(1, Math.floor((leaseMs * MARGIN_RATIO) / 2)))

  const isUsable = (askedAt: Reading): boolean => elapsedSince(askedAt, clock).ms < usableMs
  const isDue = ({ stopped, askedAt }: Delivery): boolean =>
    stopped === undefined && elapsedSince(askedAt, clock).ms >= leaseMs * EXTENSION_RATIO

  const lose = (delivery: Delivery): void => {
    if (delivery.stopped !== undefined) return
    const { message, begunAt } = delivery
    const heldMs = Math.round(elapsedSince(begunAt, clock).ms)
    const detail = { lock: `outbox message ${message.key}`, fence: message.fence, heldMs }
    stop(delivery, 'lost', new CoreError('LOCK_LOST', `the lease of ${detail.lock} ended after ${heldMs} ms`, detail))
    onLost(delivery, heldMs)
  }

  return {
    isUsable,
    due: (deliveries) => [...deliveries].filter(isDue),
    lose,
    watch(deliveries, onDue) {
      let timer: Timer
      const start = (): void => {
        timer = clock.startTimer(lookMs, look, { background: true })
      }
      const look = (): void => {
        let extend = false
        for (const delivery of deliveries.values()) {
          if (!isUsable(delivery.askedAt)) lose(delivery)
          extend ||= isDue(delivery)
        }
        start()
        if (extend) onDue()
      }
      start()
      return { stop: () => timer.cancel() }
    }
  }
}

/** A delivery that begins now, of a message whose lease was asked for at `askedAt`. */
export function deliveryOf(message: ClaimedMessage, leave: Leave, askedAt: Reading, clock: Clock): Delivery {
  return { message, controller: new AbortController(), leave, begunAt: read(clock), askedAt, stopped: undefined }
}

/** Aborts a delivery's signal, once. */
export function stop(delivery: Delivery, why: 'lost' | 'cut-off', reason: unknown): void {
  if (delivery.stopped !== undefined) return
  delivery.stopped = why
  delivery.controller.abort(reason)
}

/** As the store compares them. */
export function heldRowOf({ message }: Delivery): HeldRow {
  return { key: message.key, fence: message.fence }
}
