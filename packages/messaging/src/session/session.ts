import type { RatchetState } from '../ratchet/ratchet-state.ts'

/** What an initiator repeats at the head of every message until the peer has answered: X3DH §3.3. */
export interface Opening {
  /** The initiator's ephemeral public key, 32 bytes. */
  readonly baseKey: Uint8Array
  readonly signedPrekeyId: number
  /** Undefined when the directory had no one-time prekey to give. */
  readonly oneTimePrekeyId: number | undefined
}

/** One run of X3DH and the ratchet that came of it. */
export interface Session {
  /** Set while this side has started the session and not been answered in it. */
  readonly opening: Opening | undefined
  /**
   * Whether the peer has had another identity since: it then opens what is under way and never seals again, or whoever
   * took the old keys would read what is meant for the new ones.
   */
  readonly superseded: boolean
  readonly ratchet: RatchetState
}

/** Bytes of a session's id on the wire: enough to find the session by; all 32 are authenticated. */
export const SESSION_TAG_BYTES = 16

/** The part of the session's id that its envelopes carry. */
export function sessionTag(session: Session): Uint8Array {
  return session.ratchet.sessionId.subarray(0, SESSION_TAG_BYTES)
}
