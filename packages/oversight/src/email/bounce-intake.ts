import { parseOptions, reporter } from '@enablement/core'
import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js'
import { z } from 'zod'
import type { AddressHealth, MailedInvitation } from './address-health.ts'
import { addressesIn, type DeliveryReport, type ParsedMail, reportsIn } from './delivery-report.ts'
import type { EmailEvent } from './email-event.ts'
import type { ReturnPath, ReturnPathReading } from './return-path.ts'

/** Reads mail: `PostalMime` of postal-mime, given as it is. */
export interface MailParser {
  parse(
    message: Uint8Array,
    options: {
      readonly forceRfc822Attachments: true
      readonly maxNestingDepth: number
      readonly maxHeadersSize: number
    }
  ): Promise<ParsedMail>
}

/** A mail that had been taken by a server and did not get through after all. */
export interface Bounce {
  /** What was sent: an invitation or a reminder, or several invitations in one. */
  readonly kind: 'invitation' | 'digest'
  /** The kernel's id of the mail: an invitation's, a reminder's or a digest's. */
  readonly id: string
  /**
   * What it asked about: one invitation, or those of a digest. Each is to be told of:
   * `oversight.bounced(requestId, { invitationId, reason })`. Empty when address health knows the mail no more.
   */
  readonly invitations: readonly MailedInvitation[]
  /** Where it was sent to; undefined when neither address health nor the report says that. */
  readonly address: string | undefined
  /** There is no such mailbox. It counts against the address if the report names that. */
  readonly hard: boolean
  /** For the record: codes and plain words, and nothing that the reporting server wrote. */
  readonly reason: string
}

export interface BounceIntakeOptions {
  /** The one that the channel sends with. */
  readonly returnPath: ReturnPath
  /** The one that the channel has. */
  readonly health: AddressHealth
  readonly parser: MailParser
  /**
   * Is told of each bounce, at least once: after a crash, or when this throws, the same message taken in again tells it
   * again. An invitation that is delivered again then reaches the approver's next address.
   */
  readonly onBounce?: (bounce: Bounce) => void | Promise<void>
  /** A larger message is not read. 1 MiB unless given: reports return a message, and ours are small. */
  readonly messageBytesMax?: number
  readonly observe?: (event: EmailEvent) => void
}

/** What a message came to. Only `bounced` has changed anything. */
export type BounceOutcome =
  | ({ readonly outcome: 'bounced' } & Omit<Bounce, 'kind'> & { readonly kind: Bounce['kind'] | 'notice' })
  /** The same bounce was taken in before. */
  | { readonly outcome: 'repeated'; readonly id: string }
  /** It has not got through yet, and is tried again by a server. */
  | { readonly outcome: 'delayed'; readonly id: string }
  /** It got through. */
  | { readonly outcome: 'delivered'; readonly id: string }
  /** To a return path that we did not make. */
  | { readonly outcome: 'forged' }
  /** Of a mail of ours that is too old. */
  | { readonly outcome: 'expired' }
  /** What a bounce would have: a return path that it is to, a mail that can be read, a delivery status notification. */
  | { readonly outcome: 'not-a-bounce'; readonly lacking: 'address' | 'mail' | 'report' }
  | { readonly outcome: 'too-large'; readonly bytes: number; readonly limitBytes: number }

export interface BounceIntake {
  /**
   * Takes in a whole message (RFC 5322) as it came, from a mailbox, an SMTP server or a provider's webhook. `recipient` is
   * the address of the SMTP envelope, where it is known; otherwise the headers are searched. Throws what `health` and
   * `onBounce` throw: the message should be taken in again.
   */
  take(message: Uint8Array | string, envelope?: { readonly recipient?: string }): Promise<BounceOutcome>
}

const MESSAGE_BYTES_MAX = 1_048_576
/** Parts within parts: a report has two levels. */
const NESTING_MAX = 20
const HEADER_BYTES_MAX = 262_144
/** Addresses in the headers that are tried against the secret. */
const CANDIDATES_MAX = 20

/** Where servers write whom they deliver to. */
const RECIPIENT_HEADERS: ReadonlySet<string> = new Set([
  'delivered-to',
  'x-original-to',
  'envelope-to',
  'x-envelope-to',
  'to'
])

/**
 * Under this address, which nobody has (RFC 6761 §6.4), is remembered which bounces were told of: a bounce is on record
 * before it is told, so that whoever is told may send again at once, and known as repeated only after.
 */
const TOLD = 'told@bounces.invalid'

const isObject = (value: unknown): value is object =>
  (typeof value === 'object' || typeof value === 'function') && value !== null

const optionsSchema: z.ZodType<BounceIntakeOptions> = z.strictObject({
  returnPath: z.custom<ReturnPath>((value) => isObject(value) && 'read' in value, 'must be a return path'),
  health: z.custom<AddressHealth>((value) => isObject(value) && 'record' in value, 'must be address health'),
  parser: z.custom<MailParser>((value) => isObject(value) && 'parse' in value, 'must have parse'),
  onBounce: z
    .custom<NonNullable<BounceIntakeOptions['onBounce']>>((value) => typeof value === 'function')
    .exactOptional(),
  messageBytesMax: z
    .int()
    .min(1_024)
    .max(64 * MESSAGE_BYTES_MAX)
    .exactOptional(),
  observe: z.custom<NonNullable<BounceIntakeOptions['observe']>>((value) => typeof value === 'function').exactOptional()
})

/**
 * Takes in mail that came back (OV-5): a delivery status notification (RFC 3464) to a return path that only we can have
 * made. Anybody can send such a report about any mail, so nothing is believed by its subject, its sender or what it
 * returns. Hard failures count against the address, others do not. Throws `INVALID_OPTIONS`.
 */
export function bounceIntake(options: BounceIntakeOptions): BounceIntake {
  const {
    returnPath,
    health,
    parser,
    onBounce,
    messageBytesMax = MESSAGE_BYTES_MAX,
    observe
  } = parseOptions(optionsSchema, 'bounceIntake', options)
  const report = reporter(observe)

  const refused = (because: 'forged' | 'expired'): BounceOutcome => {
    report({ type: 'email.bounce-refused', because })
    return { outcome: because }
  }

  const parsed = async (bytes: Uint8Array): Promise<ParsedMail | undefined> => {
    try {
      return await parser.parse(bytes, {
        // A returned message is looked at as it is, never walked into.
        forceRfc822Attachments: true,
        maxNestingDepth: NESTING_MAX,
        maxHeadersSize: HEADER_BYTES_MAX
      })
    } catch {
      return undefined
    }
  }

  /** Nothing of what was in the mail is sent to the address again, in whatever mail it would be. */
  const endAt = async (
    address: string,
    { id, invitations }: { readonly id: string; readonly invitations: readonly MailedInvitation[] },
    counts: boolean
  ): Promise<void> => {
    const { outcome, standing } = await health.record({ address, messageId: id }, counts ? 'hard' : 'refused')
    if (counts && outcome === 'recorded' && standing.outcome === 'invalid') {
      report({ type: 'email.address-invalid', address, until: standing.until })
    }
    for (const { invitationId } of invitations) {
      if (invitationId !== id) await health.record({ address, messageId: invitationId }, 'refused')
    }
  }

  const takeFailure = async (
    mail: Extract<ReturnPathReading, { outcome: 'ours' }>,
    { refusal, addresses }: DeliveryReport
  ): Promise<BounceOutcome> => {
    const { kind, id } = mail
    const named = addresses.find((one) => mail.sentTo(one))
    const entry = (await health.entries(id)).find((one) => mail.sentTo(one.address))
    const address = entry?.address ?? named
    const invitations = entry?.invitations ?? []
    const told = { address: TOLD, messageId: `${id} ${bytesToHex(sha256(utf8ToBytes(address ?? ''))).slice(0, 32)}` }
    if ((await health.trace(told)).ended) return { outcome: 'repeated', id }
    const hard = refusal.finding === 'hard'
    const reason = `came back: ${refusal.code} (${refusal.finding})`
    if (address !== undefined) await endAt(address, { id, invitations }, hard && named !== undefined)
    if (kind !== 'notice') await onBounce?.({ kind, id, invitations, address, hard, reason })
    if ((await health.record(told, 'refused')).outcome === 'repeated') return { outcome: 'repeated', id }
    report({ type: 'email.bounced', id, address, ...refusal })
    return { outcome: 'bounced', kind, id, invitations, address, hard, reason }
  }

  return {
    async take(message, { recipient } = {}) {
      const bytes = typeof message === 'string' ? new TextEncoder().encode(message) : message
      if (bytes.length > messageBytesMax) {
        report({ type: 'email.bounce-refused', because: 'too-large' })
        return { outcome: 'too-large', bytes: bytes.length, limitBytes: messageBytesMax }
      }
      const candidates = recipient === undefined ? recipientsIn(bytes) : [recipient]
      const reading = best(candidates.map((one) => returnPath.read(one)))
      if (reading.outcome === 'not-ours') return { outcome: 'not-a-bounce', lacking: 'address' }
      if (reading.outcome !== 'ours') return refused(reading.outcome)
      const mail = await parsed(bytes)
      if (mail === undefined) return { outcome: 'not-a-bounce', lacking: 'mail' }
      const reports = reportsIn(mail)
      const own = reports.filter(({ addresses }) => addresses.some((one) => reading.sentTo(one)))
      const relevant = own.length > 0 ? own : reports
      const failure = relevant.find(({ action }) => action === 'failed')
      if (failure !== undefined) return takeFailure(reading, failure)
      const [other] = relevant
      if (other === undefined) return { outcome: 'not-a-bounce', lacking: 'report' }
      return { outcome: other.action === 'delayed' ? 'delayed' : 'delivered', id: reading.id }
    }
  }
}

/** One that is ours, else what comes nearest to it. */
function best(readings: readonly ReturnPathReading[]): ReturnPathReading {
  for (const outcome of ['ours', 'expired', 'forged'] as const) {
    const found = readings.find((reading) => reading.outcome === outcome)
    if (found !== undefined) return found
  }
  return { outcome: 'not-ours' }
}

/** Read from the bytes, so that what is not to a return path of ours is not parsed, however much of it there is. */
function recipientsIn(bytes: Uint8Array): readonly string[] {
  const [headers = ''] = new TextDecoder()
    .decode(bytes.subarray(0, HEADER_BYTES_MAX))
    .replaceAll('\r\n', '\n')
    .split('\n\n', 1)
  const found: string[] = []
  for (const line of headers.replace(/\n[ \t]+/g, ' ').split('\n')) {
    const [name = '', value = ''] = line.split(/:(.*)/s, 2)
    if (RECIPIENT_HEADERS.has(name.toLowerCase())) found.push(...addressesIn(value))
  }
  return found.slice(0, CANDIDATES_MAX)
}
