/** Why a message that arrived was not taken. */
export type ReceiveRefusal =
  /** No envelope of this version, or one that no honest sender writes; or an address that is none. */
  | 'malformed'
  /** The tag, an identity's signature or the session's id does not verify. */
  | 'not-authentic'
  /** It belongs to a session that is not known here. */
  | 'unknown-session'
  /** It opens a session with a prekey that was never made here, was used, or has been forgotten. */
  | 'unknown-prekey'
  /** More than 1,000 messages are missing before it. */
  | 'too-far-ahead'
  /** `trust` refused the sender's identity. */
  | 'untrusted'
  /** 10,000 sessions were opened with one signed prekey and no one-time prekey: publish prekeys. */
  | 'base-keys-exhausted'

/** What a messenger tells its observer. Addresses, ids, numbers and fingerprints; never keys or plaintext. */
export type MessagingEvent =
  | {
      readonly type: 'session.established'
      readonly peer: string
      readonly fingerprint: string
      readonly role: 'initiator' | 'responder'
      /** False: the directory had none left, and the first message is protected from replay by the recipient alone. */
      readonly oneTimePrekey: boolean
    }
  | { readonly type: 'prekeys.published'; readonly signedPrekeyId: number; readonly oneTimePrekeys: number }
  | { readonly type: 'message.queued'; readonly peer: string; readonly id: string; readonly expiresAt: number }
  | { readonly type: 'message.expired'; readonly peer: string; readonly id: string }
  /** A message of ours that the peer will not take. `reason` is what the transport said; nothing proves it. */
  | { readonly type: 'message.rejected'; readonly peer: string; readonly id: string; readonly reason: string }
  /** `error` is what the transport threw. */
  | { readonly type: 'transport.failed'; readonly peer: string; readonly id: string; readonly error: unknown }
  /** A message that arrived and was not taken. `claimedPeer` is what the transport said; nothing proves it. */
  | {
      readonly type: 'message.refused'
      readonly claimedPeer: string
      readonly reason: ReceiveRefusal
      /** For `too-far-ahead`: the number expected in the chain, and the one found. */
      readonly expected?: number
      readonly received?: number
    }
  | { readonly type: 'duplicate.suppressed'; readonly claimedPeer: string }
  /** Another process committed to the same session first; this one has read its state and tried again. */
  | { readonly type: 'session.contended'; readonly peer: string; readonly attempt: number }
  /** `error` is what the application's function threw; the message will be handed over again. */
  | { readonly type: 'receiver.failed'; readonly peer: string; readonly id: string; readonly error: unknown }
  /** The inbox could not be read; it is tried again by itself. */
  | { readonly type: 'inbox.unavailable'; readonly error: unknown }

/** Takes events. What it throws is dropped: telling of a step must not undo it. */
export type Observe = (event: MessagingEvent) => void
