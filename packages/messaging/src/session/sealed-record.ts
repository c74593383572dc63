import { cryptoProvider } from '#crypto'
import type { CryptoProvider } from '../crypto/crypto-provider.ts'
import { KEY_BYTES } from '../crypto/curve25519.ts'
import { wipe } from '../crypto/wipe.ts'
import { ByteWriter, joinBytes, labelBytes } from '../encoding/byte-writer.ts'
import { copyBytes } from '../encoding/copy-bytes.ts'
import { MessagingError } from '../messaging-error.ts'

/** Where a record stands in its store. All of it is authenticated, so that no record passes for another. */
export interface RecordPlace {
  /** The kind of record: `session`, `prekey`, `inbox`. */
  readonly kind: string
  readonly owner: string
  /** What names the record among its kind: a peer, an id. */
  readonly key: string
  /** The record's version; an older one under a newer number does not open. */
  readonly version: number
}

/** Seals records at rest under one key. */
export interface RecordSealer {
  seal(place: RecordPlace, record: Uint8Array): Uint8Array
  /** Throws `RECORD_NOT_AUTHENTIC` when the bytes were not sealed under this key for exactly this place. */
  open(place: RecordPlace, sealed: Uint8Array): Uint8Array
}

const FORMAT = 1
const SALT_BYTES = 16
const KEY_LABEL = labelBytes('Enablement sealed record v1\0')
const ZERO_NONCE = new Uint8Array(12)

/** A new key for sealing records at rest: 32 secret bytes, to be kept wherever the service keeps its secrets. */
export function createSealingKey(options: { readonly crypto?: CryptoProvider } = {}): Uint8Array {
  const { crypto = cryptoProvider } = options
  return crypto.random(KEY_BYTES)
}

/**
 * Each record gets a key of its own, HMAC of the sealing key over a random 128-bit salt, and then a constant nonce will
 * do. A 96-bit random nonce under the sealing key itself would have to be counted against its 2^32 messages.
 */
export function createRecordSealer(sealingKey: Uint8Array, crypto: CryptoProvider): RecordSealer {
  // The caller may wipe its copy.
  const key = copyBytes(sealingKey)
  return {
    seal(place, record) {
      const salt = crypto.random(SALT_BYTES)
      const recordKey = crypto.hmac(key, joinBytes(KEY_LABEL, salt))
      const sealed = crypto.seal(recordKey, ZERO_NONCE, placeBytes(place), record)
      wipe(recordKey)
      return joinBytes(Uint8Array.of(FORMAT), salt, sealed)
    },
    open(place, sealed) {
      const salt = sealed.subarray(1, 1 + SALT_BYTES)
      const recordKey = crypto.hmac(key, joinBytes(KEY_LABEL, salt))
      const record =
        sealed[0] === FORMAT
          ? crypto.open(recordKey, ZERO_NONCE, placeBytes(place), sealed.subarray(1 + SALT_BYTES))
          : undefined
      wipe(recordKey)
      if (record !== undefined) return record
      const { kind, owner, key: name, version } = place
      throw new MessagingError(
        'RECORD_NOT_AUTHENTIC',
        `the ${kind} record ${name} of ${owner} at version ${version} was not sealed under this key for this place`,
        { record: `${kind} ${name}`, version }
      )
    }
  }
}

function placeBytes({ kind, owner, key, version }: RecordPlace): Uint8Array {
  return new ByteWriter().text(kind).text(owner).text(key).u64(version).finish()
}
