import { type Platform, parseOptions, reporter, systemPlatform } from '@enablement/core'
import type { Duty } from '@enablement/core/schedule'
import { z } from 'zod'
import { createDispatch, directoryUnavailable, type Sent } from './delivery/dispatch.ts'
import { createInbox, type Receiver } from './delivery/inbox.ts'
import { createIntroduction } from './delivery/introduction.ts'
import { createOutbox } from './delivery/outbox.ts'
import { createReception } from './delivery/reception.ts'
import type { Transport } from './delivery/transport.ts'
import { findNameFault } from './identity/address.ts'
import { type Identity, identityKeys } from './identity/identity.ts'
import type { Trust } from './identity/trust.ts'
import { MessagingError } from './messaging-error.ts'
import type { MessagingEvent, Observe } from './messaging-event.ts'
import type { PrekeyDirectory } from './prekey/prekey-directory.ts'
import { preparePrekeys } from './prekey/prekey-stock.ts'
import { createPeerSessions } from './session/peer-sessions.ts'
import type { MessageStore } from './store/message-store.ts'

/** What a messenger is made of. */
export interface MessengerOptions {
  /** Such as `alice#1`: an agent and its device. 1 to 255 characters without NUL. It is part of every session. */
  readonly address: string
  readonly identity: Identity
  readonly store: MessageStore
  readonly directory: PrekeyDirectory
  readonly transport: Transport
  /** Asked once for each identity of a peer, before anything is sent to it or taken from it. */
  readonly trust: Trust
  readonly observe?: Observe
  readonly platform?: Platform
}

/** What `publishPrekeys` left with the directory. */
export interface PublishedPrekeys {
  readonly signedPrekeyId: number
  /** How many one-time prekeys were added. */
  readonly oneTimePrekeys: number
}

/** Private sessions of one agent with any number of peers. */
export interface Messenger extends AsyncDisposable {
  readonly address: string
  /**
   * Fills the directory up to 100 one-time prekeys and renews the signed one when it is 7 days old. The private halves
   * are committed first. Throws `DIRECTORY_UNAVAILABLE`; calling it again is then safe.
   */
  publishPrekeys(): Promise<PublishedPrekeys>
  /**
   * Sends up to 64 KiB, sealed. The advanced session and the exact envelope are committed before it leaves, and a retry
   * sends the same bytes; with an `idempotencyKey` (1 to 255 characters) so does calling `send` again, for as long as
   * the store remembers the message: 30 days.
   *
   * Messages to one peer leave in the order of their calls. `signal` gives up waiting for the peer's turn, and throws
   * its reason; once the turn has come it has no effect.
   *
   * Throws `INVALID_ARGUMENT`, `DIRECTORY_UNAVAILABLE`, `TRUST_UNDECIDED`, `STORE_CONTENDED`, `STATE_ROLLED_BACK`,
   * `MESSENGER_CLOSED`, `OVERLOADED` (core) when 1,024 calls wait for the peer's turn, and what the store throws: then
   * the message may or may not be in the outbox, and the same call with the same key finds out.
   */
  send(
    peer: string,
    bytes: Uint8Array,
    options?: { readonly idempotencyKey?: string; readonly signal?: AbortSignal }
  ): Promise<Sent>
  /**
   * Hands over what arrives, one message at a time and in order per sender, up to `concurrency` senders at once (8),
   * and what was left unacknowledged before. A message that is not acknowledged is handed over again after
   * `redeliverAfterMs` (30,000) and at the next start; those behind it from the same sender wait.
   *
   * Messages that arrive without a receiver are kept. The function that is given back ends the handing over; one
   * receiver at a time. Throws `INVALID_OPTIONS` (core), `INVALID_ARGUMENT` and `MESSENGER_CLOSED`.
   */
  receive(
    receiver: Receiver,
    options?: { readonly concurrency?: number; readonly redeliverAfterMs?: number }
  ): () => void
  /** Tries now what waits in the outbox, for one peer or for all. Gives how many messages left it. */
  flush(peer?: string): Promise<number>
  /** For `startWorker`: `messaging.outbox:<address>` sends what waits, ends what is too old and forgets what ended. */
  readonly duties: readonly Duty[]
  /**
   * Stops listening and handing over, and waits for sends, deliveries and duties that are under way; not for the
   * application's own function, whose `ack` still works. Store, directory and transport stay open.
   */
  close(): Promise<void>
}

const isObject = (value: unknown): boolean => typeof value === 'object' && value !== null
const isFunction = (value: unknown): boolean => typeof value === 'function'

const addressSchema = z.custom<string>().check(({ value, issues }) => {
  const message = findNameFault(value)
  if (message !== undefined) issues.push({ code: 'custom', input: value, message })
})

const optionsSchema: z.ZodType<MessengerOptions> = z.strictObject({
  address: addressSchema,
  identity: z.custom<Identity>(isObject, 'must be an identity'),
  store: z.custom<MessageStore>(isObject, 'must be a message store'),
  directory: z.custom<PrekeyDirectory>(isObject, 'must be a prekey directory'),
  transport: z.custom<Transport>(isObject, 'must be a transport'),
  trust: z.custom<Trust>(isFunction, 'must be a function'),
  observe: z.custom<Observe>(isFunction, 'must be a function').exactOptional(),
  platform: z.custom<Platform>(isObject, 'must be a platform').exactOptional()
})

const receiveSchema = z.strictObject({
  concurrency: z.int().min(1).max(1_024).default(8),
  redeliverAfterMs: z.number().min(1).max(86_400_000).default(30_000)
})

/**
 * Opens a messenger and begins to listen: what arrives is opened and kept until `receive` is called.
 *
 * Throws `INVALID_OPTIONS` (core), `INVALID_ARGUMENT` for an identity of another copy of the package, and what the
 * store throws.
 */
export async function createMessenger(options: MessengerOptions): Promise<Messenger> {
  const parsed = parseOptions(optionsSchema, 'createMessenger', options)
  const { address, identity, store, directory, transport, trust, observe, platform = systemPlatform } = parsed
  const { clock } = platform
  const notify = reporter<MessagingEvent>(observe)
  const keys = identityKeys(identity)
  const ends = { address, identity: identity.publicIdentity }
  const waiting = await store.countWaiting(address)

  const sessions = createPeerSessions({ owner: address, store, crypto: keys.crypto, platform, notify })
  const introduction = createIntroduction({ trust, crypto: keys.crypto, notify })
  const inbox = createInbox({ owner: address, store, clock, notify, waiting: waiting.unacknowledged })
  const outbox = createOutbox({ owner: address, store, transport, clock, notify, waiting: waiting.queued })
  const dispatch = createDispatch({ keys, ends, store, sessions, directory, outbox, introduction, clock, notify })
  const reception = createReception({ keys, ends, store, sessions, inbox, introduction, clock, notify })

  const underWay = new Set<Promise<unknown>>()
  let isClosed = false
  let stopReceiving: (() => void) | undefined

  /** Counts work that `close` waits for, and refuses it once closed. */
  const track = async <T>(work: () => Promise<T>): Promise<T> => {
    if (isClosed) throw new MessagingError('MESSENGER_CLOSED', `the messenger of ${address} is closed`, { address })
    const running = work()
    underWay.add(running)
    try {
      return await running
    } finally {
      underWay.delete(running)
    }
  }

  const publishPrekeys = async (): Promise<PublishedPrekeys> => {
    const remaining = await orUnavailable(address, 'count', directory.remaining(address))
    const upload = await preparePrekeys(address, keys, identity.publicIdentity, store, { remaining, now: clock.now() })
    await orUnavailable(address, 'publish', directory.publish(address, upload))
    const published = { signedPrekeyId: upload.signedPrekey.id, oneTimePrekeys: upload.oneTimePrekeys.length }
    notify({ type: 'prekeys.published', ...published })
    return published
  }

  const stopListening = transport.listen(address, (delivery) => track(() => reception(delivery)))

  const close = async (): Promise<void> => {
    isClosed = true
    stopListening()
    stopReceiving?.()
    await Promise.allSettled(underWay)
  }

  return {
    address,
    publishPrekeys: () => track(publishPrekeys),

    send(peer, bytes, { idempotencyKey, signal } = {}) {
      return track(async () => {
        assertName(peer, 'peer')
        if (!(bytes instanceof Uint8Array)) throw invalidArgument('bytes', 'must be a Uint8Array')
        if (idempotencyKey !== undefined) assertName(idempotencyKey, 'options.idempotencyKey')
        return await dispatch(peer, bytes, { idempotencyKey, signal })
      })
    },

    receive(receiver, receiveOptions = {}) {
      if (isClosed) throw new MessagingError('MESSENGER_CLOSED', `the messenger of ${address} is closed`, { address })
      if (typeof receiver !== 'function') throw invalidArgument('receiver', 'must be a function')
      if (stopReceiving !== undefined) throw invalidArgument('receiver', 'another one is receiving: stop it first')
      const stopInbox = inbox.receive(receiver, parseOptions(receiveSchema, 'receive', receiveOptions))
      const stop = (): void => {
        if (stopReceiving === stop) stopReceiving = undefined
        stopInbox()
      }
      stopReceiving = stop
      return stop
    },

    flush: (peer) => track(() => outbox.flush({ peer })),

    duties: [
      {
        name: `messaging.outbox:${address}`,
        run: ({ signal }) =>
          track(async () => ({ handled: (await outbox.flush({ signal })) + (await outbox.expire()) }))
      }
    ],

    close,
    [Symbol.asyncDispose]: close
  }
}

async function orUnavailable<T>(address: string, operation: string, call: Promise<T>): Promise<T> {
  try {
    return await call
  } catch (cause) {
    throw directoryUnavailable(address, operation, cause)
  }
}

function assertName(value: unknown, path: string): asserts value is string {
  const fault = findNameFault(value)
  if (fault !== undefined) throw invalidArgument(path, fault)
}

function invalidArgument(path: string, reason: string): MessagingError<'INVALID_ARGUMENT'> {
  return new MessagingError('INVALID_ARGUMENT', `${path} ${reason}`, { path, reason })
}
