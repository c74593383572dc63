import { copyBytes } from '../encoding/copy-bytes.ts'
import { hexOf } from '../encoding/hex.ts'
import type {
  InboxEntry,
  MessageStore,
  OutboxEntry,
  PrekeyRecord,
  StoreChange,
  VersionedRecord
} from '../store/message-store.ts'

/** One owner's things. Maps keep the order of insertion, which is the order of commits. */
interface Shelf {
  readonly sessions: Map<string, VersionedRecord>
  readonly signed: Map<number, PrekeyRecord>
  readonly oneTime: Map<number, PrekeyRecord>
  readonly baseKeys: Map<number, Set<string>>
  readonly outbox: Map<string, OutboxEntry>
  readonly idsByKey: Map<string, string>
  readonly inbox: Map<string, InboxEntry>
  stockVersion: number
  nextId: number
}

/**
 * Keeps everything in memory, for tests and demonstrations: what it holds ends with the process. A change takes effect
 * within one synchronous step. The model that durable stores are held against.
 */
export function memoryMessageStore(): MessageStore {
  const shelves = new Map<string, Shelf>()

  const shelfOf = (owner: string): Shelf => {
    const shelf = shelves.get(owner) ?? emptyShelf()
    shelves.set(owner, shelf)
    return shelf
  }

  return {
    supports: { durable: 'none', sealedAtRest: false },

    async loadSession(owner, peer) {
      const found = shelfOf(owner).sessions.get(peer)
      return found === undefined ? undefined : { version: found.version, record: copyBytes(found.record) }
    },

    async loadPrekey(owner, kind, id) {
      const shelf = shelfOf(owner)
      const found = (kind === 'signed' ? shelf.signed : shelf.oneTime).get(id)
      return found === undefined ? undefined : { ...found, secret: copyBytes(found.secret) }
    },

    async loadPrekeyStock(owner) {
      const { stockVersion, nextId, signed, oneTime } = shelfOf(owner)
      const listings = [...signed.values()].map(({ kind, id, createdAt, publishedAt }) => ({
        kind,
        id,
        createdAt,
        publishedAt
      }))
      listings.sort((left, right) => right.id - left.id)
      return { version: stockVersion, nextId, signed: listings, oneTimeCount: oneTime.size }
    },

    async loadBaseKeys(owner, signedPrekeyId, baseKey) {
      const used = shelfOf(owner).baseKeys.get(signedPrekeyId)
      return { used: used?.has(hexOf(baseKey)) ?? false, count: used?.size ?? 0 }
    },

    async commit(owner, change) {
      const shelf = shelfOf(owner)
      if (!fits(shelf, change)) return { outcome: 'conflict' }
      apply(shelf, change)
      return { outcome: 'committed' }
    },

    async loadSent(owner, idempotencyKey) {
      const { outbox, idsByKey } = shelfOf(owner)
      const found = outbox.get(idsByKey.get(idempotencyKey) ?? '')
      return found === undefined ? undefined : copyOf(found)
    },

    async loadQueuedPeers(owner) {
      const queued = [...shelfOf(owner).outbox.values()].filter(({ status }) => status === 'queued')
      return [...new Set(queued.map(({ peer }) => peer))]
    },

    async loadQueued(owner, peer, { limit }) {
      const found: OutboxEntry[] = []
      for (const entry of shelfOf(owner).outbox.values()) {
        if (found.length === limit) break
        if (entry.status === 'queued' && entry.peer === peer) found.push(copyOf(entry))
      }
      return found
    },

    async settle(owner, id, status) {
      const { outbox } = shelfOf(owner)
      const entry = outbox.get(id)
      if (entry?.status !== 'queued') return false
      // An entry that no repetition can name has nothing left to be remembered for.
      if (entry.idempotencyKey === undefined) outbox.delete(id)
      else outbox.set(id, { ...entry, status, envelope: new Uint8Array(0) })
      return true
    },

    async expire(owner, { now, limit }) {
      const { outbox, idsByKey } = shelfOf(owner)
      const due = [...outbox.values()].filter((entry) => entry.expiresAt <= now)
      const expired = due.filter(({ status }) => status === 'queued').slice(0, limit)
      const ended = due.filter(({ status }) => status !== 'queued').slice(0, limit)
      for (const { id, idempotencyKey } of [...expired, ...ended]) {
        outbox.delete(id)
        if (idempotencyKey !== undefined) idsByKey.delete(idempotencyKey)
      }
      return { expired: expired.map(({ id, peer }) => ({ id, peer })), forgotten: ended.length }
    },

    async loadWaitingPeers(owner) {
      return [...new Set([...shelfOf(owner).inbox.values()].map(({ peer }) => peer))]
    },

    async loadUnacknowledged(owner, peer, { limit }) {
      const found: InboxEntry[] = []
      for (const entry of shelfOf(owner).inbox.values()) {
        if (found.length === limit) break
        if (entry.peer === peer) found.push({ ...entry, plaintext: copyBytes(entry.plaintext) })
      }
      return found
    },

    async acknowledge(owner, id) {
      return shelfOf(owner).inbox.delete(id)
    },

    async countWaiting(owner) {
      const { outbox, inbox } = shelfOf(owner)
      let queued = 0
      for (const { status } of outbox.values()) if (status === 'queued') queued += 1
      return { queued, unacknowledged: inbox.size }
    }
  }
}

function emptyShelf(): Shelf {
  return {
    sessions: new Map(),
    signed: new Map(),
    oneTime: new Map(),
    baseKeys: new Map(),
    outbox: new Map(),
    idsByKey: new Map(),
    inbox: new Map(),
    stockVersion: 0,
    nextId: 0
  }
}

/** Whether everything the change relies on still holds. */
function fits(shelf: Shelf, change: StoreChange): boolean {
  const { session, outbox, inbox, usedOneTimePrekeyId, usedBaseKey, prekeys } = change
  if (session !== undefined && (shelf.sessions.get(session.peer)?.version ?? 0) !== session.expectedVersion)
    return false
  if (outbox !== undefined && shelf.outbox.has(outbox.id)) return false
  if (outbox?.idempotencyKey !== undefined && shelf.idsByKey.has(outbox.idempotencyKey)) return false
  if (inbox !== undefined && shelf.inbox.has(inbox.id)) return false
  if (usedOneTimePrekeyId !== undefined && !shelf.oneTime.has(usedOneTimePrekeyId)) return false
  if (usedBaseKey !== undefined) {
    const used = shelf.baseKeys.get(usedBaseKey.signedPrekeyId)
    if (used?.has(hexOf(usedBaseKey.baseKey)) === true) return false
  }
  return prekeys === undefined || prekeys.expectedVersion === shelf.stockVersion
}

function apply(shelf: Shelf, change: StoreChange): void {
  const { session, outbox, inbox, usedOneTimePrekeyId, usedBaseKey } = change
  if (session !== undefined) {
    shelf.sessions.get(session.peer)?.record.fill(0)
    shelf.sessions.set(session.peer, { version: session.expectedVersion + 1, record: copyBytes(session.record) })
  }
  if (outbox !== undefined) {
    shelf.outbox.set(outbox.id, copyOf(outbox))
    if (outbox.idempotencyKey !== undefined) shelf.idsByKey.set(outbox.idempotencyKey, outbox.id)
  }
  if (inbox !== undefined) shelf.inbox.set(inbox.id, { ...inbox, plaintext: copyBytes(inbox.plaintext) })
  if (usedOneTimePrekeyId !== undefined) {
    shelf.oneTime.get(usedOneTimePrekeyId)?.secret.fill(0)
    shelf.oneTime.delete(usedOneTimePrekeyId)
  }
  if (usedBaseKey !== undefined) {
    const used = shelf.baseKeys.get(usedBaseKey.signedPrekeyId) ?? new Set()
    shelf.baseKeys.set(usedBaseKey.signedPrekeyId, used.add(hexOf(usedBaseKey.baseKey)))
  }
  if (change.prekeys !== undefined) applyPrekeys(shelf, change.prekeys)
}

function applyPrekeys(shelf: Shelf, prekeys: NonNullable<StoreChange['prekeys']>): void {
  const { expectedVersion, nextId, added, republished, forgottenSignedIds, forgetOneTimeBelow } = prekeys
  shelf.stockVersion = expectedVersion + 1
  shelf.nextId = nextId
  for (const prekey of added) {
    const shelved = prekey.kind === 'signed' ? shelf.signed : shelf.oneTime
    shelved.set(prekey.id, { ...prekey, secret: copyBytes(prekey.secret) })
  }
  const renewed = republished === undefined ? undefined : shelf.signed.get(republished.id)
  if (republished !== undefined && renewed !== undefined) {
    shelf.signed.set(republished.id, { ...renewed, publishedAt: republished.at })
  }
  for (const id of forgottenSignedIds) {
    shelf.signed.delete(id)
    shelf.baseKeys.delete(id)
  }
  for (const id of shelf.oneTime.keys()) if (id < forgetOneTimeBelow) shelf.oneTime.delete(id)
}

function copyOf(entry: OutboxEntry): OutboxEntry {
  return { ...entry, envelope: copyBytes(entry.envelope), digest: entry.digest && copyBytes(entry.digest) }
}
