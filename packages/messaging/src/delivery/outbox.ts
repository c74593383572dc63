import { type Clock, createKeyedMutex, isSuiteError } from '@enablement/core'
import type { Observe } from '../messaging-event.ts'
import type { MessageStore, OutboxEntry } from '../store/message-store.ts'
import type { Delivered, Transport } from './transport.ts'

/** What a peer's outbox came to for one message. */
export type OutboxResult = Delivered | { readonly outcome: 'expired' }

/** Sends what has been committed, in the order of the commits per peer, until it is taken, refused or too old. */
export interface Outbox {
  /** Delivers an entry that has just been committed, behind those of its peer that still wait. */
  deliver(entry: OutboxEntry): Promise<OutboxResult>
  /**
   * Delivers what waits for the peer, or for all; a peer that cannot be reached holds up no other. Stops between peers
   * when the signal aborts. Gives the number of entries that left the queue.
   */
  flush(options?: { readonly peer?: string | undefined; readonly signal?: AbortSignal }): Promise<number>
  /** Ends what is too old and forgets what ended long ago, a bounded number of entries. */
  expire(): Promise<number>
  /** How many wait when no more may; undefined as long as there is room. */
  full(): Promise<{ readonly waiting: number; readonly limit: number } | undefined>
  /** Counts an entry that was committed. */
  queued(): void
}

/** Messages that may wait in the outbox: beyond, sending is refused, so that the store stays bounded. */
const OUTBOX_MAX = 10_000

/** Entries read at a time: at 64 KiB each, 2 MiB. */
const BATCH = 32

/** Peers known to have nothing waiting in the store. When there are more, the store is asked once more each. */
const CLEAR_PEERS_MAX = 10_000

export function createOutbox(options: {
  readonly owner: string
  readonly store: MessageStore
  readonly transport: Transport
  readonly clock: Clock
  readonly notify: Observe
  readonly waiting: number
}): Outbox {
  const { owner, store, transport, clock, notify } = options
  const turns = createKeyedMutex()
  const clear = new Set<string>()
  let waiting = options.waiting

  /** False: another process, or an earlier turn, has ended it and told of it. */
  const settle = async (entry: OutboxEntry, status: 'delivered' | 'rejected' | 'expired'): Promise<boolean> => {
    const isSettled = await store.settle(owner, entry.id, status)
    if (isSettled) waiting = Math.max(0, waiting - 1)
    return isSettled
  }

  const attempt = async (entry: OutboxEntry): Promise<OutboxResult> => {
    const { id, peer, envelope } = entry
    if (entry.expiresAt <= clock.now()) {
      if (await settle(entry, 'expired')) notify({ type: 'message.expired', peer, id })
      return { outcome: 'expired' }
    }
    let delivered: Delivered
    try {
      delivered = await transport.deliver({ from: owner, to: peer, envelope })
    } catch (error) {
      notify({ type: 'transport.failed', peer, id, error })
      return { outcome: 'unreachable' }
    }
    if (delivered.outcome === 'rejected') {
      if (await settle(entry, 'rejected')) {
        notify({ type: 'message.rejected', peer, id, reason: delivered.reason })
      }
    } else if (delivered.outcome === 'delivered') await settle(entry, 'delivered')
    return delivered
  }

  /** Sends everything that waits for a peer, oldest first. False: the peer could not be reached, and the rest waits. */
  const drain = async (peer: string, results: Map<string, OutboxResult>): Promise<boolean> => {
    for (;;) {
      const entries = await store.loadQueued(owner, peer, { limit: BATCH })
      for (const entry of entries) {
        const result = await attempt(entry)
        results.set(entry.id, result)
        if (result.outcome === 'unreachable') {
          clear.delete(peer)
          return false
        }
      }
      if (entries.length < BATCH) break
    }
    if (clear.size >= CLEAR_PEERS_MAX) clear.clear()
    clear.add(peer)
    return true
  }

  const deliverInTurn = async (entry: OutboxEntry): Promise<OutboxResult> => {
    const { id, peer } = entry
    if (clear.has(peer)) {
      const result = await attempt(entry)
      if (result.outcome === 'unreachable') clear.delete(peer)
      return result
    }
    const results = new Map<string, OutboxResult>()
    const isDrained = await drain(peer, results)
    const result = results.get(id)
    if (result !== undefined) return result
    // Another turn has sent it before this one. To send the same bytes again is harmless, and tells how it ended.
    return isDrained ? await attempt(entry) : { outcome: 'unreachable' }
  }

  return {
    async deliver(entry) {
      const { peer } = entry
      try {
        return await turns.run(peer, () => deliverInTurn(entry))
      } catch (error) {
        if (!isSuiteError(error, 'OVERLOADED')) throw error
        // Too many wait for the peer's turn, or for the store. The entry is committed: the next drain finds it.
        clear.delete(peer)
        return { outcome: 'unreachable' }
      }
    },

    async flush({ peer, signal } = {}) {
      let left = 0
      for (const each of peer === undefined ? await store.loadQueuedPeers(owner) : [peer]) {
        if (signal?.aborted === true) break
        const results = new Map<string, OutboxResult>()
        await turns.run(each, () => drain(each, results))
        for (const { outcome } of results.values()) if (outcome !== 'unreachable') left += 1
      }
      return left
    },

    async expire() {
      const { expired, forgotten } = await store.expire(owner, { now: clock.now(), limit: BATCH })
      waiting = Math.max(0, waiting - expired.length)
      for (const { id, peer } of expired) notify({ type: 'message.expired', peer, id })
      return expired.length + forgotten
    },

    async full() {
      if (waiting < OUTBOX_MAX) return undefined
      // Another process on the same owner may have sent what was counted here.
      waiting = (await store.countWaiting(owner)).queued
      return waiting < OUTBOX_MAX ? undefined : { waiting, limit: OUTBOX_MAX }
    },
    queued: () => {
      waiting += 1
    }
  }
}
