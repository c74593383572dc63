import type { CryptoProvider } from '../crypto/crypto-provider.ts'
import { ByteWriter, labelBytes } from '../encoding/byte-writer.ts'
import type { PublicIdentity } from '../identity/public-identity.ts'
import type { PublicPrekey } from '../prekey/prekey-bundle.ts'

/** X25519, Ed25519, SHA-256 and ChaCha20-Poly1305. A second suite gets its own number, and another transcript. */
export const SUITE = 1

const TRANSCRIPT_LABEL = labelBytes('Enablement X3DH transcript v1\0')

/** All that both sides agree on when they make a session. */
export interface Transcript {
  readonly initiator: PublicIdentity
  readonly initiatorAddress: string
  readonly responder: PublicIdentity
  readonly responderAddress: string
  /** The initiator's ephemeral key `EK`. */
  readonly baseKey: Uint8Array
  readonly signedPrekey: PublicPrekey
  readonly oneTimePrekey: PublicPrekey | undefined
}

/**
 * The session's id: 32 bytes that stand for every choice made in the handshake.
 *
 * It goes into the key derivation and heads the associated data of every message, which binds suite, identities and
 * addresses (X3DH §3.3 asks for the identities at least): neither a downgrade nor a message redirected to another
 * address or claimed by another sender opens.
 */
export function transcriptId(transcript: Transcript, crypto: CryptoProvider): Uint8Array {
  const { initiator, initiatorAddress, responder, responderAddress, signedPrekey, oneTimePrekey } = transcript
  const writer = new ByteWriter().bytes(TRANSCRIPT_LABEL).u8(SUITE)
  writer.text(initiatorAddress).bytes(initiator.signingKey).bytes(initiator.agreementKey)
  writer.text(responderAddress).bytes(responder.signingKey).bytes(responder.agreementKey)
  writer.bytes(transcript.baseKey).u32(signedPrekey.id).bytes(signedPrekey.publicKey)
  writer.u8(oneTimePrekey === undefined ? 0 : 1)
  if (oneTimePrekey !== undefined) writer.u32(oneTimePrekey.id).bytes(oneTimePrekey.publicKey)
  return crypto.sha256(writer.finish())
}
