import type { Fact, TierSilence } from '../evidence/fact.ts'
import { eligibleApprovers } from '../policy/eligibility.ts'
import { type Delivery, invitationOf } from '../request/delivery.ts'
import type { Dossier } from '../request/dossier.ts'
import { nextDueAt, type RequestRecord, SYSTEM_ESCALATION } from '../request/request.ts'
import { isOverdue, settle, timeOut } from '../request/settlement.ts'
import type { Step } from '../request/step.ts'

/** What an escalation did to a request. */
interface Escalated {
  readonly outcome: 'asked' | 'exhausted' | 'timed-out' | 'started-late' | 'not-due'
}

/**
 * Opens a request: asks the first tier that has anyone to ask. `request` is as the caller wants it, before any tier.
 */
export function begin(request: RequestRecord, now: number): Step<Escalated> & { readonly request: RequestRecord } {
  const opened: Fact = { type: 'request.opened', requestedBy: request.requestedBy, argumentHash: request.argumentHash }
  const asked = ask({ request, votes: [], deliveries: [] }, 0, now)
  return { ...asked, facts: [opened, ...asked.facts] }
}

/**
 * Takes a request one tier on, if it is due by the store's clock. Only one tier is asked at a time, however late the
 * call comes: after a night without workers the chain goes on from where it stood, with the full wait for each tier.
 */
export function escalate(dossier: Dossier, now: number): Step<Escalated> {
  const { request, deliveries } = dossier
  if (isOverdue(request, now)) return { ...timeOut(dossier, now), answer: { outcome: 'timed-out' } }
  const dueAt = nextDueAt(request)
  if (dueAt === undefined || now < dueAt) return { answer: { outcome: 'not-due' }, facts: [] }

  const { tier, tierEndsAt = now } = request
  const lateByMs = now - tierEndsAt
  const invitations = deliveries.filter((delivery) => delivery.kind === 'invitation' && delivery.tier === tier)
  // Nobody was alive to send even one of them, so the tier has not been asked yet. Once only: an outbox that stands
  // still must not hold up the chain.
  if (!request.startedLate && invitations.every(({ attempts }) => attempts === 0)) {
    const endsAt = now + (request.policy.tiers[tier]?.waitMs ?? 0)
    return {
      answer: { outcome: 'started-late' },
      request: { ...request, startedLate: true, tierEndsAt: endsAt },
      facts: [{ type: 'tier.started-late', tier, lateByMs, endsAt }]
    }
  }
  const because: TierSilence = invitations.every(({ state }) => state === 'unreachable') ? 'unreachable' : 'silent'
  const passed: Fact = { type: 'tier.passed', tier, because, lateByMs }
  const next = ask(dossier, tier + 1, now)
  return { ...next, facts: [passed, ...next.facts] }
}

/** Asks the first tier from `from` on that has someone to ask, or takes the final action when there is none left. */
function ask(dossier: Dossier, from: number, now: number): Step<Escalated> & { readonly request: RequestRecord } {
  const { request } = dossier
  const facts: Fact[] = []
  for (const [index, tier] of request.policy.tiers.entries()) {
    if (index < from) continue
    const approvers = eligibleApprovers(tier, request)
    if (approvers.length === 0) {
      facts.push({ type: 'tier.skipped', tier: index })
      continue
    }
    const { channels, waitMs } = tier
    const endsAt = now + waitMs
    facts.push({ type: 'tier.asked', tier: index, approvers, channels, endsAt })
    const newDeliveries: Delivery[] = approvers.flatMap((approver) =>
      channels.map((channel) => invitationOf(request.id, index, approver, channel, now))
    )
    return {
      answer: { outcome: 'asked' },
      request: { ...request, tier: index, tierEndsAt: endsAt, startedLate: false },
      newDeliveries,
      facts
    }
  }
  const exhausted = exhaust({ ...dossier, request }, now)
  return { ...exhausted, facts: [...facts, ...exhausted.facts] }
}

/** The final action, when the chain has come to its end without a decision. */
function exhaust(dossier: Dossier, now: number): Step<Escalated> & { readonly request: RequestRecord } {
  const { request } = dossier
  const explanation = explain(dossier, now)
  const answer = { outcome: 'exhausted' } as const
  if (request.policy.onExhausted === 'queue') {
    return {
      answer,
      request: { ...request, queued: true, tierEndsAt: undefined, deadlineAt: undefined },
      facts: [{ type: 'request.queued', explanation }]
    }
  }
  const { argumentHash } = request
  const fact: Fact = { type: 'request.denied', by: SYSTEM_ESCALATION, argumentHash, reason: explanation }
  return { ...settle(dossier, { status: 'denied', by: SYSTEM_ESCALATION, reason: explanation, fact }, now), answer }
}

/**
 * What the agent is told, and whoever reads the record: nobody said no, and how many of those asked could be reached.
 */
function explain({ request, deliveries }: Dossier, now: number): string {
  const invitations = deliveries.filter(({ kind }) => kind === 'invitation')
  const asked = new Set(invitations.map(({ approver }) => approver))
  if (asked.size === 0) return 'nobody may decide: the policy names only those who ask'
  const reached = new Set(invitations.filter(({ state }) => state === 'delivered').map(({ approver }) => approver))
  return `nobody decided within ${now - request.openedAt} ms: ${reached.size} of ${asked.size} approvers were reached`
}
