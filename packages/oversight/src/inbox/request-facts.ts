import type { Requester, Verdict } from '@enablement/core'
import { type Html, html } from '../page/html.ts'
import type { Risk } from '../policy/risk.ts'
import type { ContextStatus } from '../request/context-status.ts'
import type { RequestView } from '../request/request-view.ts'
import { instant, spanText } from './time-text.ts'
import type { InboxVisitor } from './visitor.ts'

/** Whether this person may read it: never that of another tenant. */
export function maySee(visitor: InboxVisitor, view: RequestView): boolean {
  if (view.tenant !== visitor.tenant) return false
  if (visitor.sees === 'tenant' || isAsked(visitor, view)) return true
  const tookPart = [
    view.votes.map((vote) => vote.approver),
    view.comments.map(({ by }) => by),
    view.edits.map(({ by }) => by)
  ]
  return tookPart.flat().includes(visitor.approver)
}

/** Whether this person is among those who were asked. Whether their vote counts is decided where it is cast. */
export const isAsked = (visitor: InboxVisitor, view: RequestView): boolean =>
  view.seats.some((seat) => seat.approver === visitor.approver)

export const ownVote = (visitor: InboxVisitor, view: RequestView): RequestView['votes'][number] | undefined =>
  view.votes.find((vote) => vote.approver === visitor.approver)

/** Whether a form to decide with is of any use to them. */
export const awaits = (visitor: InboxVisitor, view: RequestView): boolean =>
  view.status === 'pending' && isAsked(visitor, view) && ownVote(visitor, view) === undefined

const riskNames: Readonly<Record<Risk, string>> = {
  low: 'Low risk',
  medium: 'Medium risk',
  high: 'High risk',
  critical: 'Critical risk'
}

/** In words; the colour only repeats them. */
export const riskBadge = (risk: Risk): Html => html`<span class="badge risk-${risk}">${riskNames[risk]}</span>`

const statusNames: Readonly<Record<RequestView['status'], string>> = {
  pending: 'Open',
  approved: 'Approved',
  denied: 'Denied',
  'timed-out': 'Timed out',
  cancelled: 'Cancelled',
  revoked: 'Revoked'
}

export const statusBadge = (status: RequestView['status']): Html =>
  html`<span class="badge status-${status}">${statusNames[status]}</span>`

/** The agent, and the human behind it. */
export function requesterText({ agent, onBehalfOf }: Requester): Html {
  const behalf = onBehalfOf === undefined ? undefined : html` on behalf of <bdi>${onBehalfOf}</bdi>`
  return html`<bdi>${agent}</bdi>${behalf}`
}

/** A warning when the agent knew less than it should have; undefined when there is nothing to warn of. */
export function contextWarning(context: ContextStatus | undefined): Html | undefined {
  if (context === undefined || context.outcome === 'complete') return undefined
  return context.outcome === 'stale'
    ? html`The agent asked with old context: what it knew was ${spanText(context.ageMs)} old.`
    : html`The agent asked without its context: <bdi>${context.reason}</bdi>`
}

export function contextText(context: ContextStatus | undefined): Html {
  if (context === undefined) return html`The agent did not say how much it knew.`
  return contextWarning(context) ?? html`Complete: the agent had what it should know.`
}

/** How it ended, in a sentence. A timeout is nobody's denial. */
export function verdictText(verdict: Verdict, now: number): Html {
  const at = instant(verdict.decidedAt, now)
  switch (verdict.outcome) {
    case 'approved':
      return html`Approved by <bdi>${verdict.by}</bdi>, ${at}.`
    case 'denied':
      return html`Denied by <bdi>${verdict.by}</bdi>, ${at}: <q dir="auto">${verdict.reason}</q>`
    case 'revoked':
      return html`Approved, and taken back by <bdi>${verdict.by}</bdi>, ${at}: <q dir="auto">${verdict.reason}</q>`
    case 'timed-out':
      return html`Nobody decided in time; it timed out ${at}.`
    case 'cancelled':
      return html`Withdrawn ${at}.`
  }
}
