import { type Clock, days, isSuiteError } from '@enablement/core'
import { joinBytes, labelBytes } from '../encoding/byte-writer.ts'
import { copyBytes } from '../encoding/copy-bytes.ts'
import type { IdentityKeys } from '../identity/identity.ts'
import { MessagingError } from '../messaging-error.ts'
import type { Observe } from '../messaging-event.ts'
import { type BundleFault, findBundleFault, type PrekeyBundle } from '../prekey/prekey-bundle.ts'
import type { PrekeyDirectory } from '../prekey/prekey-directory.ts'
import { PLAINTEXT_MAX_BYTES } from '../session/envelope.ts'
import { type Ends, initiateSession, sealForPeer } from '../session/outgoing.ts'
import type { PeerRecord } from '../session/peer-record.ts'
import type { PeerSessions, Turn } from '../session/peer-sessions.ts'
import type { MessageStore, OutboxEntry } from '../store/message-store.ts'
import type { Introduction } from './introduction.ts'
import type { Outbox, OutboxResult } from './outbox.ts'

/** Why nothing was sent, or, for the last two, why a message that was sent will not arrive. */
export type SendRefusal =
  | { readonly reason: 'too-large'; readonly bytes: number; readonly limitBytes: number }
  | { readonly reason: 'own-address' }
  /** The directory has nothing for the address. */
  | { readonly reason: 'unknown-peer' }
  /** The directory handed out a bundle that does not verify. */
  | { readonly reason: 'invalid-bundle'; readonly fault: BundleFault | 'small-order-key' }
  | { readonly reason: 'untrusted'; readonly fingerprint: string }
  | { readonly reason: 'outbox-full'; readonly waiting: number; readonly limit: number }
  /** The key was used for another peer or other bytes. */
  | { readonly reason: 'idempotency-key-reused' }
  /** The recipient's messenger, or something that speaks for it, will not take the message. */
  | { readonly reason: 'rejected-by-peer'; readonly id: string }
  /** It waited longer than 30 days. */
  | { readonly reason: 'expired'; readonly id: string }

/** What became of a message. */
export type Sent =
  /** The recipient's messenger has committed it and will hand it over until it is acknowledged. */
  | ({ readonly outcome: 'delivered'; readonly id: string } & SessionNews)
  /** It is in the outbox, and `flush` or the outbox duty sends the same bytes until it expires: epoch milliseconds. */
  | ({ readonly outcome: 'queued'; readonly queueId: string; readonly expiresAt: number } & SessionNews)
  | ({ readonly outcome: 'refused' } & SendRefusal)

/** Present when this message started a session. */
export interface SessionNews {
  readonly initiated?: {
    /** False: the directory had none, so only the recipient's memory of base keys protects this message from replay. */
    readonly oneTimePrekey: boolean
  }
}

/** How long a message waits for its recipient, MS-4. */
const QUEUE_TTL_MS = days(30)

const DIGEST_LABEL = labelBytes('send v1\0')
const text = new TextEncoder()

/** What a turn decided about a message to send. */
type Decision =
  | { readonly kind: 'refused'; readonly refusal: SendRefusal }
  | { readonly kind: 'repeated'; readonly entry: OutboxEntry }
  | {
      readonly kind: 'committed'
      readonly result: Promise<OutboxResult>
      readonly entry: OutboxEntry
      readonly news: SessionNews
    }

/**
 * Sends: seal on a copy, commit session and outbox entry as one change, and only then let the envelope leave. Losing a
 * message number to a crash is harmless; using one twice is not.
 */
export function createDispatch(options: {
  readonly keys: IdentityKeys
  readonly ends: Omit<Ends, 'peer'>
  readonly store: MessageStore
  readonly sessions: PeerSessions
  readonly directory: PrekeyDirectory
  readonly outbox: Outbox
  readonly introduction: Introduction
  readonly clock: Clock
  readonly notify: Observe
}): (
  peer: string,
  bytes: Uint8Array,
  options: { readonly idempotencyKey?: string | undefined; readonly signal?: AbortSignal | undefined }
) => Promise<Sent> {
  const { keys, ends, store, sessions, directory, outbox, introduction, clock, notify } = options
  const owner = ends.address
  const { crypto } = keys

  const claim = async (peer: string): Promise<PrekeyBundle | undefined> => {
    try {
      return await directory.claim(peer)
    } catch (cause) {
      throw directoryUnavailable(peer, 'claim', cause)
    }
  }

  /** A record with a fresh session, or the reason why there can be none. */
  const initiate = async (
    peer: string
  ): Promise<{ readonly record: PeerRecord; readonly oneTimePrekey: boolean } | SendRefusal> => {
    const bundle = await claim(peer)
    if (bundle === undefined) return { reason: 'unknown-peer' }
    const fault = await findBundleFault(bundle, crypto)
    if (fault !== undefined) return { reason: 'invalid-bundle', fault }
    const { identity } = bundle
    if (!(await introduction.trusts(peer, identity, 'sending', undefined))) {
      return { reason: 'untrusted', fingerprint: introduction.fingerprint(identity) }
    }
    try {
      const session = await initiateSession(keys, { ...ends, peer }, bundle)
      return { record: { identity, sessions: [session] }, oneTimePrekey: bundle.oneTimePrekey !== undefined }
    } catch (error) {
      if (isSuiteError(error, 'INVALID_KEY')) return { reason: 'invalid-bundle', fault: 'small-order-key' }
      throw error
    }
  }

  const decide = async (
    known: PeerRecord | undefined,
    attempt: number,
    message: { readonly peer: string; readonly plaintext: Uint8Array } & Pick<OutboxEntry, 'idempotencyKey' | 'digest'>
  ): Promise<Turn<Decision>> => {
    const { peer, plaintext, idempotencyKey, digest } = message
    const full = await outbox.full()
    // With a session at hand a repetition shows as a conflict; without one it must not cost the peer a prekey, and when
    // there is no room it must not be refused: it may be the very message that waits.
    if (idempotencyKey !== undefined && (known === undefined || attempt > 0 || full !== undefined)) {
      const entry = await store.loadSent(owner, idempotencyKey)
      if (entry !== undefined) return { answer: { kind: 'repeated', entry } }
    }
    if (full !== undefined) return { answer: { kind: 'refused', refusal: { reason: 'outbox-full', ...full } } }
    let record = known
    let news: SessionNews = {}
    if (record === undefined) {
      const initiated = await initiate(peer)
      if ('reason' in initiated) return { answer: { kind: 'refused', refusal: initiated } }
      record = initiated.record
      news = { initiated: { oneTimePrekey: initiated.oneTimePrekey } }
    }
    const sealed = await sealForPeer(keys, ends.identity, record, plaintext)
    const queuedAt = clock.now()
    const entry: OutboxEntry = {
      id: sealed.id,
      peer,
      idempotencyKey,
      digest,
      envelope: sealed.envelope,
      status: 'queued',
      queuedAt,
      expiresAt: queuedAt + QUEUE_TTL_MS
    }
    const departure = Promise.withResolvers<OutboxResult>()
    return {
      answer: { kind: 'committed', entry, news, result: departure.promise },
      change: { record: sealed.record, alongside: { outbox: entry } },
      committed() {
        outbox.queued()
        if (news.initiated !== undefined) {
          introduction.established(peer, sealed.record.identity, 'initiator', news.initiated.oneTimePrekey)
        }
        // In line behind the peer's earlier messages, but not within its turn: its answers need that turn.
        departure.resolve(outbox.deliver(entry))
      }
    }
  }

  return async (peer, bytes, { idempotencyKey, signal }) => {
    if (peer === owner) return refused({ reason: 'own-address' })
    if (bytes.length > PLAINTEXT_MAX_BYTES) {
      return refused({ reason: 'too-large', bytes: bytes.length, limitBytes: PLAINTEXT_MAX_BYTES })
    }
    // The caller may use its buffer again before this message's turn comes.
    const plaintext = copyBytes(bytes)
    const digest = idempotencyKey === undefined ? undefined : digestOf(keys, peer, plaintext)
    const decision = await sessions.turn(
      peer,
      (record, attempt) => decide(record, attempt, { peer, plaintext, idempotencyKey, digest }),
      { signal }
    )
    if (decision.kind === 'refused') return refused(decision.refusal)
    if (decision.kind === 'committed') {
      const sent = sentOf(decision.entry, await decision.result, decision.news)
      if (sent.outcome === 'queued') {
        notify({ type: 'message.queued', peer, id: decision.entry.id, expiresAt: decision.entry.expiresAt })
      }
      return sent
    }
    const { entry } = decision
    if (entry.digest === undefined || digest === undefined || !crypto.equal(entry.digest, digest)) {
      return refused({ reason: 'idempotency-key-reused' })
    }
    return sentOf(entry, entry.status === 'queued' ? await outbox.deliver(entry) : resultOf(entry.status), {})
  }
}

/** The fault of a directory that did not answer. */
export function directoryUnavailable(
  address: string,
  operation: string,
  cause: unknown
): MessagingError<'DIRECTORY_UNAVAILABLE'> {
  return new MessagingError(
    'DIRECTORY_UNAVAILABLE',
    `the prekey directory failed to ${operation} for ${address}`,
    { address, operation },
    { cause }
  )
}

/** Keyed, so that the outbox is no oracle for guesses at plaintexts. */
function digestOf({ crypto, digestKey }: IdentityKeys, peer: string, plaintext: Uint8Array): Uint8Array {
  return crypto.hmac(digestKey, joinBytes(DIGEST_LABEL, text.encode(peer), Uint8Array.of(0), plaintext))
}

function refused(refusal: SendRefusal): Sent {
  return { outcome: 'refused', ...refusal }
}

function resultOf(status: Exclude<OutboxEntry['status'], 'queued'>): OutboxResult {
  return status === 'rejected' ? { outcome: 'rejected', reason: 'rejected before' } : { outcome: status }
}

function sentOf(entry: OutboxEntry, result: OutboxResult, news: SessionNews): Sent {
  switch (result.outcome) {
    case 'delivered':
      return { outcome: 'delivered', id: entry.id, ...news }
    case 'unreachable':
      return { outcome: 'queued', queueId: entry.id, expiresAt: entry.expiresAt, ...news }
    case 'rejected':
      return refused({ reason: 'rejected-by-peer', id: entry.id })
    case 'expired':
      return refused({ reason: 'expired', id: entry.id })
  }
}
