import type { AgreementKey, PeerKey } from '../crypto/crypto-provider.ts'
import type { ReceivingChain } from './receiving-chain.ts'

/** The chain that the next messages are sealed with. */
export interface SendingChain {
  readonly chainKey: Uint8Array
  /** N: how many messages it has sealed. */
  readonly count: number
}

/**
 * One side of a double ratchet. It is never changed: `seal` and `open` give a new one, and whoever stores that has
 * committed the step. States share the parts that a step leaves alone.
 */
export interface RatchetState {
  /** The session's id: the first part of the associated data of every message. */
  readonly sessionId: Uint8Array
  readonly rootKey: Uint8Array
  /** Our current ratchet key. None before the initiator's first message. */
  readonly ratchetKey: AgreementKey | undefined
  /**
   * None when the peer's ratchet key is newer than ours: the next message makes the DH step. Deferring it saves an
   * agreement where nothing is answered, and makes the key as fresh as can be (Double Ratchet §8.5).
   */
  readonly sending: SendingChain | undefined
  /** PN: how many messages our chain before this one held. */
  readonly previousCount: number
  /** The peer's newest ratchet key. None before the responder has read anything. */
  readonly peerKey: PeerKey | undefined
  /** Newest first, at most `RECEIVING_CHAINS_MAX`; only the first can still grow. */
  readonly chains: readonly ReceivingChain[]
  /** Prefixes of the peer's ratchet keys whose chains are gone, newest first. */
  readonly retired: readonly Uint8Array[]
}

/** Where the initiator starts: the peer's signed prekey is its first ratchet key. Double Ratchet §3.3. */
export function initiatorState(sessionId: Uint8Array, secret: Uint8Array, peerKey: PeerKey): RatchetState {
  return { ...EMPTY, sessionId, rootKey: secret, peerKey }
}

/** Where the responder starts: with its signed prekey as ratchet key and nothing received. Double Ratchet §3.3. */
export function responderState(sessionId: Uint8Array, secret: Uint8Array, ratchetKey: AgreementKey): RatchetState {
  return { ...EMPTY, sessionId, rootKey: secret, ratchetKey }
}

const EMPTY = {
  ratchetKey: undefined,
  sending: undefined,
  previousCount: 0,
  peerKey: undefined,
  chains: [],
  retired: []
} satisfies Partial<RatchetState>
