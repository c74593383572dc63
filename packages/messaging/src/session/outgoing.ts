import type { IdentityKeys } from '../identity/identity.ts'
import type { PublicIdentity } from '../identity/public-identity.ts'
import type { PrekeyBundle } from '../prekey/prekey-bundle.ts'
import { seal } from '../ratchet/ratchet.ts'
import { suiteOneProfile } from '../ratchet/ratchet-profile.ts'
import { initiatorState } from '../ratchet/ratchet-state.ts'
import { agreeAsInitiator } from '../x3dh/key-agreement.ts'
import { transcriptId } from '../x3dh/transcript.ts'
import { encodeEnvelope, envelopeContext } from './envelope.ts'
import { messageId } from './message-id.ts'
import { type PeerRecord, withReplaced } from './peer-record.ts'
import type { Session } from './session.ts'

/** The two ends of a session, as its transcript names them. */
export interface Ends {
  readonly address: string
  readonly identity: PublicIdentity
  readonly peer: string
}

/**
 * Starts a session with a peer from a bundle that has been verified: X3DH §3.3. Throws `INVALID_KEY` when a key of the
 * bundle is of small order.
 */
export async function initiateSession(keys: IdentityKeys, ends: Ends, bundle: PrekeyBundle): Promise<Session> {
  const { crypto } = keys
  const baseKey = await crypto.generateAgreementKey()
  const { signedPrekey, oneTimePrekey } = bundle
  const sessionId = transcriptId(
    {
      initiator: ends.identity,
      initiatorAddress: ends.address,
      responder: bundle.identity,
      responderAddress: ends.peer,
      baseKey: baseKey.publicKey,
      signedPrekey,
      oneTimePrekey
    },
    crypto
  )
  const secret = await agreeAsInitiator(keys, baseKey, bundle, sessionId)
  return {
    opening: {
      baseKey: baseKey.publicKey,
      signedPrekeyId: signedPrekey.id,
      oneTimePrekeyId: oneTimePrekey?.id
    },
    superseded: false,
    ratchet: initiatorState(sessionId, secret, await crypto.importPeerKey(signedPrekey.publicKey))
  }
}

/** A message sealed in the peer's active session, and the record to commit before the envelope leaves. */
export interface SealedMessage {
  readonly record: PeerRecord
  readonly envelope: Uint8Array
  readonly id: string
}

export async function sealForPeer(
  keys: IdentityKeys,
  identity: PublicIdentity,
  record: PeerRecord,
  plaintext: Uint8Array
): Promise<SealedMessage> {
  const { crypto } = keys
  const [session] = record.sessions
  const context = envelopeContext(session, identity)
  const { state, output } = await seal(session.ratchet, { plaintext, context }, crypto, suiteOneProfile)
  return {
    record: withReplaced(record, { ...session, ratchet: state }, session),
    envelope: encodeEnvelope(context, output),
    id: messageId(state.sessionId, output.header, crypto)
  }
}
