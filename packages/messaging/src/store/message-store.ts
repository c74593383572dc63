/** A record and the version it stands at: 1 after its first commit, and one more with each. */
export interface VersionedRecord {
  readonly version: number
  readonly record: Uint8Array
}

/** `signed` prekeys are published one at a time and kept for late messages; `one-time` ones are used once. */
export type PrekeyKind = 'signed' | 'one-time'

/** A private prekey. */
export interface PrekeyRecord {
  readonly kind: PrekeyKind
  readonly id: number
  /** The 32 secret bytes. */
  readonly secret: Uint8Array
  /** Epoch milliseconds. */
  readonly createdAt: number
  /**
   * Until when it was with the directory, as far as is known, for signed prekeys; their creation for the others. Epoch
   * milliseconds.
   */
  readonly publishedAt: number
}

/** A prekey without its secret. */
export type PrekeyListing = Omit<PrekeyRecord, 'secret'>

/** Where an owner's prekeys stand. */
export interface PrekeyStock {
  /** 0 before the first commit. */
  readonly version: number
  /** The number of the next prekey of either kind. Never goes back. */
  readonly nextId: number
  /** Newest first. */
  readonly signed: readonly PrekeyListing[]
  /** How many private one-time prekeys are kept. */
  readonly oneTimeCount: number
}

/** What became of a message that was sent. */
export type OutboxStatus = 'queued' | 'delivered' | 'rejected' | 'expired'

/** A message sealed and on its way, or a memory of one, so that the same idempotency key does not send it again. */
export interface OutboxEntry {
  readonly id: string
  readonly peer: string
  readonly idempotencyKey: string | undefined
  /** Keyed digest of peer and plaintext: tells a repetition from a reuse of the key. */
  readonly digest: Uint8Array | undefined
  /** The exact bytes; empty once they are not needed any more. */
  readonly envelope: Uint8Array
  readonly status: OutboxStatus
  /** Epoch milliseconds. */
  readonly queuedAt: number
  readonly expiresAt: number
}

/** A message opened and not yet acknowledged by the application. */
export interface InboxEntry {
  readonly id: string
  readonly peer: string
  readonly plaintext: Uint8Array
  /** Epoch milliseconds. */
  readonly receivedAt: number
}

/** What a unit of work changes: all of it or nothing. */
export interface StoreChange {
  /** Takes effect when the record stands at `expectedVersion` (0: there is none), and then stands one higher. */
  readonly session?: { readonly peer: string; readonly record: Uint8Array; readonly expectedVersion: number }
  /** Takes effect when no other entry of the owner has its id or its idempotency key. */
  readonly outbox?: OutboxEntry
  /** Takes effect when no other entry of the owner has its id. */
  readonly inbox?: InboxEntry
  /** Takes effect when the prekey is there. */
  readonly usedOneTimePrekeyId?: number
  /** Takes effect when the base key has not been used with that signed prekey. */
  readonly usedBaseKey?: { readonly signedPrekeyId: number; readonly baseKey: Uint8Array }
  /** Takes effect when the stock stands at `expectedVersion`. */
  readonly prekeys?: {
    readonly expectedVersion: number
    readonly nextId: number
    readonly added: readonly PrekeyRecord[]
    /** The signed prekey that was with the directory until `at`, and may stay there. */
    readonly republished?: { readonly id: number; readonly at: number }
    /** Signed prekeys to forget, each with its base keys. */
    readonly forgottenSignedIds: readonly number[]
    /** One-time prekeys numbered below this are forgotten. */
    readonly forgetOneTimeBelow: number
  }
}

/** Whether a change took effect. In a conflict nothing did: something it relies on has changed since it was read. */
export type Committed = { readonly outcome: 'committed' } | { readonly outcome: 'conflict' }

/** What a store can promise. */
export interface MessageStoreSupports {
  /** What a committed change survives. */
  readonly durable: 'power-loss' | 'process' | 'none'
  /** Whether records are sealed: whether reading the store's files tells anything but addresses, sizes and times. */
  readonly sealedAtRest: boolean
}

/**
 * Where messengers keep what must not be lost: sessions, private prekeys, the outbox and the inbox. Every method names
 * the owner, the messenger's own address; owners share nothing, and several processes may serve one owner.
 *
 * Bytes that go in are not kept by reference, and those that come out belong to the caller. A method that cannot answer
 * throws; after a `commit` that throws, the change may or may not have taken effect.
 */
export interface MessageStore {
  readonly supports: MessageStoreSupports
  loadSession(owner: string, peer: string): Promise<VersionedRecord | undefined>
  loadPrekey(owner: string, kind: PrekeyKind, id: number): Promise<PrekeyRecord | undefined>
  loadPrekeyStock(owner: string): Promise<PrekeyStock>
  /** Whether the base key was used with the signed prekey, and how many base keys were. */
  loadBaseKeys(
    owner: string,
    signedPrekeyId: number,
    baseKey: Uint8Array
  ): Promise<{ readonly used: boolean; readonly count: number }>
  /** Applies a change: durable, as `supports` says, when it resolves to `committed`. */
  commit(owner: string, change: StoreChange): Promise<Committed>

  loadSent(owner: string, idempotencyKey: string): Promise<OutboxEntry | undefined>
  /** The peers with messages that are queued. */
  loadQueuedPeers(owner: string): Promise<readonly string[]>
  /** A peer's queued messages, in the order of their commits. */
  loadQueued(owner: string, peer: string, options: { readonly limit: number }): Promise<readonly OutboxEntry[]>
  /** Ends a queued message and forgets its envelope. False when it is not queued. */
  settle(owner: string, id: string, status: Exclude<OutboxStatus, 'queued'>): Promise<boolean>
  /** Ends queued messages that are due, then forgets ended ones that are due; at most `limit` of each. */
  expire(owner: string, options: { readonly now: number; readonly limit: number }): Promise<Expired>

  /** The peers with messages that were not acknowledged. */
  loadWaitingPeers(owner: string): Promise<readonly string[]>
  /** A peer's messages that were not acknowledged, in the order of their commits. */
  loadUnacknowledged(owner: string, peer: string, options: { readonly limit: number }): Promise<readonly InboxEntry[]>
  /** Forgets a message. False when it is not there, having been acknowledged before. */
  acknowledge(owner: string, id: string): Promise<boolean>
  /** How many messages wait either way. */
  countWaiting(owner: string): Promise<{ readonly queued: number; readonly unacknowledged: number }>
}

/** What `expire` did. */
export interface Expired {
  /** Messages that ran out of time undelivered, without their envelopes. */
  readonly expired: readonly { readonly id: string; readonly peer: string }[]
  /** How many ended messages were forgotten, and with them their idempotency keys. */
  readonly forgotten: number
}
