import { hashTagged } from '@enablement/core/redis'
import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js'

/**
 * Characters of a text from outside in a key; longer ones go in by their SHA-256. A tenant's name, a limit's and a path's,
 * every character of them percent-encoded, then fit the 2,048 characters of a key.
 */
const KEY_TEXT_MAX = 128

/** A text as it stands in a key. One that looks like a hash is hashed, too, so that no name can be that of another. */
function keyText(text: string): string {
  return text.length <= KEY_TEXT_MAX && !text.startsWith('#') ? text : hashed(text)
}

function hashed(text: string): string {
  return `#${bytesToHex(sha256(utf8ToBytes(text)))}`
}

/** Where a tenant's quotas are: all in its slot. Names are what follows a prefix, percent-encoded, without line breaks. */
export interface QuotaKeys {
  readonly holds: string
  readonly fence: string
  /** The last reply to a caller in one of its places. */
  reply(caller: string): string
  /** The three hashes of the spends that are remembered for `idempotencyMs`. */
  memories(idempotencyMs: number): readonly [string, string, string]
  counter(name: string): string
  hold(name: string): string
}

const PLACE = 'enablement:quota'

/**
 * The keys of a tenant's quotas; under a ledger those of one epoch, so that what was left behind by another is not seen.
 * The fence is the tenant's in all of them. Throws `INVALID_OPTIONS` for a tenant that no key can hold.
 */
export function quotaKeysOf(tenant: string, epoch?: number): QuotaKeys {
  const tagged = hashTagged({ prefix: PLACE, tag: tenant })
  const base = epoch === undefined ? tagged : tagged.replace(PLACE, `${PLACE}-${epoch}`)
  const own = (kind: string): string => base.replace(PLACE, `${PLACE}-${kind}`)
  const counters = `${base}:`
  const holds = `${own('hold')}:`
  const spends = `${own('spends')}:`
  const replies = `${own('reply')}:`
  return {
    holds: own('holds'),
    fence: tagged.replace(PLACE, `${PLACE}-fence`),
    reply: (caller) => replies + caller,
    memories: (idempotencyMs) => [
      `${spends}${idempotencyMs}:0`,
      `${spends}${idempotencyMs}:1`,
      `${spends}${idempotencyMs}:2`
    ],
    counter: (name) => counters + name,
    hold: (name) => holds + name
  }
}

/** What names a counter within a tenant. A path's parts are kept apart by JSON, and no path by there being no part. */
export function counterName(limit: string, path: readonly string[]): string {
  const parts = [keyText(limit), ...(path.length === 0 ? [] : [keyText(JSON.stringify(path))])]
  return nameOf(parts)
}

/** What names a hold within a tenant. */
export function holdName(scope: string, key: string): string {
  return nameOf([keyText(scope), keyText(key)])
}

/** Whatever tag they had, parts are encoded alike. */
function nameOf(parts: readonly string[]): string {
  const key = hashTagged({ prefix: PLACE, tag: '-', parts })
  return key.slice(`${PLACE}:{-}:`.length)
}

/** Bytes of a scope's hash that go before each of its idempotency keys: nobody finds two scopes with the same 128 bits. */
const SCOPE_TAG_BYTES = 16

/** What a scope's spends are remembered under begins with this. Base64url, so never the `#` that a hash has of its own. */
export function scopeTag(scope: string): string {
  return Buffer.from(sha256(utf8ToBytes(scope)).subarray(0, SCOPE_TAG_BYTES)).toString('base64url')
}

/** Short keys are kept as they are, which costs no hashing on the hot path; the tag before them has a fixed length. */
export function spendToken(tag: string, key: string): string {
  return tag + (key.length <= 64 && key.charCodeAt(0) !== 0x23 ? key : hashed(key))
}
