import { isSuiteError } from '@enablement/core'
import type { CryptoProvider } from '../crypto/crypto-provider.ts'
import { wipe } from '../crypto/wipe.ts'
import { joinBytes } from '../encoding/byte-writer.ts'
import { MessagingError } from '../messaging-error.ts'
import { COUNT_MAX, messageKeyOf, nextChainKey } from './chain-key.ts'
import { classifyHeader, type HeaderClass } from './classify-header.ts'
import type { RatchetMessage, RatchetProfile } from './ratchet-profile.ts'
import type { RatchetState } from './ratchet-state.ts'
import { type ReceivingChain, skipTo, takeNext, takeSkipped } from './receiving-chain.ts'
import { retireChains } from './retired-keys.ts'
import { stepRoot } from './root-key.ts'
import { boundSkippedKeys } from './skipped-keys.ts'

/** A message to seal. */
export interface SealInput {
  readonly plaintext: Uint8Array
  /** What stands before the ratchet message on the wire: authenticated, not encrypted. */
  readonly context: Uint8Array
}

/** A message to open. */
export interface OpenInput {
  /** Header and ciphertext, as `seal` gave them. */
  readonly message: Uint8Array
  readonly context: Uint8Array
  /** Wall clock, epoch milliseconds: dates the keys that are set aside. */
  readonly now: number
}

/** What opening a message gave. The state is in `opened` alone: nothing else has one to commit. */
export type Opened =
  | {
      readonly outcome: 'opened'
      readonly state: RatchetState
      readonly plaintext: Uint8Array
      readonly message: RatchetMessage
      /** Whether it is the first message seen of a ratchet key: the peer has answered something of ours. */
      readonly startsChain: boolean
    }
  | { readonly outcome: 'already-processed' }
  | { readonly outcome: 'too-far-ahead'; readonly expected: number; readonly received: number }
  | { readonly outcome: 'malformed' }
  | { readonly outcome: 'not-authentic' }

/**
 * Seals one message: RatchetEncrypt of Double Ratchet §3.4. The output may leave only after the state is stored, for a
 * state used twice is a message key used twice.
 *
 * Throws `COUNTER_EXHAUSTED` after 2^32 - 1 messages without an answer.
 */
export async function seal(
  state: RatchetState,
  input: SealInput,
  crypto: CryptoProvider,
  profile: RatchetProfile
): Promise<{ readonly state: RatchetState; readonly output: RatchetMessage }> {
  const ready = state.sending === undefined ? await startSending(state, crypto, profile) : state
  const { sending, ratchetKey } = ready
  if (sending === undefined || ratchetKey === undefined) throw new TypeError('a started chain has a key')
  if (sending.count >= COUNT_MAX) {
    throw new MessagingError('COUNTER_EXHAUSTED', 'the sending chain has used all of its message numbers', {
      counter: 'message number'
    })
  }
  const messageKey = messageKeyOf(sending.chainKey, crypto)
  const chainKey = nextChainKey(sending.chainKey, crypto)
  const header = { ratchetKey: ratchetKey.publicKey, previousCount: ready.previousCount, count: sending.count }
  const head = profile.encodeHeader(header)
  const associatedData = joinBytes(ready.sessionId, input.context, head)
  const ciphertext = profile.seal(crypto, messageKey, associatedData, input.plaintext)
  wipe(messageKey)
  return {
    state: { ...ready, sending: { chainKey, count: sending.count + 1 } },
    output: { header, head, ciphertext }
  }
}

/** The sending half of a DH step: a fresh ratchet key against the peer's newest. */
async function startSending(
  state: RatchetState,
  crypto: CryptoProvider,
  profile: RatchetProfile
): Promise<RatchetState> {
  if (state.peerKey === undefined) throw new TypeError('a responder reads before it writes')
  const ratchetKey = await crypto.generateAgreementKey()
  const { rootKey, chainKey } = await stepRoot(state.rootKey, ratchetKey, state.peerKey, crypto, profile)
  return { ...state, rootKey, ratchetKey, sending: { chainKey, count: 0 } }
}

/**
 * Opens one message: RatchetDecrypt of Double Ratchet §3.5. The header is classified first, everything is derived on a
 * copy, and the copy is given back only when the tag has verified. A forged, damaged, repeated or misdirected message
 * therefore leaves the caller with the state it had.
 */
export async function open(
  state: RatchetState,
  input: OpenInput,
  crypto: CryptoProvider,
  profile: RatchetProfile
): Promise<Opened> {
  const message = profile.parse(input.message)
  if (message === undefined) return { outcome: 'malformed' }
  const found = classifyHeader(state, message.header)
  if (found.kind === 'already-processed') return { outcome: 'already-processed' }
  if (found.kind === 'too-far-ahead') {
    return { outcome: 'too-far-ahead', expected: found.expected, received: found.received }
  }

  const nowMinutes = Math.floor(input.now / 60_000)
  const step = await derive(state, message, found, nowMinutes, crypto, profile)
  if (step === undefined) return { outcome: 'not-authentic' }
  const associatedData = joinBytes(state.sessionId, input.context, message.head)
  const plaintext = profile.open(crypto, step.messageKey, associatedData, message.ciphertext)
  // A key set aside earlier still belongs to the state in force, until the caller has stored the new one.
  if (found.kind !== 'skipped') wipe(step.messageKey)
  if (plaintext === undefined) return { outcome: 'not-authentic' }

  const bounded = boundSkippedKeys(step.state.chains, nowMinutes)
  const kept = retireChains(bounded, step.state.retired)
  return {
    outcome: 'opened',
    state: kept.chains === state.chains ? step.state : { ...step.state, ...kept },
    plaintext,
    message,
    startsChain: found.kind === 'new-chain'
  }
}

interface Step {
  readonly state: RatchetState
  readonly messageKey: Uint8Array
}

/** The state after the message, and the message's key. Undefined when the header's key is of small order. */
async function derive(
  state: RatchetState,
  { header }: RatchetMessage,
  found: Extract<HeaderClass, { readonly kind: 'in-chain' | 'new-chain' | 'skipped' }>,
  nowMinutes: number,
  crypto: CryptoProvider,
  profile: RatchetProfile
): Promise<Step | undefined> {
  if (found.kind === 'skipped') {
    const chain = state.chains[found.chain] as ReceivingChain
    const key = chain.skipped.get(header.count)
    if (key === undefined) return undefined
    return {
      state: { ...state, chains: state.chains.with(found.chain, takeSkipped(chain, header.count)) },
      messageKey: key.messageKey
    }
  }
  const stepped = found.kind === 'new-chain' ? await startReceiving(state, header.ratchetKey, crypto, profile) : state
  if (stepped === undefined) return undefined
  const [newest, ...older] = stepped.chains
  if (newest === undefined) return undefined
  if (found.kind === 'new-chain' && older[0]?.chainKey !== undefined) {
    // The peer has moved on: what is missing of its last chain is set aside, and the chain's key is not needed again.
    const ended = skipTo(older[0], older[0].count + found.skipsBefore, nowMinutes, crypto)
    older[0] = { ...ended, chainKey: undefined }
  }
  const skipped = skipTo(newest, header.count, nowMinutes, crypto)
  if (skipped.chainKey === undefined) return undefined
  const { chain, messageKey } = takeNext({ ...skipped, chainKey: skipped.chainKey }, crypto)
  return { state: { ...stepped, chains: [chain, ...older] }, messageKey }
}

/** The receiving half of a DH step. Undefined when the key is of small order, which no honest peer sends. */
async function startReceiving(
  state: RatchetState,
  ratchetKey: Uint8Array,
  crypto: CryptoProvider,
  profile: RatchetProfile
): Promise<RatchetState | undefined> {
  if (state.ratchetKey === undefined) return undefined
  const peerKey = await crypto.importPeerKey(ratchetKey)
  try {
    const { rootKey, chainKey } = await stepRoot(state.rootKey, state.ratchetKey, peerKey, crypto, profile)
    const chain: ReceivingChain = { ratchetKey: peerKey.bytes, chainKey, count: 0, skipped: new Map() }
    return {
      ...state,
      rootKey,
      peerKey,
      sending: undefined,
      previousCount: state.sending?.count ?? state.previousCount,
      chains: [chain, ...state.chains]
    }
  } catch (error) {
    if (isSuiteError(error, 'INVALID_KEY')) return undefined
    throw error
  }
}
