import { isSuiteError } from '@enablement/core'
import type { AgreementKey, CryptoProvider } from '../crypto/crypto-provider.ts'
import type { IdentityKeys } from '../identity/identity.ts'
import { type PublicIdentity, sameIdentity, verifyIdentity } from '../identity/public-identity.ts'
import { type Opened, open } from '../ratchet/ratchet.ts'
import { suiteOneProfile } from '../ratchet/ratchet-profile.ts'
import { responderState } from '../ratchet/ratchet-state.ts'
import { agreeAsResponder } from '../x3dh/key-agreement.ts'
import { transcriptId } from '../x3dh/transcript.ts'
import type { Envelope } from './envelope.ts'
import type { Ends } from './outgoing.ts'
import { type PeerRecord, withActive, withArchived, withIdentity, withReplaced } from './peer-record.ts'
import { SESSION_TAG_BYTES, type Session } from './session.ts'

/** A message that opened, and the session as it stands after it. */
export interface OpenedInSession extends Extract<Opened, { readonly outcome: 'opened' }> {
  readonly session: Session
}

/** Opens an envelope in a session that is already there. */
export async function openInSession(
  keys: IdentityKeys,
  session: Session,
  envelope: Envelope,
  now: number
): Promise<OpenedInSession | Exclude<Opened, { readonly outcome: 'opened' }>> {
  const { message, context } = envelope
  const opened = await open(session.ratchet, { message, context, now }, keys.crypto, suiteOneProfile)
  if (opened.outcome !== 'opened') return opened
  // The peer has answered, so it has the session: what follows need not introduce it again.
  return { ...opened, session: { ...session, opening: undefined, ratchet: opened.state } }
}

/** The session an envelope names, if it is among the peer's. */
export function findSession(record: PeerRecord | undefined, { tag }: Envelope): Session | undefined {
  return record?.sessions.find(({ ratchet }) => tag.every((byte, at) => byte === ratchet.sessionId[at]))
}

/** The private prekeys that an opening names. */
export interface NamedPrekeys {
  readonly signed: AgreementKey
  readonly oneTime: AgreementKey | undefined
}

/**
 * Answers an opening: X3DH §3.4, then the first message. The session exists only if that opens, so a forged opening
 * uses up no prekey.
 */
export async function acceptSession(
  keys: IdentityKeys,
  ends: Ends,
  envelope: Envelope & { readonly opening: NonNullable<Envelope['opening']> },
  prekeys: NamedPrekeys,
  now: number
): Promise<OpenedInSession | Exclude<Opened, { readonly outcome: 'opened' }>> {
  const { crypto } = keys
  const { identity, baseKey, signedPrekeyId, oneTimePrekeyId } = envelope.opening
  if (!(await verifyIdentity(identity, crypto))) return { outcome: 'not-authentic' }
  const sessionId = transcriptId(
    {
      initiator: identity,
      initiatorAddress: ends.peer,
      responder: ends.identity,
      responderAddress: ends.address,
      baseKey,
      signedPrekey: { id: signedPrekeyId, publicKey: prekeys.signed.publicKey },
      oneTimePrekey:
        oneTimePrekeyId === undefined || prekeys.oneTime === undefined
          ? undefined
          : { id: oneTimePrekeyId, publicKey: prekeys.oneTime.publicKey }
    },
    crypto
  )
  // Another sender, another recipient, another suite: the session would have another id.
  if (!crypto.equal(sessionId.subarray(0, SESSION_TAG_BYTES), envelope.tag)) return { outcome: 'not-authentic' }
  try {
    const initiator = { agreementKey: identity.agreementKey, baseKey }
    const secret = await agreeAsResponder(keys, prekeys, initiator, sessionId)
    const ratchet = responderState(sessionId, secret, prekeys.signed)
    return await openInSession(keys, { opening: undefined, superseded: false, ratchet }, envelope, now)
  } catch (error) {
    if (isSuiteError(error, 'INVALID_KEY')) return { outcome: 'not-authentic' }
    throw error
  }
}

/**
 * Where a session goes that the peer has just opened: it becomes the active one, Sesame §3.4.
 *
 * Except when both sides have opened one at the same time and neither has been answered yet. Then both keep the one
 * whose id is smaller, and the other only opens what is under way: both compare the same two ids, so they end on one.
 */
export function withAccepted(
  record: PeerRecord | undefined,
  accepted: Session,
  identity: PublicIdentity,
  crypto: CryptoProvider
): PeerRecord {
  if (record === undefined) return { identity, sessions: [accepted] }
  if (!sameIdentity(record.identity, identity, crypto)) return withIdentity(record, identity, accepted)
  const [active] = record.sessions
  const isGlare = active.opening !== undefined
  if (isGlare && isSmaller(active.ratchet.sessionId, accepted.ratchet.sessionId)) return withArchived(record, accepted)
  return withActive(record, accepted)
}

/**
 * The record after a message in a known session. An archived session becomes active again when the peer starts a new
 * chain in it, which it can only do after it has heard from us there: it is the one the peer seals in. A late message
 * of an old chain proves no such thing; and what an earlier identity sends makes no session active.
 */
export function withOpened(record: PeerRecord, opened: OpenedInSession, before: Session): PeerRecord {
  const isArchived = record.sessions[0] !== before
  return isArchived && opened.startsChain && !before.superseded
    ? withActive(record, opened.session, before)
    : withReplaced(record, opened.session, before)
}

function isSmaller(left: Uint8Array, right: Uint8Array): boolean {
  for (let at = 0; at < left.length; at += 1) {
    const difference = (left[at] as number) - (right[at] as number)
    if (difference !== 0) return difference < 0
  }
  return false
}
