import { caughtUp, settleByVotes } from '../decision/settling.ts'
import { SYSTEM_AUTO_APPROVAL, SYSTEM_ESCALATION } from '../directory/system-names.ts'
import type { Fact, TierPassed, TierSilence } from '../evidence/fact.ts'
import { isAtLeast } from '../policy/risk.ts'
import { invitationsOf } from '../request/invitation-record.ts'
import { type AddressedMessage, about, alert } from '../request/message.ts'
import { currentInvitations, nextDueAt, type RequestRecord } from '../request/request.ts'
import { settle } from '../request/settlement.ts'
import type { Step } from '../request/step.ts'
import { type Seating, type Seatings, viaOf } from './seating.ts'

/** What an escalation did to a request. */
export interface Escalated {
  readonly outcome:
    | 'asked'
    | 'exhausted'
    | 'decided'
    | 'timed-out'
    | 'extended'
    | 'reminded'
    | 'started-late'
    | 'not-due'
    /** Nothing was changed: somebody has to find out who sits in the next tiers. */
    | 'needs-seats'
}

/** What an escalation goes by, besides the request. */
export interface EscalationRules {
  readonly seatings: Seatings
  /** Those who are behind the request, as far as was found out with the seats. */
  readonly principals?: readonly string[]
  /** Whether approvals without anyone are allowed at this moment. */
  readonly autoApproval: boolean
}

type Course = Step<Escalated> & { readonly request: RequestRecord }

/** Until a directory that did not answer is asked again. */
const UNSEATED_RETRY_MS = 5_000

/** People who were left out that go on record: the entry of a tier has a bound. */
const ABSENT_MAX = 10

/** Characters of a fact that fit into one entry beside what log and opening add: 50 people may have longer names. */
const FACT_LENGTH_MAX = 15_000

/** Asks the first tier that has anyone to ask. `request` is as it was opened, before any tier. */
export function begin(request: RequestRecord, rules: EscalationRules, now: number): Course {
  return ask(request, 0, undefined, rules, now)
}

/**
 * Takes a request one step on, if it is due by the store's clock. Only one tier is asked at a time, however late the call
 * comes: after a night without workers the chain goes on from where it stood, with the full wait for each tier.
 */
export function escalate(request: RequestRecord, rules: EscalationRules, now: number): Step<Escalated> {
  const dueAt = nextDueAt(request)
  if (dueAt === undefined || now < dueAt) return { answer: { outcome: 'not-due' }, facts: [] }
  const { tierEndsAt, remindAt } = request
  const reached = caughtUp(request, now)
  if (reached.facts.length > 0) return { ...reached, answer: { outcome: outcomeOf(reached.request) } }
  if (request.unseated && remindAt !== undefined && now >= remindAt) return seatAgain(request, rules, now)
  if (tierEndsAt !== undefined && now >= tierEndsAt) return passTier(request, tierEndsAt, rules, now)
  if (remindAt !== undefined && now >= remindAt) return remind(request, now)
  // The votes have had their time and settle nothing: nothing is left to wait for but the tier.
  return { answer: { outcome: 'not-due' }, request: { ...request, settleAt: undefined }, facts: [] }
}

/** What time alone did to a request that was open. */
function outcomeOf({ status }: RequestRecord): 'decided' | 'timed-out' | 'extended' {
  if (status === 'pending') return 'extended'
  return status === 'timed-out' ? 'timed-out' : 'decided'
}

function passTier(request: RequestRecord, endedAt: number, rules: EscalationRules, now: number): Step<Escalated> {
  const { tier, policy } = request
  const lateByMs = now - endedAt
  const ofTier = currentInvitations(request).filter((invitation) => invitation.tier === tier)
  // Nobody was alive to send even one of them, so the tier has not been asked yet. Once only: an outbox that stands still
  // must not hold up the chain.
  if (!request.startedLate && ofTier.length > 0 && ofTier.every(({ state }) => state === 'queued')) {
    const endsAt = now + (policy.tiers[tier]?.waitMs ?? 0)
    return {
      answer: { outcome: 'started-late' },
      request: { ...request, startedLate: true, tierEndsAt: endsAt, lateByMs: Math.max(request.lateByMs, lateByMs) },
      facts: [{ type: 'tier.started-late', tier, lateByMs, endsAt }]
    }
  }
  const late = { ...request, lateByMs: Math.max(request.lateByMs, lateByMs) }
  return ask(late, tier + 1, { tier, because: silenceOf(request), lateByMs }, rules, now)
}

function silenceOf(request: RequestRecord): TierSilence {
  const { tier, seats, votes, unseated } = request
  if (unseated) return 'unreachable'
  const ofTier = currentInvitations(request).filter((invitation) => invitation.tier === tier)
  if (ofTier.every(({ state }) => state === 'unreachable')) return 'unreachable'
  const voted = new Set(votes.map(({ approver }) => approver))
  return seats.every((seat) => seat.tier !== tier || voted.has(seat.approver)) ? 'undecided' : 'silent'
}

/** Reminds those of the tier who were reached and have not voted. Reminders that were missed are not made up for. */
function remind(request: RequestRecord, now: number): Step<Escalated> {
  const { id, tier, policy, votes } = request
  const everyMs = policy.tiers[tier]?.remindEveryMs
  const remindAt = everyMs === undefined ? undefined : now + everyMs
  const voted = new Set(votes.map(({ approver }) => approver))
  const silent = currentInvitations(request).filter(
    (invitation) => invitation.tier === tier && invitation.state === 'delivered' && !voted.has(invitation.approver)
  )
  const approvers = [...new Set(silent.map(({ approver }) => approver))]
  return {
    answer: { outcome: 'reminded' },
    request: { ...request, remindAt },
    messages: silent.map((invitation) => about('reminder', id, invitation)),
    facts: approvers.length === 0 ? [] : [{ type: 'tier.reminded', tier, approvers }]
  }
}

/** Finds seats for a tier that was due while the directory did not answer. */
function seatAgain(request: RequestRecord, rules: EscalationRules, now: number): Step<Escalated> {
  const seating = rules.seatings(request.tier)
  if (seating === undefined) return { answer: { outcome: 'needs-seats' }, facts: [] }
  if (seating.outcome === 'seated') return ask({ ...request, unseated: false }, request.tier, undefined, rules, now)
  const { tierEndsAt } = request
  if (tierEndsAt !== undefined && now >= tierEndsAt) return passTier(request, tierEndsAt, rules, now)
  return {
    answer: { outcome: 'asked' },
    request: { ...request, remindAt: now + UNSEATED_RETRY_MS },
    facts: []
  }
}

/** Asks the first tier from `from` on that has someone to ask, or takes the final action when there is none left. */
function ask(
  request: RequestRecord,
  from: number,
  after: TierPassed | undefined,
  rules: EscalationRules,
  now: number
): Course {
  const facts: Fact[] = []
  for (const [index, tier] of request.policy.tiers.entries()) {
    if (index < from) continue
    const seating = rules.seatings(index)
    if (seating === undefined) return { answer: { outcome: 'needs-seats' }, request, facts: [] }
    const endsAt = now + tier.waitMs
    const asked = { tier: index, tierEndsAt: endsAt, startedLate: false, queued: false }
    if (seating.outcome === 'unavailable') {
      const unseated = { ...request, ...asked, unseated: true, remindAt: now + UNSEATED_RETRY_MS }
      const fact: Fact = { type: 'tier.unseated', tier: index, endsAt, ...(after === undefined ? {} : { after }) }
      return { answer: { outcome: 'asked' }, request: unseated, facts: [...facts, fact] }
    }
    if (seating.seats.length === 0) {
      const because = reasonsOf(seating)
      facts.push({ type: 'tier.skipped', tier: index, ...(because.length === 0 ? {} : { because }) })
      continue
    }
    const taken = seat(request, index, seating, now)
    const remindAt = tier.remindEveryMs === undefined ? undefined : now + tier.remindEveryMs
    return {
      answer: { outcome: 'asked' },
      request: { ...taken.request, ...asked, unseated: false, remindAt, principals: behind(request, rules) },
      messages: taken.messages,
      facts: [...facts, ...inEntries(askedFact(index, seating, endsAt, after))]
    }
  }
  const exhausted = exhaust(request, rules, now)
  const passed: readonly Fact[] = after === undefined ? [] : [{ type: 'tier.passed', ...after }]
  return { ...exhausted, facts: [...passed, ...facts, ...exhausted.facts] }
}

const behind = ({ principals }: RequestRecord, { principals: found = [] }: EscalationRules): readonly string[] => [
  ...new Set([...principals, ...found])
]

function askedFact(
  tier: number,
  { seats, absent }: Extract<Seating, { outcome: 'seated' }>,
  endsAt: number,
  after: TierPassed | undefined
): AskedFact {
  return {
    type: 'tier.asked',
    tier,
    seats: seats.map((taken) => ({ approver: taken.approver, via: viaOf(taken) })),
    ...(absent.length === 0 ? {} : { absent: absent.slice(0, ABSENT_MAX) }),
    endsAt,
    ...(after === undefined ? {} : { after })
  }
}

type AskedFact = Extract<Fact, { readonly type: 'tier.asked' }>

/** The same in as many facts as it takes: one that no entry can hold could never be committed. */
function inEntries(fact: AskedFact): readonly AskedFact[] {
  const { type, tier, seats, endsAt } = fact
  if (seats.length === 1 || JSON.stringify(fact).length <= FACT_LENGTH_MAX) return [fact]
  const half = Math.ceil(seats.length / 2)
  return [
    ...inEntries({ ...fact, seats: seats.slice(0, half) }),
    ...inEntries({ type, tier, seats: seats.slice(half), endsAt })
  ]
}

function reasonsOf({ absent }: Extract<Seating, { outcome: 'seated' }>): readonly string[] {
  return absent.slice(0, ABSENT_MAX).map(({ approver, because }) => `${approver} ${because}`)
}

/** Seats the people of a tier and invites them. */
function seat(
  request: RequestRecord,
  tier: number,
  { seats }: Extract<Seating, { outcome: 'seated' }>,
  now: number
): { readonly request: RequestRecord; readonly messages: readonly AddressedMessage[] } {
  const { id: requestId, version, policy } = request
  const channels = policy.tiers[tier]?.channels ?? []
  const invitations = seats.flatMap(({ approver }) => invitationsOf({ requestId, version, tier, approver }, channels))
  return {
    request: {
      ...request,
      seats: [...request.seats, ...seats.map((taken) => ({ ...taken, tier, askedAt: now }))],
      invitations: [...request.invitations, ...invitations]
    },
    messages: invitations.map((invitation) => about('invitation', requestId, invitation))
  }
}

/** The final action, when the chain has come to its end without a decision. */
function exhaust(request: RequestRecord, rules: EscalationRules, now: number): Course {
  const decided = settleByVotes(request, now, { exhausted: true })
  if (decided !== undefined) return { ...decided, answer: { outcome: 'decided' } }
  const explanation = explain(request, now)
  const { onExhausted } = request.policy
  if (onExhausted === 'queue' || onExhausted === 'alert-ops') return hold(request, onExhausted, explanation)
  const { argumentHash, policyVersion } = request
  if (onExhausted !== 'deny' && mayApproveItself(request, onExhausted.autoApprove.riskMax, rules)) {
    const by = SYSTEM_AUTO_APPROVAL
    const fact: Fact = { type: 'request.approved', by, argumentHash, policyVersion, reason: explanation }
    const settled = settle(request, { status: 'approved', by, reason: explanation, fact }, now)
    const messages = [...settled.messages, alert(request.id, 'auto-approved')]
    return { ...settled, messages, answer: { outcome: 'exhausted' } }
  }
  const by = SYSTEM_ESCALATION
  const fact: Fact = { type: 'request.denied', by, argumentHash, policyVersion, reason: explanation }
  const settled = settle(request, { status: 'denied', by, reason: explanation, fact }, now)
  return { ...settled, messages: [...settled.messages, ...alertsOf(request)], answer: { outcome: 'exhausted' } }
}

/** A chain without anybody in it is a mistake, whatever its end is: somebody should hear of it. */
function alertsOf(request: RequestRecord): readonly AddressedMessage[] {
  return request.seats.length === 0 ? [alert(request.id, 'nobody-asked')] : []
}

/** Holds a request for whoever decides after all. */
function hold(request: RequestRecord, word: 'queue' | 'alert-ops', explanation: string): Course {
  const waiting = { tierEndsAt: undefined, remindAt: undefined, deadlineAt: undefined }
  return {
    answer: { outcome: 'exhausted' },
    request: { ...request, ...waiting, queued: true },
    messages: word === 'alert-ops' ? [alert(request.id, 'exhausted')] : alertsOf(request),
    facts: [{ type: 'request.queued', explanation }]
  }
}

/** Whether all that an approval without anyone needs is there. A denial that was cast forbids it. */
function mayApproveItself(
  request: RequestRecord,
  riskMax: RequestRecord['risk'],
  { autoApproval }: EscalationRules
): boolean {
  const { risk, reversible, votes } = request
  return (
    autoApproval &&
    reversible &&
    isAtLeast(riskMax, risk) &&
    currentInvitations(request).some(({ state }) => state === 'delivered') &&
    votes.every(({ decision }) => decision === 'approve')
  )
}

/**
 * What the agent is told, and whoever reads the record: nobody said no, and how many of those asked could be reached.
 */
function explain(request: RequestRecord, now: number): string {
  const { openedAt, votes, unseated } = request
  const invitations = currentInvitations(request)
  const asked = new Set(invitations.map(({ approver }) => approver))
  if (asked.size === 0 && unseated) return 'nobody was asked: the directory did not say who may decide'
  if (asked.size === 0) return 'nobody may decide: everyone whom the policy names asks for it, is away or is not known'
  const reached = new Set(invitations.filter(({ state }) => state === 'delivered').map(({ approver }) => approver))
  const before = `within ${now - openedAt} ms: ${reached.size} of ${asked.size} approvers were reached`
  return votes.length === 0 ? `nobody decided ${before}` : `the ${votes.length} votes decided nothing ${before}`
}
