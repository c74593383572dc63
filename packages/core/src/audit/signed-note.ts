import { sha256 } from '@noble/hashes/sha2.js'
import { concatBytes, utf8ToBytes } from '@noble/hashes/utils.js'
import { fromBase64, toBase64 } from './base64.ts'
import { sameHash } from './merkle-hash.ts'

/**
 * Signed notes, https://c2sp.org/signed-note: text, a blank line, and a line per signature,
 * `— <key name> base64(key id || signature)`.
 */
export interface SignedNote {
  /** What is signed, its last newline included. */
  readonly text: string
  readonly signatures: readonly NoteSignature[]
}

export interface NoteSignature {
  readonly keyName: string
  /** Four bytes that say which key and algorithm it is. */
  readonly keyId: Uint8Array
  readonly signature: Uint8Array
}

/** Ed25519 among the signature types of signed notes. */
export const ED25519 = 0x01

const KEY_ID_BYTES = 4

/** Signature lines that are read. The format demands at least 16; a log and its witnesses have a handful. */
const SIGNATURES_MAX = 64

/** The longest note that is read: 64 signatures of the largest kind and an origin of the longest tenant. */
export const NOTE_CHARACTERS_MAX = 524_288

const SIGNATURE_LINE = /^\u2014 ([^\s\p{White_Space}+]+) ([A-Za-z0-9+/]+=*)$/u

/** Below U+0020 the format allows newlines alone; whatever is above and invisible is the reader's to escape. */
const hasControls = (text: string): boolean => [...text].some((character) => character < ' ' && character !== '\n')

/** The note in `note`, its signatures unverified; undefined when it is none. */
export function readNote(note: string): SignedNote | undefined {
  if (note.length > NOTE_CHARACTERS_MAX || !note.isWellFormed() || hasControls(note)) return undefined
  const end = note.lastIndexOf('\n\n')
  if (end < 0 || !note.endsWith('\n')) return undefined
  const lines = note.slice(end + 2, -1).split('\n')
  if (lines.length > SIGNATURES_MAX) return undefined
  const signatures: NoteSignature[] = []
  for (const line of lines) {
    const [, keyName, encoded] = SIGNATURE_LINE.exec(line) ?? []
    const bytes = encoded === undefined ? undefined : fromBase64(encoded)
    if (keyName === undefined || bytes === undefined || bytes.length <= KEY_ID_BYTES) return undefined
    signatures.push({ keyName, keyId: bytes.slice(0, KEY_ID_BYTES), signature: bytes.slice(KEY_ID_BYTES) })
  }
  return { text: note.slice(0, end + 1), signatures }
}

/** A note: its text, and one signature over it. */
export function writeNote(text: string, { keyName, keyId, signature }: NoteSignature): string {
  return `${text}\n\u2014 ${keyName} ${toBase64(concatBytes(keyId, signature))}\n`
}

/** The id of an Ed25519 key under a name: the first four bytes of SHA-256 over name, newline, type and key. */
export function keyIdOf(keyName: string, publicKey: Uint8Array): Uint8Array {
  return sha256(concatBytes(utf8ToBytes(`${keyName}\n`), Uint8Array.of(ED25519), publicKey)).slice(0, KEY_ID_BYTES)
}

/** The signatures that a note says are of this key. */
export function signaturesOf(note: SignedNote, keyName: string, publicKey: Uint8Array): readonly Uint8Array[] {
  const keyId = keyIdOf(keyName, publicKey)
  return note.signatures.flatMap((one) =>
    one.keyName === keyName && sameHash(one.keyId, keyId) ? [one.signature] : []
  )
}

/** Whether a name may stand in a signature line: no space of any kind, no plus sign, no control character. */
export function isKeyName(name: string): boolean {
  return name.length > 0 && name.isWellFormed() && !/[\s\p{White_Space}+]/u.test(name) && !hasControls(name)
}
