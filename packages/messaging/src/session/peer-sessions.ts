import { createKeyedMutex, type Platform, sleep } from '@enablement/core'
import type { CryptoProvider } from '../crypto/crypto-provider.ts'
import { wipe } from '../crypto/wipe.ts'
import { MessagingError } from '../messaging-error.ts'
import type { Observe } from '../messaging-event.ts'
import type { MessageStore, StoreChange } from '../store/message-store.ts'
import { decodePeer, encodePeer, type PeerRecord, wipeReplacedSessions } from './peer-record.ts'

/** What a turn decided: an answer, and, when something changes, all that is to be committed at once. */
export interface Turn<Answer> {
  readonly answer: Answer
  readonly change?: { readonly record: PeerRecord; readonly alongside: Omit<StoreChange, 'session'> }
  /** Called after the commit and before the next turn of the peer, so that effects keep the order of commits. */
  readonly committed?: () => void
}

/** The sessions of one owner, changed one turn at a time per peer. */
export interface PeerSessions {
  /**
   * Runs `decide` on the peer's record when every earlier turn of that peer has ended, and commits what it returns.
   *
   * When another process has committed in between, the record is read again and `decide` runs again, so it must do
   * nothing that cannot be repeated. `attempt` counts from 0. Throws `STORE_CONTENDED` after `ATTEMPTS_MAX`, and
   * `STATE_ROLLED_BACK` when the store holds an older record than was seen before.
   */
  turn<Answer>(
    peer: string,
    decide: (record: PeerRecord | undefined, attempt: number) => Promise<Turn<Answer>>,
    options?: { readonly signal?: AbortSignal | undefined }
  ): Promise<Answer>
}

/** With the pauses between them, a dozen lost races in a row mean that something else is wrong. */
const ATTEMPTS_MAX = 12

/** The longest pause before another attempt: some turns of processes that need a few milliseconds each. */
const PAUSE_MAX_MS = 64

/**
 * Records kept decoded: importing a session's keys takes longer than sealing with them. The least recently used goes.
 */
const CACHED_PEERS_MAX = 1_024

interface Known {
  /** The version the record stands at; for a stale entry, the highest one seen. */
  readonly version: number
  readonly record: PeerRecord | undefined
  /** After a fault it is not known what the store holds: it is asked before the next turn. */
  readonly stale: boolean
}

const UNKNOWN: Known = { version: 0, record: undefined, stale: true }

export function createPeerSessions(options: {
  readonly owner: string
  readonly store: MessageStore
  readonly crypto: CryptoProvider
  readonly platform: Platform
  readonly notify: Observe
}): PeerSessions {
  const { owner, store, crypto, platform, notify } = options
  const mutex = createKeyedMutex()
  const cache = new Map<string, Known>()

  const remember = (peer: string, known: Known): void => {
    cache.delete(peer)
    cache.set(peer, known)
    if (cache.size <= CACHED_PEERS_MAX) return
    const [eldest] = cache.keys()
    if (eldest !== undefined) cache.delete(eldest)
  }

  /** Reads the record. One older than `seen` must not be sealed with: its message keys have been used. */
  const load = async (peer: string, seen: Known): Promise<Known> => {
    const stored = await store.loadSession(owner, peer)
    const version = stored?.version ?? 0
    if (version < seen.version) {
      throw new MessagingError(
        'STATE_ROLLED_BACK',
        `the session record of ${peer} stands at version ${version} and was seen at ${seen.version}`,
        { peer, seenVersion: seen.version, foundVersion: version }
      )
    }
    if (stored === undefined) return { ...UNKNOWN, stale: false }
    const record = await decodePeer(stored.record, crypto)
    wipe(stored.record)
    return { version, record, stale: false }
  }

  const commit = async (peer: string, known: Known, change: NonNullable<Turn<unknown>['change']>): Promise<boolean> => {
    const record = await encodePeer(change.record, crypto)
    const session = { peer, record, expectedVersion: known.version }
    const { outcome } = await store.commit(owner, { ...change.alongside, session })
    wipe(record)
    return outcome === 'committed'
  }

  const takeTurn = async <Answer>(
    peer: string,
    decide: (record: PeerRecord | undefined, attempt: number) => Promise<Turn<Answer>>
  ): Promise<Answer> => {
    const cached = cache.get(peer) ?? UNKNOWN
    let known = cached.stale ? await load(peer, cached) : cached
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt += 1) {
      const { answer, change, committed } = await decide(known.record, attempt)
      if (change === undefined) {
        if (known.record !== undefined) remember(peer, known)
        return answer
      }
      if (await commit(peer, known, change)) {
        remember(peer, { version: known.version + 1, record: change.record, stale: false })
        if (known.record !== undefined) wipeReplacedSessions(known.record, change.record)
        committed?.()
        return answer
      }
      const found = await load(peer, known)
      // The conflict may have been about what goes alongside, such as an idempotency key that was used before.
      if (found.version !== known.version) notify({ type: 'session.contended', peer, attempt: attempt + 1 })
      known = found
      if (attempt > 0) await pause(platform, attempt)
    }
    throw new MessagingError(
      'STORE_CONTENDED',
      `other processes changed the session record of ${peer} before each of ${ATTEMPTS_MAX} commits`,
      { record: `session ${peer}`, attempts: ATTEMPTS_MAX }
    )
  }

  return {
    turn: (peer, decide, { signal } = {}) =>
      mutex.run(
        peer,
        async () => {
          try {
            return await takeTurn(peer, decide)
          } catch (error) {
            const known = cache.get(peer)
            if (known !== undefined) cache.set(peer, { version: known.version, record: undefined, stale: true })
            throw error
          }
        },
        signal === undefined ? {} : { signal }
      )
  }
}

/** Two processes in step would lose to each other for ever: each waits a random time, longer after each loss. */
function pause({ clock, random }: Platform, attempt: number): Promise<void> {
  return sleep(clock, random.float() * Math.min(PAUSE_MAX_MS, 2 ** attempt))
}
