import type { JsonObject, Requester, Verdict } from '@enablement/core'
import type { Digest, Invitation, VerdictNotice } from '../channel/channel.ts'
import { isAtLeast, type Risk } from '../policy/risk.ts'
import type { ContextStatus } from '../request/context-status.ts'
import { type Block, button, caption, captions, header, isCut, plain, section, words } from './slack-blocks.ts'
import { APPROVE, DENY, OPEN, REVIEW } from './slack-button.ts'
import { dateToken, escaped, shownOnOneLine, spanText } from './slack-text.ts'

/** What `chat.postMessage` and `chat.update` are given, but for where it goes. */
export interface SlackMessage {
  /** For notifications and screen readers. */
  readonly text: string
  readonly blocks: readonly Block[]
  readonly metadata?: JsonObject
}

/** What of a request is shown; an `Invitation` and a `RequestView` have it. */
interface ShownRequest {
  readonly action: string
  readonly summary: string
  readonly risk: Risk
  readonly requestedBy: Requester
  readonly context: ContextStatus | undefined
  readonly deadlineAt: number | undefined
}

/** The same, with what would be done. */
export interface DetailedRequest extends ShownRequest {
  readonly version: number
  readonly excerpt: JsonObject
}

/** Where the request can be looked at in full, by request. */
export type InboxUrl = (request: { readonly requestId: string; readonly tenant: string }) => string

const SUMMARY_LENGTH_MAX = 2_000
const REASON_LENGTH_MAX = 2_000
const NOTIFICATION_LENGTH_MAX = 300

/** Of a digest's entries, cut further where they do not fit together. */
const ENTRY_LENGTH_MAX = 400
const ENTRY_LENGTH_MIN = 40

/**
 * A message whose blocks are longer is refused as `msg_blocks_too_long`. Slack does not document where that begins; others
 * met it at 13,172 characters of JSON (slackapi/bolt-js#2509).
 */
const BLOCKS_LENGTH_MAX = 11_000

export function invitationMessage(invitation: Invitation, inboxUrl: InboxUrl | undefined): SlackMessage {
  const { id, requestId, tenant, argumentHash, approver, version, excerpt, risk, escalatesAt, deadlineAt } = invitation
  const value = { requestId, approver: approver.id, argumentHash }
  const approve = button(APPROVE, 'Approve', value, {
    style: 'primary',
    ...(isAtLeast(risk, 'high') ? { confirm: confirmation(risk) } : {})
  })
  const deny = button(DENY, 'Deny…', value, { style: 'danger' })
  const open = inboxUrl === undefined ? [] : [openButton(inboxUrl({ requestId, tenant }))]
  // A deadline that the next tier meets is no news of its own.
  const escalates = escalatesAt === undefined || escalatesAt === deadlineAt ? undefined : escalatesAt
  return {
    ...titled(`Approve ${invitation.action}?`, invitation.summary),
    blocks: [
      header(`Approve ${invitation.action}?`),
      section(invitation.summary, SUMMARY_LENGTH_MAX),
      ...excerptSections(excerpt),
      captions([...facts(invitation), caption(`For ${approver.name}`), ...escalation(escalates)]),
      { type: 'actions', block_id: requestId, elements: [approve, deny, ...open] }
    ],
    metadata: {
      event_type: 'oversight_invitation',
      event_payload: { request_id: requestId, invitation_id: id, version }
    }
  }
}

/** Goes under the invitation, which has the buttons. */
export function reminderMessage(invitation: Invitation): SlackMessage {
  const { action, summary, approver, deadlineAt } = invitation
  return {
    ...titled(`Still waiting for you: ${action}`, summary),
    blocks: [
      section(`Still waiting for ${approver.name}: ${shownOnOneLine(summary)}`, SUMMARY_LENGTH_MAX),
      ...(deadlineAt === undefined ? [] : [captions([deadline(deadlineAt)])])
    ]
  }
}

/** A request in a digest: asked, or answered already. */
export interface DigestEntry extends ShownRequest {
  readonly requestId: string
  readonly verdict: Verdict | undefined
}

/** Entries have a button that opens a form with the request as it is by then, so that a digest never asks for what is past. */
export function digestMessage(
  digest: { readonly id?: string; readonly approver: string; readonly more: number },
  entries: readonly DigestEntry[]
): SlackMessage {
  const open = entries.filter(({ verdict }) => verdict === undefined)
  const earliest = Math.min(...open.map(({ deadlineAt }) => deadlineAt ?? Number.POSITIVE_INFINITY))
  const title =
    open.length === 0 ? 'All of these are answered' : `${open.length + digest.more} approvals are waiting for you`
  const notes = [
    ...(digest.more > 0 ? [words(`${digest.more} more are not listed here.`)] : []),
    ...(Number.isFinite(earliest) ? [words(`The first has to be decided by ${dateToken(earliest)}.`)] : [])
  ]
  const blocksOf = (lengthMax: number): readonly Block[] => [
    header(title),
    ...entries.map((entry) => entryBlock(entry, digest.approver, lengthMax)),
    ...(notes.length === 0 ? [] : [captions(notes)])
  ]
  let lengthMax = ENTRY_LENGTH_MAX
  let blocks = blocksOf(lengthMax)
  while (JSON.stringify(blocks).length > BLOCKS_LENGTH_MAX && lengthMax > ENTRY_LENGTH_MIN) {
    lengthMax -= ENTRY_LENGTH_MIN
    blocks = blocksOf(lengthMax)
  }
  const requestIds = entries.map(({ requestId }) => requestId)
  return {
    ...titled(title, ''),
    blocks,
    ...(digest.id === undefined
      ? {}
      : {
          metadata: {
            event_type: 'oversight_digest',
            event_payload: { digest_id: digest.id, request_ids: requestIds }
          }
        })
  }
}

export const digestEntries = ({ invitations }: Digest): readonly DigestEntry[] =>
  invitations.map((invitation) => ({ ...invitation, verdict: undefined }))

function entryBlock(entry: DigestEntry, approver: string, lengthMax: number): Block {
  const { requestId, action, risk, requestedBy, summary, verdict, context } = entry
  if (verdict !== undefined) {
    return section(`✓ ${verdictTitle(verdict)}: ${action}, ${shownOnOneLine(summary)}`, lengthMax)
  }
  const blind = context === undefined || context.outcome === 'complete' ? '' : ', asked without full context'
  const text = `${action} (${risk} risk, by ${requestedBy.agent}${blind}): ${summary}`
  return {
    type: 'section',
    block_id: requestId,
    text: plain(shownOnOneLine(text), lengthMax),
    accessory: button(REVIEW, 'Review…', { requestId, approver })
  }
}

/** What stands where an invitation was: nothing to click, and who decided what and when. */
export function verdictMessage(
  request: { readonly action: string; readonly summary: string },
  verdict: VerdictNotice['verdict']
): SlackMessage {
  const title = verdictTitle(verdict)
  const at = 'decidedAt' in verdict ? [words(dateToken(verdict.decidedAt))] : []
  const reason = 'reason' in verdict ? [section(`Reason: ${verdict.reason}`, REASON_LENGTH_MAX)] : []
  return {
    ...titled(`${title}: ${request.action}`, request.summary),
    blocks: [
      header(request.action),
      section(request.summary, SUMMARY_LENGTH_MAX),
      ...reason,
      captions([caption(title), ...at])
    ]
  }
}

/** What stands there while others still have to vote. */
export function votedMessage(
  request: { readonly action: string; readonly summary: string },
  decision: 'approve' | 'deny'
): SlackMessage {
  const title = `You ${decision === 'approve' ? 'approved' : 'denied'} this; others are still asked.`
  return {
    ...titled(`${title} ${request.action}`, request.summary),
    blocks: [header(request.action), section(request.summary, SUMMARY_LENGTH_MAX), captions([caption(title)])]
  }
}

export function verdictTitle(verdict: VerdictNotice['verdict']): string {
  switch (verdict.outcome) {
    case 'approved':
      return `Approved by ${verdict.by}`
    case 'denied':
      return `Denied by ${verdict.by}`
    case 'revoked':
      return `Taken back by ${verdict.by}`
    case 'timed-out':
      return 'Nobody decided in time'
    case 'cancelled':
      return 'Withdrawn'
    case 'superseded':
      return 'Changed since; another message asks what is asked now'
  }
}

/** What would be done, as far as messages may carry it. */
export function excerptSections(excerpt: JsonObject): readonly Block[] {
  const text = excerptText(excerpt)
  return text === '' ? [] : [section(text)]
}

const excerptText = (excerpt: JsonObject): string =>
  Object.keys(excerpt).length === 0 ? '' : JSON.stringify(excerpt, null, 2)

/**
 * Whether it was changed, whether all of it is shown, who asks, how bad it can be, what the agent knew, and by when.
 */
export function facts(request: DetailedRequest): readonly JsonObject[] {
  const { version, excerpt, risk, requestedBy, context, deadlineAt } = request
  const { agent, onBehalfOf } = requestedBy
  const behalf = onBehalfOf === undefined ? '' : ` for ${onBehalfOf}`
  return [
    ...(version > 1 ? [words(`*Changed*: this is version ${version}.`)] : []),
    ...(isCut(excerptText(excerpt)) ? [words(':scissors: *Cut*: there is more than can be shown here.')] : []),
    words(`*Risk*: ${risk}`),
    caption(`Asked by ${agent}${behalf}`),
    ...contextFacts(context),
    ...(deadlineAt === undefined ? [] : [deadline(deadlineAt)])
  ]
}

function contextFacts(context: ContextStatus | undefined): readonly JsonObject[] {
  switch (context?.outcome) {
    case 'stale':
      return [words(`:warning: *Stale context*: what the agent knew was ${spanText(context.ageMs)} old.`)]
    case 'unavailable':
      return [words(':warning: *No context*: the agent asked without its memory.'), caption(context.reason)]
    default:
      return []
  }
}

const deadline = (at: number): JsonObject => words(`*Decide by* ${dateToken(at)}`)

const escalation = (at: number | undefined): readonly JsonObject[] =>
  at === undefined ? [] : [words(`Others are asked at ${dateToken(at)}`)]

const openButton = (url: string): JsonObject => ({
  type: 'button',
  action_id: OPEN,
  text: plain('Open in inbox', 75),
  url
})

const confirmation = (risk: Risk): JsonObject => ({
  title: plain('Approve this?', 100),
  text: plain(`Its risk is ${risk}. What is approved may be carried out at once.`, 300),
  confirm: plain('Approve', 30),
  deny: plain('Go back', 30)
})

const titled = (title: string, summary: string): { readonly text: string } => ({
  text: escaped(shownOnOneLine(`${title} ${summary}`), NOTIFICATION_LENGTH_MAX)
})
