import type { Clock } from '@enablement/core'
import type { AgreementKey } from '../crypto/crypto-provider.ts'
import { wipe } from '../crypto/wipe.ts'
import { copyBytes } from '../encoding/copy-bytes.ts'
import { findNameFault } from '../identity/address.ts'
import type { IdentityKeys } from '../identity/identity.ts'
import { sameIdentity } from '../identity/public-identity.ts'
import type { Observe, ReceiveRefusal } from '../messaging-event.ts'
import { type Envelope, parseEnvelope } from '../session/envelope.ts'
import {
  acceptSession,
  findSession,
  type OpenedInSession,
  openInSession,
  withAccepted,
  withOpened
} from '../session/incoming.ts'
import { messageId } from '../session/message-id.ts'
import type { Ends } from '../session/outgoing.ts'
import type { PeerRecord } from '../session/peer-record.ts'
import type { PeerSessions, Turn } from '../session/peer-sessions.ts'
import type { InboxEntry, MessageStore, StoreChange } from '../store/message-store.ts'
import type { Inbox } from './inbox.ts'
import type { Introduction } from './introduction.ts'
import type { Delivery, DeliveryReply } from './transport.ts'

/**
 * Sessions that may be opened with one signed prekey and no one-time prekey. Each leaves its base key behind, so that
 * its first message cannot be replayed for as long as the signed prekey is kept (X3DH §4.2).
 */
const BASE_KEYS_MAX = 10_000

/** What a delivery came to. `too-far-ahead` names the numbers. */
type Verdict =
  | { readonly outcome: 'accepted' | 'duplicate' }
  | {
      readonly outcome: 'refused'
      readonly reason: ReceiveRefusal
      readonly expected?: number
      readonly received?: number
    }

/**
 * Takes deliveries: parse, classify, open on a copy, and only then commit session, used prekey and inbox entry as one
 * change. The transport hears `accepted` after that commit. Everything else leaves all state as it was.
 */
export function createReception(options: {
  readonly keys: IdentityKeys
  readonly ends: Omit<Ends, 'peer'>
  readonly store: MessageStore
  readonly sessions: PeerSessions
  readonly inbox: Inbox
  readonly introduction: Introduction
  readonly clock: Clock
  readonly notify: Observe
}): (delivery: Delivery) => Promise<DeliveryReply> {
  const { keys, store, sessions, inbox, introduction, clock, notify } = options
  const owner = options.ends.address
  const { crypto } = keys

  /** The change that a message makes when it has opened. */
  const take = (
    record: PeerRecord,
    opened: OpenedInSession,
    peer: string,
    more: Pick<StoreChange, 'usedBaseKey' | 'usedOneTimePrekeyId'>,
    onCommitted?: () => void
  ): Turn<Verdict> => {
    const id = messageId(opened.state.sessionId, opened.message.header, crypto)
    const entry: InboxEntry = { id, peer, plaintext: opened.plaintext, receivedAt: clock.now() }
    return {
      answer: { outcome: 'accepted' },
      change: { record, alongside: { ...more, inbox: entry } },
      committed() {
        onCommitted?.()
        inbox.arrived(entry)
      }
    }
  }

  const openKnown = async (
    record: PeerRecord,
    envelope: Envelope,
    peer: string
  ): Promise<Turn<Verdict> | undefined> => {
    const session = findSession(record, envelope)
    if (session === undefined) return undefined
    const opened = await openInSession(keys, session, envelope, clock.now())
    if (opened.outcome !== 'opened') return { answer: refusalOf(opened) }
    return take(withOpened(record, opened, session), opened, peer, {})
  }

  const loadKey = async (kind: 'signed' | 'one-time', id: number): Promise<AgreementKey | undefined> => {
    const prekey = await store.loadPrekey(owner, kind, id)
    if (prekey === undefined) return undefined
    const key = await crypto.importAgreementKey(prekey.secret)
    wipe(prekey.secret)
    return key
  }

  const openNew = async (
    record: PeerRecord | undefined,
    envelope: Envelope & { readonly opening: NonNullable<Envelope['opening']> },
    peer: string
  ): Promise<Turn<Verdict>> => {
    const { identity, baseKey, signedPrekeyId, oneTimePrekeyId } = envelope.opening
    const signed = await loadKey('signed', signedPrekeyId)
    const oneTime = oneTimePrekeyId === undefined ? undefined : await loadKey('one-time', oneTimePrekeyId)
    if (signed === undefined || (oneTimePrekeyId !== undefined && oneTime === undefined))
      return refuse('unknown-prekey')
    if (oneTime === undefined) {
      const { used, count } = await store.loadBaseKeys(owner, signedPrekeyId, baseKey)
      if (used) return { answer: { outcome: 'duplicate' } }
      if (count >= BASE_KEYS_MAX) return refuse('base-keys-exhausted')
    }
    const opened = await acceptSession(keys, { ...options.ends, peer }, envelope, { signed, oneTime }, clock.now())
    if (opened.outcome !== 'opened') return { answer: refusalOf(opened) }
    if (record === undefined || !sameIdentity(record.identity, identity, crypto)) {
      if (!(await introduction.trusts(peer, identity, 'receiving', record?.identity))) return refuse('untrusted')
    }
    return take(
      withAccepted(record, opened.session, identity, crypto),
      opened,
      peer,
      oneTimePrekeyId === undefined
        ? { usedBaseKey: { signedPrekeyId, baseKey } }
        : { usedOneTimePrekeyId: oneTimePrekeyId },
      () => introduction.established(peer, identity, 'responder', oneTimePrekeyId !== undefined)
    )
  }

  const decide = async (record: PeerRecord | undefined, envelope: Envelope, peer: string): Promise<Turn<Verdict>> => {
    const known = record === undefined ? undefined : await openKnown(record, envelope, peer)
    if (known !== undefined) return known
    const { opening } = envelope
    return opening === undefined ? refuse('unknown-session') : await openNew(record, { ...envelope, opening }, peer)
  }

  return async ({ from, to, envelope: bytes }) => {
    const isAddressed = to === owner && findNameFault(from) === undefined
    const envelope = isAddressed ? parseEnvelope(copyBytes(bytes)) : undefined
    if (envelope !== undefined && (await inbox.isFull())) return { outcome: 'deferred', reason: 'inbox-full' }
    const verdict: Verdict =
      envelope === undefined
        ? { outcome: 'refused', reason: 'malformed' }
        : await sessions.turn(from, (record) => decide(record, envelope, from))
    if (verdict.outcome === 'refused') {
      const { outcome: _, ...refusal } = verdict
      notify({ type: 'message.refused', claimedPeer: from, ...refusal })
      return { outcome: 'rejected', reason: verdict.reason }
    }
    if (verdict.outcome === 'duplicate') notify({ type: 'duplicate.suppressed', claimedPeer: from })
    return { outcome: 'accepted' }
  }
}

function refuse(reason: ReceiveRefusal): Turn<Verdict> {
  return { answer: { outcome: 'refused', reason } }
}

function refusalOf(
  opened: Exclude<Awaited<ReturnType<typeof openInSession>>, { readonly outcome: 'opened' }>
): Verdict {
  switch (opened.outcome) {
    case 'already-processed':
      return { outcome: 'duplicate' }
    case 'too-far-ahead':
      return { outcome: 'refused', reason: 'too-far-ahead', expected: opened.expected, received: opened.received }
    case 'malformed':
    case 'not-authentic':
      return { outcome: 'refused', reason: opened.outcome }
  }
}
