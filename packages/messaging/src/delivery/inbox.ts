import { type Clock, createSemaphore, type Semaphore } from '@enablement/core'
import { copyBytes } from '../encoding/copy-bytes.ts'
import type { Observe } from '../messaging-event.ts'
import type { InboxEntry, MessageStore } from '../store/message-store.ts'

/** A message for the application. */
export interface ReceivedMessage {
  /** The same at every handing over, and the same that the sender was given. */
  readonly id: string
  readonly from: string
  readonly bytes: Uint8Array
  /** When it was opened: epoch milliseconds. */
  readonly receivedAt: number
  /** Whether this receiver was handed it before and did not acknowledge it. */
  readonly again: boolean
  /** Lets go of the message: it is not handed over again. Resolved means committed; calling it twice is harmless. */
  ack(): Promise<void>
}

/** The application's own function. */
export type Receiver = (message: ReceivedMessage) => void | Promise<void>

/** Hands over what has been committed: one message at a time per sender, in order, until each is acknowledged. */
export interface Inbox {
  /** Takes note of a message that has just been committed. */
  arrived(entry: InboxEntry): void
  /** Starts handing over, with what was left unacknowledged first. The function that is given back ends it. */
  receive(receiver: Receiver, options: { readonly concurrency: number; readonly redeliverAfterMs: number }): () => void
  /** Whether no more messages may wait. */
  isFull(): Promise<boolean>
}

/** Messages that may wait unacknowledged: beyond, deliveries are deferred, so that the store stays bounded. */
const INBOX_MAX = 10_000

/** Messages of one sender that are kept in memory: at 64 KiB each, 2 MiB. The others wait in the store. */
const LANE_MAX = 32

/** One sender's messages on their way to the application. */
interface Lane {
  readonly peer: string
  readonly ready: InboxEntry[]
  /** Whether the store holds more than `ready`; then arrivals are left to be read from there, in order. */
  behind: boolean
  /** Whether something arrived since the store was last asked. */
  missed: boolean
}

/** One call of `receive`. */
interface Run {
  readonly receiver: Receiver
  readonly redeliverAfterMs: number
  readonly lanes: Map<string, Lane>
  readonly stop: AbortController
  readonly places: Semaphore
  /** Whether every message left from before has a lane: from then on, a sender without one has nothing in the store. */
  resumed: boolean
}

export function createInbox(options: {
  readonly owner: string
  readonly store: MessageStore
  readonly clock: Clock
  readonly notify: Observe
  readonly waiting: number
}): Inbox {
  const { owner, store, clock, notify } = options
  let waiting = options.waiting
  let run: Run | undefined

  const acknowledge = async (id: string): Promise<void> => {
    if (await store.acknowledge(owner, id)) waiting = Math.max(0, waiting - 1)
  }

  /** Hands one message over until it is acknowledged or the run ends. */
  const hand = async (current: Run, entry: InboxEntry): Promise<void> => {
    const { signal } = current.stop
    let isSettled = false
    let wake = (): void => {}
    for (let again = false; !isSettled && !signal.aborted; again = true) {
      const message: ReceivedMessage = {
        id: entry.id,
        from: entry.peer,
        bytes: copyBytes(entry.plaintext),
        receivedAt: entry.receivedAt,
        again,
        async ack() {
          await acknowledge(entry.id)
          isSettled = true
          wake()
        }
      }
      try {
        // The run may have ended while the message waited for its place.
        await current.places.run(() => (signal.aborted ? undefined : current.receiver(message)))
      } catch (error) {
        notify({ type: 'receiver.failed', peer: entry.peer, id: entry.id, error })
      }
      if (isSettled) break
      await pause(clock, current.redeliverAfterMs, signal, (end) => {
        wake = end
      })
    }
  }

  /** Reads on where memory has run out. */
  const refill = async (lane: Lane): Promise<void> => {
    lane.missed = false
    const entries = await store.loadUnacknowledged(owner, lane.peer, { limit: LANE_MAX })
    lane.ready.push(...entries)
    if (entries.length < LANE_MAX && !lane.missed) lane.behind = false
  }

  const work = async (current: Run, lane: Lane): Promise<void> => {
    while (!current.stop.signal.aborted) {
      const entry = lane.ready[0]
      if (entry !== undefined) {
        await hand(current, entry)
        lane.ready.shift()
      } else if (lane.behind) {
        try {
          await refill(lane)
        } catch (error) {
          notify({ type: 'inbox.unavailable', error })
          await pause(clock, current.redeliverAfterMs, current.stop.signal)
        }
      } else {
        // In the same step as the look at the lane, so that nothing can arrive in between and be forgotten.
        current.lanes.delete(lane.peer)
        return
      }
    }
  }

  const open = (current: Run, peer: string, ready: InboxEntry[]): void => {
    const lane: Lane = { peer, ready, behind: ready.length === 0, missed: false }
    current.lanes.set(peer, lane)
    // A lane handles its own failures; it has none left to reject with.
    void work(current, lane)
  }

  const resume = async (current: Run): Promise<void> => {
    while (!current.stop.signal.aborted) {
      try {
        for (const peer of await store.loadWaitingPeers(owner)) {
          if (!current.lanes.has(peer)) open(current, peer, [])
        }
        current.resumed = true
        return
      } catch (error) {
        notify({ type: 'inbox.unavailable', error })
        await pause(clock, current.redeliverAfterMs, current.stop.signal)
      }
    }
  }

  return {
    arrived(entry) {
      waiting += 1
      if (run === undefined) return
      const lane = run.lanes.get(entry.peer)
      if (lane === undefined) open(run, entry.peer, run.resumed ? [entry] : [])
      else if (lane.behind) lane.missed = true
      else if (lane.ready.length < LANE_MAX) lane.ready.push(entry)
      else lane.behind = true
    },

    receive(receiver, { concurrency, redeliverAfterMs }) {
      const current: Run = {
        receiver,
        redeliverAfterMs,
        lanes: new Map(),
        stop: new AbortController(),
        places: createSemaphore({ places: concurrency, waitingMax: INBOX_MAX }),
        resumed: false
      }
      run = current
      void resume(current)
      return () => {
        if (run === current) run = undefined
        current.stop.abort()
      }
    },

    async isFull() {
      if (waiting < INBOX_MAX) return false
      // Another process on the same owner may have let go of messages that were counted here.
      waiting = (await store.countWaiting(owner)).unacknowledged
      return waiting >= INBOX_MAX
    }
  }
}

/**
 * Resolves when the delay is over, when the signal aborts or when `onStarted`'s function is called, and leaves nothing
 * behind.
 */
function pause(
  clock: Clock,
  delayMs: number,
  signal: AbortSignal,
  onStarted?: (end: () => void) => void
): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve()
    const end = (): void => {
      timer.cancel()
      signal.removeEventListener('abort', end)
      resolve()
    }
    const timer = clock.startTimer(delayMs, end, { background: true })
    signal.addEventListener('abort', end, { once: true })
    onStarted?.(end)
  })
}
