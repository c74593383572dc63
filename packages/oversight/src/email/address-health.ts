import { days, hours, parseOptions } from '@enablement/core'
import { z } from 'zod'
import { normalisedAddress } from './mail-address.ts'

/** One mail to one address. Attempts at it, and bounces of it, are told under the same id. */
export interface MailId {
  /** Compared in its normalised form. */
  readonly address: string
  /** 1 to 256 characters. */
  readonly messageId: string
}

/**
 * What became of a mail.
 *
 * - `accepted`: a server took it. It counts as a success once no bounce has come for it in `settleMs`, because a relay
 *   takes mail for mailboxes that do not exist
 * - `soft`: refused for now
 * - `refused`: refused for good, without the address being to blame; also a mail that was given up after soft failures
 * - `hard`: there is no such mailbox
 */
export type MailFinding = 'accepted' | 'soft' | 'refused' | 'hard'

/** Whether an address is worth writing to. */
export type AddressStanding =
  | { readonly outcome: 'usable'; readonly hardBounces: number }
  /** Not to be used again until `until`, epoch milliseconds by the store's clock, unless it is reinstated. */
  | { readonly outcome: 'invalid'; readonly since: number; readonly until: number }

/** An invitation that a mail asks about. */
export interface MailedInvitation {
  readonly requestId: string
  readonly invitationId: string
}

/** An address that a mail was entered for, in its normalised form, and what it asked about there. */
export interface MailEntry {
  readonly address: string
  readonly invitations: readonly MailedInvitation[]
}

/** What is known of a mail and of its address. */
export interface MailTrace {
  readonly standing: AddressStanding
  readonly softFailures: number
  /** It was `refused` or `hard`: nothing more is to be done about it. */
  readonly ended: boolean
}

/**
 * Remembers which addresses bounce, and what was asked in mails that may yet come back. Each call is one atomic step by the store's own clock; whoever calls may be one of many
 * processes. What throws `STORE_UNAVAILABLE` had no effect.
 *
 * After `hardBouncesMax` hard bounces of distinct mails within `windowMs`, and no success in between, an address is
 * invalid for `invalidMs`.
 */
export interface AddressHealth {
  standing(address: string): Promise<AddressStanding>
  trace(mail: MailId): Promise<MailTrace>
  /**
   * Enters a mail that is about to be handed over, with the invitations in it, 100 at most, so that whoever asked can be told
   * of a bounce. Entered again, it asks about these alone; whatever else is known of it stays.
   */
  enter(mail: MailId, invitations: readonly MailedInvitation[]): Promise<void>
  /**
   * The addresses that a mail was entered for, in their order as text: for 30 days, or for `windowMs` where that is longer,
   * after the last that was heard of it there. None when it is not known.
   */
  entries(messageId: string): Promise<readonly MailEntry[]>
  /**
   * Takes a finding in. `repeated`: the mail had ended before, and nothing was changed; so a bounce that is told twice
   * counts once. A `soft` finding counts each time.
   */
  record(mail: MailId, finding: MailFinding): Promise<MailTrace & { readonly outcome: 'recorded' | 'repeated' }>
  /** Lets an address be used again, with a clean record: its owner says that it works. */
  reinstate(address: string): Promise<{ readonly outcome: 'reinstated' | 'not-invalid' }>
}

/** When an address is given up, and for how long. */
export interface AddressHealthRule {
  /** 3 unless given, at most 10. */
  readonly hardBouncesMax?: number
  /** 30 days unless given. */
  readonly windowMs?: number
  /** After this long without a bounce an accepted mail is a success. 4 hours unless given: a relay's first few attempts. */
  readonly settleMs?: number
  /** 180 days unless given: addresses are given to somebody else after a while, and mailboxes come back. */
  readonly invalidMs?: number
}

const YEAR_MS = days(365)

/** The rule as options have it, to spread into a factory's own schema. */
export const ruleShape = {
  hardBouncesMax: z.int().min(1).max(10).exactOptional(),
  windowMs: z.int().min(hours(1)).max(YEAR_MS).exactOptional(),
  settleMs: z.int().min(0).max(days(14)).exactOptional(),
  invalidMs: z
    .int()
    .min(hours(1))
    .max(YEAR_MS * 10)
    .exactOptional()
}

export type WholeRule = Required<AddressHealthRule>

export function wholeRule(rule: AddressHealthRule): WholeRule {
  const { hardBouncesMax = 3, windowMs = days(30), settleMs = hours(4), invalidMs = days(180) } = rule
  return { hardBouncesMax, windowMs, settleMs, invalidMs }
}

/**
 * A mail is remembered for this long at least, which no return path outlives: a bounce that is sent again later is refused
 * as expired.
 */
export const MAIL_KEPT_MIN_MS = days(30)

export const mailKeptMs = ({ windowMs }: WholeRule): number => Math.max(windowMs, MAIL_KEPT_MIN_MS)

/** What is stored of an address that has ever bounced; there is nothing of the others. Instants are the store's. */
export interface AddressRecord {
  /** Hard bounces until then count no more. */
  readonly countedFrom: number
  /** The first mail that was accepted since the last success: the next success, if it does not bounce. */
  readonly accepted: { readonly messageId: string; readonly at: number } | undefined
  readonly invalidSince: number | undefined
}

export const blankRecord: AddressRecord = { countedFrom: 0, accepted: undefined, invalidSince: undefined }

/** The record as it stands at `now`: a success that has settled and an exclusion that is over are worked in. */
export function recordAt(record: AddressRecord, rule: WholeRule, now: number): AddressRecord {
  const { accepted, invalidSince } = record
  if (invalidSince !== undefined && invalidSince + rule.invalidMs <= now) {
    return { ...blankRecord, countedFrom: invalidSince }
  }
  if (accepted === undefined || accepted.at + rule.settleMs > now) return record
  return { ...record, countedFrom: Math.max(record.countedFrom, accepted.at), accepted: undefined }
}

/** The instant after which hard bounces count. */
export const countedAfter = (record: AddressRecord, rule: WholeRule, now: number): number =>
  Math.max(record.countedFrom, now - rule.windowMs)

/** `hardBounces`: those after `countedAfter`. */
export function standingOf(record: AddressRecord, hardBounces: number, rule: WholeRule): AddressStanding {
  const { invalidSince } = record
  if (invalidSince === undefined) return { outcome: 'usable', hardBounces }
  return { outcome: 'invalid', since: invalidSince, until: invalidSince + rule.invalidMs }
}

/** A server took the mail: the next success, unless an earlier one is waiting to be that. */
export function withAcceptance(record: AddressRecord, messageId: string, now: number): AddressRecord {
  if (record.accepted !== undefined || record.invalidSince !== undefined) return record
  return { ...record, accepted: { messageId, at: now } }
}

/** `hardBounces` counts this one. */
export function withHardBounce(
  record: AddressRecord,
  bounce: { readonly messageId: string; readonly hardBounces: number },
  rule: WholeRule,
  now: number
): AddressRecord {
  const accepted = record.accepted?.messageId === bounce.messageId ? undefined : record.accepted
  const isOver = bounce.hardBounces >= rule.hardBouncesMax
  return { ...record, accepted, invalidSince: record.invalidSince ?? (isOver ? now : undefined) }
}

/** As long as the record may matter: while a bounce that it counts, or says not to count, is in the window. */
export const recordKeptUntil = ({ invalidSince }: AddressRecord, rule: WholeRule, now: number): number =>
  Math.max(now + rule.windowMs, invalidSince === undefined ? 0 : invalidSince + rule.invalidMs)

const FINDINGS = ['accepted', 'soft', 'refused', 'hard'] as const

const addressSchema: z.ZodType<string> = z.string().transform((text, context) => {
  const address = normalisedAddress(text)
  if (address !== undefined) return address
  context.addIssue('must be a mail address')
  return z.NEVER
})

const idSchema: z.ZodType<string> = z
  .string()
  .min(1)
  .max(256)
  .refine((text) => text.isWellFormed() && !text.includes('\0'), 'must be well-formed and without NUL')

const mailSchema: z.ZodType<MailId> = z.strictObject({ address: addressSchema, messageId: idSchema })

/** Several times what one digest has. */
const INVITATIONS_MAX = 100

const invitationsSchema: z.ZodType<readonly MailedInvitation[]> = z
  .array(z.strictObject({ requestId: idSchema, invitationId: idSchema }))
  .max(INVITATIONS_MAX)

const findingSchema: z.ZodType<MailFinding> = z.enum(FINDINGS)

/** The address in its normalised form. Every store refuses the same calls, before it asks anybody: `INVALID_OPTIONS`. */
export const checkAddress = (subject: string, address: string): string => parseOptions(addressSchema, subject, address)

/** As `checkAddress`, of a mail. */
export const checkMail = (subject: string, mail: MailId): MailId => parseOptions(mailSchema, subject, mail)

export const checkMessageId = (subject: string, messageId: string): string => parseOptions(idSchema, subject, messageId)

export const checkInvitations = (
  subject: string,
  invitations: readonly MailedInvitation[]
): readonly MailedInvitation[] => parseOptions(invitationsSchema, subject, invitations)

export const checkFinding = (subject: string, finding: MailFinding): MailFinding =>
  parseOptions(findingSchema, subject, finding)
