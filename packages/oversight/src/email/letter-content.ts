import type { JsonValue } from '@enablement/core'
import type { Digest, Invitation, VerdictNotice } from '../channel/channel.ts'
import type { Risk } from '../policy/risk.ts'
import { type Letter, type Passage, plainLine, renderedLetter } from './letter.ts'

/** Pages that a mail points to. A link opens a page; nothing is decided by opening one. */
export interface InvitationLinks {
  /** Where the request is shown in full. */
  readonly open: string
  /** Where it can be approved, and where it can be denied, each after one more look. */
  readonly approve?: string
  readonly deny?: string
}

/** What a letter is about. */
export type Occasion =
  | { readonly kind: 'invitation'; readonly invitation: Invitation; readonly links: InvitationLinks | undefined }
  | {
      readonly kind: 'digest'
      readonly digest: Digest
      /** One for each invitation, in their order. */
      readonly links: readonly (InvitationLinks | undefined)[]
    }
  | { readonly kind: 'notice'; readonly notice: VerdictNotice }

/** Shows an instant, given in epoch milliseconds, to a person. */
export type ShowInstant = (at: number) => string

/** Subjects are cut off by most programs after some 70 characters; this is for the ones that are not. */
const SUBJECT_MAX = 150
const SUMMARY_MAX = 1_000
const NAME_MAX = 128
/** Of the excerpt this is shown: enough to decide whether to look, and no book in a mail. */
const FIELDS_MAX = 20
const VALUE_MAX = 300

const NOT_BY_REPLY = 'Opening a link decides nothing: you decide on the page. Replies to this mail are not read.'

/** What the mail says of an occasion. Everything that an agent or a person wrote is cut and made one plain line. */
export function letterFor(occasion: Occasion, showInstant: ShowInstant): Letter {
  switch (occasion.kind) {
    case 'invitation':
      return invitationLetter(occasion.invitation, occasion.links, showInstant)
    case 'digest':
      return digestLetter(occasion.digest, occasion.links, showInstant)
    case 'notice':
      return noticeLetter(occasion.notice, showInstant)
  }
}

/** The same for an invitation, its reminders and its notice but for the `Re:`, as programs thread by it too. */
const subjectOf = (summary: string): string =>
  plainLine(`Approval needed: ${plainLine(summary, SUMMARY_MAX)}`, SUBJECT_MAX)

function invitationLetter(
  invitation: Invitation,
  links: InvitationLinks | undefined,
  showInstant: ShowInstant
): Letter {
  const { kind, summary, version, excerpt, approver } = invitation
  const isReminder = kind === 'reminder'
  const subject = isReminder && invitation.receipt !== undefined ? `Re: ${subjectOf(summary)}` : subjectOf(summary)
  const name = plainLine(approver.name, NAME_MAX)
  const asked = isReminder ? 'your decision is still needed' : 'your decision is needed'
  return renderedLetter(subject, [
    { kind: 'heading', text: isReminder ? 'Reminder: approval needed' : 'Approval needed' },
    { kind: 'paragraph', text: `Hello ${name}, ${asked}. The agent says what it wants to do:` },
    { kind: 'quotation', text: plainLine(summary, SUMMARY_MAX) },
    { kind: 'facts', facts: factsOf(invitation, showInstant) },
    ...(version > 1
      ? [
          {
            kind: 'paragraph',
            text: `This is version ${version}: what is asked was edited since it was asked first.`
          } as const
        ]
      : []),
    ...excerptOf(excerpt),
    ...linksTo(links),
    { kind: 'paragraph', text: NOT_BY_REPLY }
  ])
}

function factsOf(invitation: Invitation, showInstant: ShowInstant): (readonly [string, string])[] {
  const { action, risk, requestedBy, context, escalatesAt, deadlineAt } = invitation
  const agent = plainLine(requestedBy.agent, NAME_MAX)
  const facts: (readonly [string, string])[] = [
    ['Action', plainLine(action, NAME_MAX)],
    ['Risk', risk],
    [
      'Asked by',
      requestedBy.onBehalfOf === undefined
        ? agent
        : `${agent}, on behalf of ${plainLine(requestedBy.onBehalfOf, NAME_MAX)}`
    ]
  ]
  if (context?.outcome === 'stale') {
    facts.push(['Caution', `the agent asked on what it knew ${durationOf(context.ageMs)} before`])
  } else if (context?.outcome === 'unavailable') {
    facts.push(['Caution', `the agent asked without what it knew before: ${plainLine(context.reason, VALUE_MAX)}`])
  }
  if (escalatesAt !== undefined) facts.push(['Others are asked', showInstant(escalatesAt)])
  if (deadlineAt !== undefined) facts.push(['Too late', showInstant(deadlineAt)])
  return facts
}

const UNITS = [
  [86_400_000, 'day'],
  [3_600_000, 'hour'],
  [60_000, 'minute'],
  [1_000, 'second']
] as const

/** In its largest unit, rounded down: `3 hours`. */
function durationOf(durationMs: number): string {
  const [unitMs, unit] = UNITS.find(([length]) => durationMs >= length) ?? ([1_000, 'second'] as const)
  const count = Math.floor(durationMs / unitMs)
  return `${count} ${unit}${count === 1 ? '' : 's'}`
}

function excerptOf(excerpt: Invitation['excerpt']): readonly Passage[] {
  const members = Object.entries(excerpt)
  if (members.length === 0) return []
  const facts = members.slice(0, FIELDS_MAX).map(([name, value]) => [plainLine(name, NAME_MAX), shown(value)] as const)
  const left = members.length - facts.length
  const more = {
    kind: 'paragraph',
    text: `${left} more ${left === 1 ? 'field is' : 'fields are'} on the page.`
  } as const
  return [{ kind: 'paragraph', text: 'In detail:' }, { kind: 'quoted-facts', facts }, ...(left > 0 ? [more] : [])]
}

const shown = (value: JsonValue): string =>
  plainLine(typeof value === 'string' ? value : JSON.stringify(value), VALUE_MAX)

function linksTo(links: InvitationLinks | undefined): readonly Passage[] {
  if (links === undefined) return [{ kind: 'paragraph', text: 'Open your approvals to decide.' }]
  const { open, approve, deny } = links
  const shownLinks: (readonly [string, string])[] = [['See the request in full', open]]
  if (approve !== undefined) shownLinks.push(['Go on to approve', approve])
  if (deny !== undefined) shownLinks.push(['Go on to deny', deny])
  return [{ kind: 'links', links: shownLinks }]
}

/** The most harm first. */
const RISK_ORDER: readonly Risk[] = ['critical', 'high', 'medium', 'low']

function digestLetter(
  { approver, invitations, more }: Digest,
  links: readonly (InvitationLinks | undefined)[],
  showInstant: ShowInstant
): Letter {
  const total = invitations.length + more
  const risk = RISK_ORDER.find((one) => invitations.some((invitation) => invitation.risk === one)) ?? 'low'
  const passages = invitations.flatMap((invitation, at): Passage[] => [
    { kind: 'quotation', text: `${at + 1}. ${plainLine(invitation.summary, VALUE_MAX)}` },
    { kind: 'facts', facts: factsOf(invitation, showInstant) },
    ...linksTo(links[at])
  ])
  return renderedLetter(`Approval needed: ${total} requests, risk up to ${risk}`, [
    { kind: 'heading', text: `${total} approvals needed` },
    {
      kind: 'paragraph',
      text: `Hello ${plainLine(approver.name, NAME_MAX)}, your decision is needed on ${total} requests. The agents say what they want to do:`
    },
    ...passages,
    ...(more > 0 ? [{ kind: 'paragraph', text: `${more} more are waiting.` } as const] : []),
    { kind: 'paragraph', text: NOT_BY_REPLY }
  ])
}

function noticeLetter({ summary, action, verdict }: VerdictNotice, showInstant: ShowInstant): Letter {
  const facts: (readonly [string, string])[] = [['Action', plainLine(action, NAME_MAX)]]
  if ('by' in verdict) facts.push(['Decided by', plainLine(verdict.by, NAME_MAX)])
  if ('reason' in verdict) facts.push(['Reason', plainLine(verdict.reason, VALUE_MAX)])
  if ('decidedAt' in verdict) facts.push(['When', showInstant(verdict.decidedAt)])
  return renderedLetter(`Re: ${subjectOf(summary)}`, [
    { kind: 'heading', text: HEADINGS[verdict.outcome] },
    { kind: 'quotation', text: plainLine(summary, SUMMARY_MAX) },
    { kind: 'facts', facts },
    { kind: 'paragraph', text: OUTCOMES[verdict.outcome] }
  ])
}

const HEADINGS: Readonly<Record<VerdictNotice['verdict']['outcome'], string>> = {
  approved: 'Approved',
  denied: 'Denied',
  revoked: 'Taken back',
  'timed-out': 'Not decided in time',
  cancelled: 'No longer asked',
  superseded: 'Changed'
}

const OUTCOMES: Readonly<Record<VerdictNotice['verdict']['outcome'], string>> = {
  approved: 'There is nothing left for you to do.',
  denied: 'There is nothing left for you to do.',
  revoked: 'The approval was taken back before it was used. There is nothing left for you to do.',
  'timed-out': 'Nobody decided before the deadline. There is nothing left for you to do.',
  cancelled: 'The request was withdrawn. There is nothing left for you to do.',
  superseded: 'What is asked was edited. The invitation before this mail no longer counts, and another one follows.'
}
