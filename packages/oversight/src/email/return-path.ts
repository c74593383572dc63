import { CoreError, days, type Platform, parseOptions, systemPlatform } from '@enablement/core'
import { hmac } from '@noble/hashes/hmac.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex, concatBytes, hexToBytes, utf8ToBytes } from '@noble/hashes/utils.js'
import { z } from 'zod'
import { MAIL_KEPT_MIN_MS } from './address-health.ts'
import { fromBase32, toBase32 } from './base32.ts'
import { addressSchema, normalisedAddress } from './mail-address.ts'

/** What a mail is: an invitation or a reminder, several of them, or how it ended. */
export type MailKind = 'invitation' | 'digest' | 'notice'

/** What a return path stands for. */
export interface ReturnPathMail {
  readonly kind: MailKind
  /** The kernel's id of it: a UUID, or 32 hex digits. */
  readonly id: string
  /** Whom it is sent to. */
  readonly address: string
}

/** What an address says that mail has been returned to. */
export type ReturnPathReading =
  | {
      readonly outcome: 'ours'
      readonly kind: MailKind
      readonly id: string
      /** Whether the mail was sent to `address`, which is not in the return path itself. */
      sentTo(address: string): boolean
    }
  /** It was ours, too long ago for a bounce to be one. */
  | { readonly outcome: 'expired' }
  /** It is in our place, and we did not make it. */
  | { readonly outcome: 'forged' }
  | { readonly outcome: 'not-ours' }

/**
 * Where mail that cannot be delivered is returned to: an address of its own for each mail (variable envelope return path),
 * which only who has the secret can make. `emailChannel` sends with it and `bounceIntake` reads it.
 */
export interface ReturnPath {
  /** Throws `INVALID_OPTIONS` for an id of another form. */
  addressFor(mail: ReturnPathMail): string
  read(address: string): ReturnPathReading
}

export interface ReturnPathOptions {
  /** Where mail to every local part with the prefix arrives. */
  readonly domain: string
  /** `bounce+` unless given: up to 12 of a-z, 0-9, `+`, `-`, `=`, `_` and `.`; what the mail server tells its mailbox by. */
  readonly prefix?: string
  /**
   * 32 bytes or more each, as bytes or as text of 32 characters or more; from a random source. The first one signs, all are
   * good for reading, so that a new one is put in front and the old one is taken away after `lifetimeMs`.
   */
  readonly secrets: readonly (string | Uint8Array)[]
  /** For how long bounces are believed; 14 days unless given, 30 at most. Servers try for five (RFC 5321 §4.5.4.1). */
  readonly lifetimeMs?: number
  readonly platform?: Platform
}

/*
 * The local part: the prefix, then 52 characters of base32 for 32 bytes, together at most 64 octets (RFC 5321 §4.5.3.1.1):
 *
 *   form 1 · id 16 · minute of sending 4 · tag of the address 3 · tag of all of it 8
 *
 * 64 bits are enough for a tag that can only be tried against a running intake.
 */
const SIGNED_BYTES = 24
const TAG_BYTES = 8
const ADDRESS_TAG_BYTES = 3
const MINUTE_MS = 60_000
const SECRET_MIN = 32
const KINDS: readonly MailKind[] = ['invitation', 'digest', 'notice']

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
const HEX = /^[0-9a-f]{32}$/
/** In the form byte, beside the kind: the id is written with hyphens. */
const WITH_HYPHENS = 4

const TAG_LABEL = 'enablement oversight return path 1\0'
const ADDRESS_LABEL = 'enablement oversight return path address 1\0'

const optionsSchema: z.ZodType<ReturnPathOptions> = z.strictObject({
  domain: z
    .string()
    .refine((domain) => addressSchema.safeParse(`a@${domain}`).success, 'must be a domain')
    // The local part with its `@` takes 65 of an address's 254.
    .refine((domain) => domain.length <= 189, 'must have at most 189 characters'),
  prefix: z
    .string()
    .regex(/^(?:[a-z0-9](?:[a-z0-9.+=_-]{0,10}[a-z0-9+=_-])?)?$/)
    .exactOptional(),
  secrets: z
    .array(
      z
        .union([z.string(), z.instanceof(Uint8Array)])
        .refine((secret) => secret.length >= SECRET_MIN, `must have at least ${SECRET_MIN} bytes`)
    )
    .min(1)
    .max(8),
  lifetimeMs: z.int().min(days(1)).max(MAIL_KEPT_MIN_MS).exactOptional(),
  platform: z.custom<Platform>((value) => typeof value === 'object' && value !== null).exactOptional()
})

/** The same options make the same return path, in any process. Throws `INVALID_OPTIONS`. */
export function createReturnPath(options: ReturnPathOptions): ReturnPath {
  const {
    domain,
    prefix = 'bounce+',
    secrets,
    lifetimeMs = days(14),
    platform = systemPlatform
  } = parseOptions(optionsSchema, 'createReturnPath', options)
  // Copies, so that bytes which their owner wipes or changes still make the same addresses.
  const keys = secrets.map((secret) => (typeof secret === 'string' ? utf8ToBytes(secret) : secret.slice()))
  const place = normalisedAddress(`a@${domain}`)?.slice(2) ?? domain

  const tagOf = (key: Uint8Array, signed: Uint8Array): Uint8Array =>
    hmac(sha256, key, concatBytes(utf8ToBytes(`${TAG_LABEL}${prefix}@${place}\0`), signed)).subarray(0, TAG_BYTES)

  const addressTagOf = (key: Uint8Array, address: string): Uint8Array =>
    hmac(sha256, key, utf8ToBytes(ADDRESS_LABEL + address)).subarray(0, ADDRESS_TAG_BYTES)

  return {
    addressFor({ kind, id, address }) {
      const key = keys[0] as Uint8Array
      const signed = new Uint8Array(SIGNED_BYTES)
      signed[0] = KINDS.indexOf(kind) | (id.includes('-') ? WITH_HYPHENS : 0)
      signed.set(bytesOfId(id), 1)
      new DataView(signed.buffer).setUint32(17, Math.floor(platform.clock.now() / MINUTE_MS))
      signed.set(addressTagOf(key, normalisedAddress(address) ?? address), 21)
      return `${prefix}${toBase32(concatBytes(signed, tagOf(key, signed)))}@${place}`
    },
    read(address) {
      const normalised = normalisedAddress(address) ?? ''
      if (!normalised.startsWith(prefix) || !normalised.endsWith(`@${place}`)) return { outcome: 'not-ours' }
      const bytes = fromBase32(normalised.slice(prefix.length, -place.length - 1))
      if (bytes?.length !== SIGNED_BYTES + TAG_BYTES) return { outcome: 'forged' }
      const signed = bytes.subarray(0, SIGNED_BYTES)
      const tag = bytes.subarray(SIGNED_BYTES)
      const key = keys.find((one) => sameBytes(tagOf(one, signed), tag))
      const form = signed[0] as number
      const kind = KINDS[form & 3]
      if (key === undefined || kind === undefined) return { outcome: 'forged' }
      const sentAt = new DataView(signed.buffer, signed.byteOffset).getUint32(17) * MINUTE_MS
      if (platform.clock.now() >= sentAt + lifetimeMs) return { outcome: 'expired' }
      const addressTag = signed.subarray(21)
      return {
        outcome: 'ours',
        kind,
        id: idOfBytes(signed.subarray(1, 17), (form & WITH_HYPHENS) !== 0),
        sentTo: (other) => sameBytes(addressTagOf(key, normalisedAddress(other) ?? other), addressTag)
      }
    }
  }
}

function bytesOfId(id: string): Uint8Array {
  if (UUID.test(id) || HEX.test(id)) return hexToBytes(id.replaceAll('-', ''))
  const message = 'must be a UUID in lower case or 32 hex digits'
  throw new CoreError('INVALID_OPTIONS', `no return path can be made for an id: it ${message}`, {
    subject: 'returnPath.addressFor',
    issues: [{ path: 'id', message }]
  })
}

function idOfBytes(bytes: Uint8Array, withHyphens: boolean): string {
  const hex = bytesToHex(bytes)
  if (!withHyphens) return hex
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
}

/** In a time that does not tell where they differ. */
function sameBytes(one: Uint8Array, other: Uint8Array): boolean {
  if (one.length !== other.length) return false
  let difference = 0
  for (const [at, byte] of one.entries()) difference |= byte ^ (other[at] as number)
  return difference === 0
}
