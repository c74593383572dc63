import type { CryptoProvider } from '../crypto/crypto-provider.ts'
import { ByteWriter, labelBytes } from '../encoding/byte-writer.ts'
import { hexOf } from '../encoding/hex.ts'
import type { RatchetHeader } from '../ratchet/ratchet-profile.ts'

const LABEL = labelBytes('Enablement message id v1\0')

/** 128 bits: no two messages meet in it by chance. */
const ID_BYTES = 16

/**
 * A message's name, the same on both sides without having been sent: a hash of where it stands in its session. A
 * repeated delivery has the same one.
 */
export function messageId(sessionId: Uint8Array, header: RatchetHeader, crypto: CryptoProvider): string {
  const place = new ByteWriter().bytes(LABEL).bytes(sessionId).bytes(header.ratchetKey).u32(header.count).finish()
  return hexOf(crypto.sha256(place).subarray(0, ID_BYTES))
}
