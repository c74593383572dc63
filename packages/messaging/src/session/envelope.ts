import { isCanonical, KEY_BYTES } from '../crypto/curve25519.ts'
import { TAG_BYTES } from '../crypto/noble-aead.ts'
import { ByteReader } from '../encoding/byte-reader.ts'
import { ByteWriter, joinBytes } from '../encoding/byte-writer.ts'
import {
  encodeIdentity,
  PUBLIC_IDENTITY_BYTES,
  type PublicIdentity,
  readIdentity
} from '../identity/public-identity.ts'
import type { RatchetMessage } from '../ratchet/ratchet-profile.ts'
import { SUITE } from '../x3dh/transcript.ts'
import { type Opening, SESSION_TAG_BYTES, type Session, sessionTag } from './session.ts'

/** What travels: everything but the plaintext is in the clear, and everything is authenticated. */
export interface Envelope {
  readonly tag: Uint8Array
  /** Present until the initiator has been answered. */
  readonly opening: (Opening & { readonly identity: PublicIdentity }) | undefined
  /** The bytes before the ratchet message, which its associated data repeats. */
  readonly context: Uint8Array
  readonly message: Uint8Array
}

/**
 * The longest plaintext of one message: 64 KiB, so that an envelope fits what brokers and proxies commonly let pass.
 */
export const PLAINTEXT_MAX_BYTES = 65_536

const ENVELOPE_VERSION = 1
const KIND_OPENING = 1
const KIND_MESSAGE = 2

const PREFIX_BYTES = 3 + SESSION_TAG_BYTES
const OPENING_BYTES = PUBLIC_IDENTITY_BYTES + KEY_BYTES + 9
const RATCHET_HEADER_BYTES = KEY_BYTES + 8

/** The longest envelope: checked before anything of it is read. */
export const ENVELOPE_MAX_BYTES = PREFIX_BYTES + OPENING_BYTES + RATCHET_HEADER_BYTES + PLAINTEXT_MAX_BYTES + TAG_BYTES

/** The context of a session's next envelope. */
export function envelopeContext(session: Session, identity: PublicIdentity): Uint8Array {
  const { opening } = session
  const writer = new ByteWriter().u8(ENVELOPE_VERSION).u8(SUITE)
  writer.u8(opening === undefined ? KIND_MESSAGE : KIND_OPENING).bytes(sessionTag(session))
  if (opening !== undefined) {
    const { baseKey, signedPrekeyId, oneTimePrekeyId } = opening
    writer.bytes(encodeIdentity(identity)).bytes(baseKey).u32(signedPrekeyId)
    writer.u8(oneTimePrekeyId === undefined ? 0 : 1).u32(oneTimePrekeyId ?? 0)
  }
  return writer.finish()
}

/** The envelope of a sealed message. */
export function encodeEnvelope(context: Uint8Array, { head, ciphertext }: RatchetMessage): Uint8Array {
  return joinBytes(context, head, ciphertext)
}

/**
 * Takes an envelope apart without believing any of it. Undefined for anything that no honest sender writes: another
 * version, suite or kind, too short or too long, a base key that is not canonical, a number where none belongs.
 */
export function parseEnvelope(envelope: Uint8Array): Envelope | undefined {
  if (envelope.length > ENVELOPE_MAX_BYTES || envelope.length < PREFIX_BYTES) return undefined
  const [version, suite, kind] = envelope
  if (version !== ENVELOPE_VERSION || suite !== SUITE) return undefined
  if (kind !== KIND_OPENING && kind !== KIND_MESSAGE) return undefined
  const contextBytes = kind === KIND_OPENING ? PREFIX_BYTES + OPENING_BYTES : PREFIX_BYTES
  if (envelope.length < contextBytes) return undefined
  const opening = kind === KIND_OPENING ? readOpening(envelope.subarray(PREFIX_BYTES, contextBytes)) : undefined
  if (kind === KIND_OPENING && opening === undefined) return undefined
  return {
    tag: envelope.subarray(3, PREFIX_BYTES),
    opening,
    context: envelope.subarray(0, contextBytes),
    message: envelope.subarray(contextBytes)
  }
}

function readOpening(bytes: Uint8Array): Envelope['opening'] {
  const reader = new ByteReader('opening', bytes)
  const identity = readIdentity(reader)
  const baseKey = reader.bytes(KEY_BYTES)
  const signedPrekeyId = reader.u32()
  const flag = reader.u8()
  const id = reader.u32()
  if (flag > 1 || (flag === 0 && id !== 0) || !isCanonical(baseKey)) return undefined
  return { identity, baseKey, signedPrekeyId, oneTimePrekeyId: flag === 1 ? id : undefined }
}
