import { ed25519 } from '@noble/curves/ed25519.js'
import { bytesToHex, concatBytes, utf8ToBytes } from '@noble/hashes/utils.js'
import { z } from 'zod'
import { CoreError } from '../failure/core-error.ts'
import { parseOptions } from '../failure/options.ts'
import { NAME_BYTES_MAX } from './audit-draft.ts'
import { fromBase64, toBase64 } from './base64.ts'
import { ED25519, isKeyName, keyIdOf } from './signed-note.ts'

/** Signs checkpoints. One that asks a KMS or an HSM, where whoever owns the database does not reach, is an object like this. */
export interface CheckpointSigner {
  /**
   * Names the logs that it signs, such as `audit.example.com`; each tenant's log has an origin under it. A new key keeps
   * the name: under another one every log begins anew, and nothing compares it with what was signed before.
   */
  readonly name: string
  /** Ed25519, 32 bytes. */
  readonly publicKey: Uint8Array
  /** Ed25519 over `message` as RFC 8032 has it: 64 bytes. */
  sign(message: Uint8Array, options: { readonly signal: AbortSignal }): Uint8Array | Promise<Uint8Array>
}

/** A new key, in the text forms that tools for signed notes read and write. */
export interface CheckpointKey {
  /** `PRIVATE+KEY+<name>+<key id>+<base64>`: secret. Keep it where the database's owner cannot read it. */
  readonly signingKey: string
  /** `<name>+<key id>+<base64>`: for whoever verifies. */
  readonly verifierKey: string
}

/** What a verifier key says. */
export interface ParsedVerifierKey {
  readonly name: string
  readonly publicKey: Uint8Array
}

const KEY_BYTES = 32
const PRIVATE = 'PRIVATE+KEY+'

/** Makes a key for logs under `name`. The secret is the operating system's. Throws `INVALID_OPTIONS`. */
export function createCheckpointKey(name: string): CheckpointKey {
  checkName(parseOptions(z.string(), 'the name of a checkpoint key', name))
  const { secretKey, publicKey } = ed25519.keygen()
  return {
    signingKey: `${PRIVATE}${encoded(name, keyIdOf(name, publicKey), secretKey)}`,
    verifierKey: verifierKeyOf(name, publicKey)
  }
}

/** Signs with a key that `createCheckpointKey` made. Throws `INVALID_OPTIONS`, which does not repeat the key. */
export function ed25519Signer(signingKey: string): CheckpointSigner {
  const text = parseOptions(z.string(), 'a signing key', signingKey)
  const found = text.startsWith(PRIVATE) ? decoded(text.slice(PRIVATE.length)) : undefined
  if (found === undefined) throw refused('signingKey', 'must be PRIVATE+KEY+<name>+<key id>+<base64>')
  const { name, key: secretKey } = found
  const publicKey = ed25519.getPublicKey(secretKey)
  if (bytesToHex(keyIdOf(name, publicKey)) !== found.keyId) throw refused('signingKey', 'its id is that of another key')
  return { name, publicKey, sign: (message) => ed25519.sign(message, secretKey) }
}

/** The text form of a public key under a name: of a signer's, or of one log's, whose name is its origin. */
export function verifierKeyOf(name: string, publicKey: Uint8Array): string {
  return encoded(name, keyIdOf(name, publicKey), publicKey)
}

/** Reads a verifier key. Throws `INVALID_OPTIONS`. */
export function parseVerifierKey(verifierKey: string): ParsedVerifierKey {
  const found = decoded(verifierKey)
  if (found === undefined) throw refused('verifierKey', 'must be <name>+<key id>+<base64>, of an Ed25519 key')
  const { name, key: publicKey } = found
  if (bytesToHex(keyIdOf(name, publicKey)) !== found.keyId)
    throw refused('verifierKey', 'its id is that of another key')
  return { name, publicKey }
}

/** Whether `signature` is `publicKey`'s over `message`, as RFC 8032 §5.1.7 decides. */
export function isSignedBy(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean {
  try {
    return ed25519.verify(signature, message, publicKey, { zip215: false })
  } catch {
    // A signature of another length, or a point that is none.
    return false
  }
}

/** Throws `INVALID_OPTIONS` unless `name` may stand in a signature line, and a tenant's origin under it in an index. */
export function checkName(name: string): void {
  if (!isKeyName(name)) throw refused('name', 'must be non-empty, without spaces, plus or control characters')
  if (utf8ToBytes(name).length > NAME_BYTES_MAX)
    throw refused('name', `must have at most ${NAME_BYTES_MAX} bytes as UTF-8`)
}

/** Whether `value` has the parts of a signer. */
export function isSigner(value: unknown): value is CheckpointSigner {
  const { name, publicKey, sign } = (value ?? {}) as Partial<Record<keyof CheckpointSigner, unknown>>
  return (
    typeof name === 'string' &&
    publicKey instanceof Uint8Array &&
    publicKey.length === KEY_BYTES &&
    typeof sign === 'function'
  )
}

function encoded(name: string, keyId: Uint8Array, key: Uint8Array): string {
  return `${name}+${bytesToHex(keyId)}+${toBase64(concatBytes(Uint8Array.of(ED25519), key))}`
}

function decoded(
  text: string
): { readonly name: string; readonly keyId: string; readonly key: Uint8Array } | undefined {
  // Base64 has plus signs of its own; names have none.
  const [, name = '', keyId = '', base64 = ''] = /^([^+]+)\+([0-9a-f]{8})\+(.+)$/su.exec(text) ?? []
  const bytes = fromBase64(base64)
  if (!isKeyName(name) || bytes?.length !== KEY_BYTES + 1 || bytes[0] !== ED25519) return undefined
  return { name, keyId, key: bytes.slice(1) }
}

function refused(path: string, message: string): CoreError<'INVALID_OPTIONS'> {
  const subject = 'a checkpoint key'
  return new CoreError('INVALID_OPTIONS', `${subject} was refused: ${path}: ${message}`, {
    subject,
    issues: [{ path, message }]
  })
}
