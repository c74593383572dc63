import {
  CoreError,
  isSuiteError,
  minutes,
  type Platform,
  parseOptions,
  reporter,
  systemPlatform
} from '@enablement/core'
import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js'
import { z } from 'zod'
import type { Addressee, Channel, DeliveryOutcome, Digest, Invitation, VerdictNotice } from '../channel/channel.ts'
import { OversightError } from '../oversight-error.ts'
import type { AddressHealth, MailedInvitation, MailTrace } from './address-health.ts'
import type { EmailEvent } from './email-event.ts'
import { type Letter, plainLine } from './letter.ts'
import { type InvitationLinks, letterFor, type Occasion, type ShowInstant } from './letter-content.ts'
import { addressSchema, normalisedAddress } from './mail-address.ts'
import { type Handover, handOver, type MailTransport } from './mail-transport.ts'
import type { MailKind, ReturnPath } from './return-path.ts'

export interface EmailChannelOptions {
  /** Nodemailer's transporter. It stays the user's to close. */
  readonly transport: MailTransport
  /** Whom the mails are from. */
  readonly from: { readonly name: string; readonly address: string }
  /** Which addresses bounce. Every channel of a system, and its bounce intake, should have the same. */
  readonly health: AddressHealth
  /** Where mails that cannot be delivered come back to; `none`: to `from`, where nobody counts them. */
  readonly returnPath: ReturnPath | 'none'
  /** Whether those who were invited get a mail that says how it ended. */
  readonly verdicts: 'mail' | 'none'
  /**
   * The pages that a mail points to, as http or https URLs. Opening one must not decide anything: programs that guard
   * mailboxes open every link. Without it the mail has none.
   */
  readonly linksOf?: (invitation: Invitation) => InvitationLinks | Promise<InvitationLinks>
  /**
   * Rewrites a letter, in another language for instance. What it returns as `html` goes out as it is: escape what comes
   * from the occasion.
   */
  readonly compose?: (occasion: Occasion, letter: Letter) => Letter
  /** The IANA time zone of the instants in a mail; UTC unless given. */
  readonly timeZone?: string
  /** How long to wait after the first soft failure, and twice as long after the second. */
  readonly waits?: {
    /** After any but greylisting: 1 minute unless given. */
    readonly softMs?: number
    /** After greylisting, whose servers commonly want 5 minutes: 6 minutes unless given. */
    readonly greylistedMs?: number
  }
  readonly platform?: Platform
  /** Is told of what happens. What it throws is dropped. */
  readonly observe?: (event: EmailEvent) => void
}

/** OV-5: of one mail, to one address. */
const SOFT_FAILURES_MAX = 3

/** Of one approver: the address and two alternatives. */
const ADDRESSES_MAX = 3

/**
 * The third failure of an address and the first attempt at the next are made in one call. Seven calls with the kernel's usual
 * pauses are a minute, after which a server that is down counts as unreachable.
 */
const ATTEMPTS_MAX = SOFT_FAILURES_MAX + (ADDRESSES_MAX - 1) * (SOFT_FAILURES_MAX - 1)

/** Waits are longer by up to this part, so that mails that were refused together do not come back together. */
const JITTER_RATIO = 0.1

const HEADERS = {
  // RFC 3834 §5: no vacation notes, please; and the same for Exchange.
  'Auto-Submitted': 'auto-generated',
  'X-Auto-Response-Suppress': 'All'
}

const isObject = (value: unknown): boolean => typeof value === 'object' && value !== null

const optionsSchema: z.ZodType<EmailChannelOptions> = z.strictObject({
  transport: z.custom<MailTransport>(
    (value) => isObject(value) && typeof (value as MailTransport).sendMail === 'function',
    'must have sendMail'
  ),
  from: z.strictObject({ name: z.string().max(128), address: addressSchema }),
  health: z.custom<AddressHealth>(
    (value) => isObject(value) && 'record' in (value as object),
    'must be address health'
  ),
  returnPath: z.union([
    z.literal('none'),
    z.custom<ReturnPath>((value) => isObject(value) && 'addressFor' in (value as object), 'must be a return path')
  ]),
  verdicts: z.enum(['mail', 'none']),
  linksOf: z
    .custom<NonNullable<EmailChannelOptions['linksOf']>>((value) => typeof value === 'function')
    .exactOptional(),
  compose: z
    .custom<NonNullable<EmailChannelOptions['compose']>>((value) => typeof value === 'function')
    .exactOptional(),
  timeZone: z.string().refine(isTimeZone, 'must be an IANA time zone').exactOptional(),
  waits: z
    .strictObject({
      softMs: z.int().min(1_000).max(3_600_000).exactOptional(),
      greylistedMs: z.int().min(1_000).max(3_600_000).exactOptional()
    })
    .exactOptional(),
  platform: z.custom<Platform>(isObject).exactOptional(),
  observe: z.custom<NonNullable<EmailChannelOptions['observe']>>((value) => typeof value === 'function').exactOptional()
})

/** A mail on its way to one of an approver's addresses. */
interface Errand {
  readonly kind: MailKind
  /** The kernel's, the same for each attempt. */
  readonly id: string
  readonly approver: Addressee
  /** What it asks about. */
  readonly invitations: readonly MailedInvitation[]
  /** Of the mail that this one belongs to. */
  readonly thread: string | undefined
  readonly letter: Letter
}

/**
 * Asks approvers by e-mail, and tells them how it ended (OV-5). A soft failure is tried again twice, after growing waits;
 * then, as after a hard bounce at once, the approver's next address is used, and after the last one the approver counts as
 * unreachable. Addresses that are invalid are left out. A server that is not reached is tried again by the kernel, and
 * counts against no address.
 *
 * `deliver` throws what `health` and `linksOf` throw, and `INVALID_OPTIONS` for a link that is none.
 */
export function emailChannel(options: EmailChannelOptions): Channel {
  const {
    transport,
    from,
    health,
    returnPath,
    verdicts,
    linksOf,
    compose = (_: Occasion, letter: Letter) => letter,
    timeZone = 'UTC',
    waits: { softMs = minutes(1), greylistedMs = minutes(6) } = {},
    platform = systemPlatform,
    observe
  } = parseOptions(optionsSchema, 'emailChannel', options)
  const { clock, random } = platform
  const report = reporter(observe)
  const showInstant = instantsIn(timeZone)
  const sender = { name: plainLine(from.name, 128), address: from.address }
  const idDomain = (normalisedAddress(from.address) as string).split('@')[1] as string

  /** Of the kernel's id alone, so that a mail that goes out twice is one to programs that know it by this. */
  const messageIdOf = (id: string): string =>
    `<oversight.${bytesToHex(sha256(utf8ToBytes(id))).slice(0, 32)}@${idDomain}>`

  const addressesOf = ({ id, address, alternatives }: Addressee): readonly string[] => {
    const found = new Set<string>()
    for (const given of [address, ...alternatives].slice(0, ADDRESSES_MAX)) {
      const normalised = normalisedAddress(given)
      if (normalised === undefined) report({ type: 'email.address-malformed', approver: id })
      else found.add(normalised)
    }
    return [...found]
  }

  const send = async (errand: Errand, address: string, signal: AbortSignal): Promise<Handover> => {
    const { kind, id, approver, thread, letter } = errand
    const handover = await handOver(transport, {
      from: sender,
      to: { name: plainLine(approver.name, 128), address },
      subject: plainLine(letter.subject, 250),
      text: letter.text,
      html: letter.html,
      messageId: messageIdOf(id),
      ...(thread === undefined ? {} : { inReplyTo: thread, references: thread }),
      date: new Date(clock.now()).toUTCString().replace('GMT', '+0000'),
      envelope: {
        from: returnPath === 'none' ? from.address : returnPath.addressFor({ kind, id, address }),
        to: address
      },
      headers: HEADERS,
      xMailer: false,
      disableFileAccess: true,
      disableUrlAccess: true,
      signal
    })
    if (handover.outcome === 'accepted') report({ type: 'email.accepted', id, address })
    else if (handover.outcome === 'unsent') report({ type: 'email.unsent', id, code: handover.code })
    else {
      const { stage, finding, code } = handover
      report({ type: 'email.refused', id, address: stage === 'session' ? undefined : address, finding, code })
    }
    return handover
  }

  /** Takes in what a server said of an address. Soft failures until now, this one included. */
  const remember = async (
    mail: { readonly address: string; readonly messageId: string },
    finding: 'soft' | 'refused' | 'hard'
  ): Promise<number> => {
    const { standing, softFailures, outcome } = await health.record(mail, finding)
    if (finding === 'hard' && outcome === 'recorded' && standing.outcome === 'invalid') {
      report({ type: 'email.address-invalid', address: mail.address, until: standing.until })
    }
    return softFailures
  }

  const rememberSuccess = async (address: string, messageId: string): Promise<void> => {
    try {
      await health.record({ address, messageId }, 'accepted')
    } catch (error) {
      // The mail is out: failing now would only send it again.
      report({ type: 'email.success-unrecorded', address, code: isSuiteError(error) ? error.code : 'unknown' })
    }
  }

  const waitAfter = (finding: 'soft' | 'greylisted', failures: number): number => {
    const baseMs = finding === 'greylisted' ? greylistedMs : softMs
    return Math.round(baseMs * 2 ** (failures - 1) * (1 + random.float() * JITTER_RATIO))
  }

  const bring = async (errand: Errand, signal: AbortSignal): Promise<DeliveryOutcome> => {
    const { id, approver, invitations } = errand
    const messageIds = new Set([id, ...invitations.map(({ invitationId }) => invitationId)])
    const reasons: string[] = []
    for (const address of addressesOf(approver)) {
      const mail = { address, messageId: id }
      const traces = await Promise.all([...messageIds].map((messageId) => health.trace({ address, messageId })))
      const [{ standing, softFailures }] = traces as [MailTrace]
      if (standing.outcome === 'invalid') {
        reasons.push('bounced too often')
        continue
      }
      // By an attempt before this one, or what it asks about came back from there in another mail.
      if (traces.some(({ ended }) => ended) || softFailures >= SOFT_FAILURES_MAX) {
        reasons.push('refused before')
        continue
      }
      // Before the mail is out, so that it is known whatever becomes of this process.
      if (returnPath !== 'none' && invitations.length > 0) await health.enter(mail, invitations)
      const handover = await send(errand, address, signal)
      if (handover.outcome === 'accepted') {
        await rememberSuccess(address, id)
        return { outcome: 'delivered', receipt: `${messageIdOf(id)} ${address} ${id}` }
      }
      if (handover.outcome === 'unsent') {
        return { outcome: 'retry', reason: `the mail server did not answer: ${handover.code}` }
      }
      const { stage, finding, code } = handover
      reasons.push(`${code} (${finding})`)
      if (stage === 'session') {
        // Any other address would be refused as well.
        if (finding === 'sender') return { outcome: 'unreachable', reason: `the mail server refused to serve: ${code}` }
        return { outcome: 'retry', reason: `the mail server refused to serve: ${code}`, afterMs: waitAfter('soft', 1) }
      }
      if (finding === 'unknown') return { outcome: 'retry', reason: `the mail server answered: ${code}` }
      if (finding === 'hard') await remember(mail, 'hard')
      else if (finding === 'sender') await remember(mail, 'refused')
      else {
        const failures = await remember(mail, 'soft')
        if (failures < SOFT_FAILURES_MAX) {
          return { outcome: 'retry', reason: `refused for now: ${code}`, afterMs: waitAfter(finding, failures) }
        }
      }
    }
    return { outcome: 'unreachable', reason: reasons.length === 0 ? 'no mail address' : reasons.join(', ') }
  }

  const linksFor = async (invitation: Invitation): Promise<InvitationLinks | undefined> => {
    if (linksOf === undefined) return undefined
    const { open, approve, deny } = await linksOf(invitation)
    return {
      open: checkedLink('open', open),
      ...(approve === undefined ? {} : { approve: checkedLink('approve', approve) }),
      ...(deny === undefined ? {} : { deny: checkedLink('deny', deny) })
    }
  }

  const written = (occasion: Occasion): Letter => compose(occasion, letterFor(occasion, showInstant))

  /** The invitation that a reminder is of, which the kernel's reminders do not name. */
  const remindedOf = async (sent: Receipt | undefined, requestId: string): Promise<readonly MailedInvitation[]> => {
    if (sent === undefined || returnPath === 'none') return []
    const entry = (await health.entries(sent.id)).find(({ address }) => address === sent.address)
    return (entry?.invitations ?? []).filter((one) => one.requestId === requestId)
  }

  const deliver = async (invitation: Invitation, signal: AbortSignal): Promise<DeliveryOutcome> => {
    const { id, kind, requestId, approver } = invitation
    const sent = receiptOf(invitation.receipt)
    const invitations = kind === 'invitation' ? [{ requestId, invitationId: id }] : await remindedOf(sent, requestId)
    const letter = written({ kind: 'invitation', invitation, links: await linksFor(invitation) })
    return bring({ kind: 'invitation', id, approver, invitations, thread: sent?.messageId, letter }, signal)
  }

  const deliverDigest = async (digest: Digest, signal: AbortSignal): Promise<DeliveryOutcome> => {
    const { id, approver } = digest
    const links = await Promise.all(digest.invitations.map(linksFor))
    const invitations = digest.invitations.map((one) => ({ requestId: one.requestId, invitationId: one.id }))
    const letter = written({ kind: 'digest', digest, links })
    return bring({ kind: 'digest', id, approver, invitations, thread: undefined, letter }, signal)
  }

  const notify = async (notice: VerdictNotice, signal: AbortSignal): Promise<void> => {
    const { id, approver, receipt } = notice
    const told = receiptOf(receipt)
    // To where the invitation was; whoever has it there should know.
    const to = told === undefined ? approver : { ...approver, address: told.address, alternatives: [] }
    const errand = {
      kind: 'notice',
      id,
      approver: to,
      invitations: [],
      thread: told?.messageId,
      letter: written({ kind: 'notice', notice })
    } as const
    const outcome = await bring(errand, signal)
    if (outcome.outcome !== 'retry') return
    const { reason, afterMs } = outcome
    throw new OversightError('CHANNEL_FAILED', `a mail about a verdict was not taken: ${reason}`, {
      reason,
      ...(afterMs === undefined ? {} : { retryAfterMs: afterMs })
    })
  }

  return {
    attemptsMax: ATTEMPTS_MAX,
    async reachability(approver) {
      const addresses = addressesOf(approver)
      for (const address of addresses) {
        if ((await health.standing(address)).outcome === 'usable') return { outcome: 'reachable' }
      }
      const reason = addresses.length === 0 ? 'no mail address' : 'every address has bounced too often'
      return { outcome: 'unreachable', reason }
    },
    deliver: (invitation, { signal }) => deliver(invitation, signal),
    digest: (digest, { signal }) => deliverDigest(digest, signal),
    ...(verdicts === 'mail' ? { update: (notice, { signal }) => notify(notice, signal) } : {})
  }
}

/** What `deliver` gave: the mail's `Message-ID`, where it went, and the kernel's id of it. */
interface Receipt {
  readonly messageId: string
  readonly address: string
  readonly id: string
}

function receiptOf(receipt: string | undefined): Receipt | undefined {
  const [, messageId, address, id] = /^(<[^<>\s]+>) (\S+) (\S{1,256})$/.exec(receipt ?? '') ?? []
  if (messageId === undefined || address === undefined || id === undefined) return undefined
  return normalisedAddress(address) === address ? { messageId, address, id } : undefined
}

function checkedLink(name: string, link: string): string {
  if (URL.canParse(link) && /^https?:$/.test(new URL(link).protocol)) return new URL(link).href
  const message = 'must be an http or https URL'
  throw new CoreError('INVALID_OPTIONS', `linksOf gave no link: ${name} ${message}`, {
    subject: 'emailChannel.linksOf',
    issues: [{ path: name, message }]
  })
}

function isTimeZone(timeZone: string): boolean {
  try {
    return new Intl.DateTimeFormat('en', { timeZone }).resolvedOptions().timeZone !== ''
  } catch {
    return false
  }
}

/** `Tue, 24 Nov 2026, 15:12 GMT+1`: with the day of the week, because people err by a day, and with the zone. */
function instantsIn(timeZone: string): ShowInstant {
  const format = new Intl.DateTimeFormat('en-GB', {
    timeZone,
    weekday: 'short',
    day: 'numeric',
    month: 'short',
    year: 'numeric',
    hour: '2-digit',
    minute: '2-digit',
    timeZoneName: 'short'
  })
  return (at) => format.format(at)
}
