import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js'

/**
 * Characters of a text in a key. Longer ones go in by their SHA-256: a path of eight long names must fit the 2,704 bytes of
 * a Postgres index row, three texts of three bytes a character.
 */
const KEY_TEXT_MAX = 255

/** A text as it stands in a key. */
export function keyText(text: string): string {
  return text.length <= KEY_TEXT_MAX ? text : `sha256:${bytesToHex(sha256(utf8ToBytes(text)))}`
}

/** A path as it stands in a key: empty for the tenant's own, else JSON, which no joint of names can imitate. */
export function pathText(path: readonly string[]): string {
  return path.length === 0 ? '' : keyText(JSON.stringify(path))
}

/** Joins the two parts of a key: those of a counter, limit and path, or of a record, scope and key. No part has a NUL. */
export function joined(first: string, second: string): string {
  return `${first}\0${second}`
}

/** The two parts of a key. */
export function parted(key: string): [string, string] {
  const at = key.indexOf('\0')
  return [key.slice(0, at), key.slice(at + 1)]
}
