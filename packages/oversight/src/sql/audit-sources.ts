import type { AuditedFact, AuditedFactSource } from '@enablement/core/audit'
import {
  firstRow,
  integerOf,
  jsonRows,
  rows,
  type Sql,
  type SqlDialect,
  type SqlRow,
  textOf
} from '@enablement/core/sql'
import { argumentHash, policyHash } from '../action/argument-hash.ts'
import { subjectOf, voteSubjectOf } from '../evidence/fact.ts'
import { about } from '../request/message.ts'
import { currentInvitations, type RequestRecord, type RequestStatus } from '../request/request.ts'
import { policyRows } from './policy-rows.ts'
import { REQUEST_COLUMNS, requestOf } from './request-row.ts'

/** What the tables of oversight say that cannot be true. `contradiction.` and one of these is the action of its gap. */
export type Contradiction =
  /** It ended, and neither a vote, a grant nor a rule of its policy ended it. */
  | 'verdict-without-decision'
  /** Its effect was begun although it is not approved. */
  | 'execution-without-approval'
  /** Somebody is to be invited, and no message waits to do so. */
  | 'invitation-without-message'
  /** What is asked is not what its hash says. */
  | 'arguments-altered'
  /** The log says that it ended, and the table does not. */
  | 'verdict-lost'
  /** It cannot be read. */
  | 'unreadable'

/**
 * What core's completeness check holds the log against: every request, vote, verdict, edit, comment and execution must
 * have its entry. Beside that each request is held against itself, its messages and its entries; what cannot be true is a
 * gap with the action `contradiction.…`, until somebody has looked and recorded an entry of that subject and action.
 */
export function oversightAuditSources(dialect: SqlDialect): readonly AuditedFactSource[] {
  return [requestSource(dialect)]
}

/**
 * Invitations that have waited for less are not looked at: to find their messages takes a look at all that wait. After an
 * outage of the channels longer than this each page of the check costs that much.
 */
const WAITING_MS = 3_600_000

function requestSource(dialect: SqlDialect): AuditedFactSource {
  const subjects = jsonRows(dialect, { tenant: 'text', subject: 'text' })
  const payloads = jsonRows(dialect, { payload: 'text' })
  const ids = jsonRows(dialect, { id: 'text' })
  const policies = policyRows(dialect)
  const clockText = `select ${dialect.now} as now`
  const pageText = `select ${REQUEST_COLUMNS} from oversight_requests where id > ? order by id limit ?`
  const againText = `select id, status, course from oversight_requests where id in (select id from ${ids.select} as given)`
  const verdictText = `select e.subject, e.action from ${subjects.select} as given
    join audit_entries e on e.tenant = given.tenant and e.subject = given.subject
    where e.action in ('request.approved', 'request.denied', 'request.timed-out', 'request.cancelled', 'request.revoked')`
  const messageText = `select payload_text from outbox_messages
    where outbox = 'oversight' and payload_text in (select payload from ${payloads.select} as given)`

  function* verdictsOf(requests: readonly RequestRecord[]): Sql<ReadonlyMap<string, readonly string[]>> {
    const given = requests.map(({ id, tenant }) => ({ tenant, subject: subjectOf(id) }))
    const found = new Map<string, string[]>()
    for (const row of yield* rows(verdictText, subjects.parameter(given))) {
      const subject = textOf(row, 'subject')
      found.set(subject, [...(found.get(subject) ?? []), textOf(row, 'action')])
    }
    return found
  }

  /** The invitations that are to go out, by the payload of the message that must wait for each. */
  function* unsent(requests: readonly RequestRecord[], now: number): Sql<ReadonlySet<string>> {
    const waiting = new Map<string, string>()
    for (const request of requests) {
      const askedAt = request.seats.at(-1)?.askedAt ?? now
      if (request.status !== 'pending' || now - askedAt < WAITING_MS) continue
      for (const invitation of currentInvitations(request)) {
        if (invitation.state !== 'queued') continue
        waiting.set(JSON.stringify(about('invitation', request.id, invitation).message), request.id)
      }
    }
    if (waiting.size === 0) return new Set()
    const wanted = [...waiting.keys()].map((payload) => ({ payload }))
    for (const row of yield* rows(messageText, payloads.parameter(wanted))) waiting.delete(textOf(row, 'payload_text'))
    return new Set(waiting.values())
  }

  /**
   * Those of the contradictions whose requests are still as they were read. On Postgres each statement sees what was
   * committed before it: a request that went on in between contradicts nothing but its own past.
   */
  function* confirmed(
    found: readonly SqlRow[],
    doubts: ReadonlyMap<string, readonly AuditedFact[]>
  ): Sql<AuditedFact[]> {
    if (doubts.size === 0) return []
    const before = new Map(found.map((row) => [textOf(row, 'id'), row]))
    const again = yield* rows(againText, ids.parameter(Array.from(doubts.keys(), (id) => ({ id }))))
    return again.flatMap((row) => {
      const id = textOf(row, 'id')
      const was = before.get(id)
      const isSame = was?.['status'] === row['status'] && was?.['course'] === row['course']
      return isSame ? (doubts.get(id) ?? []) : []
    })
  }

  return {
    name: 'oversight.requests',
    *page(after = '', limit) {
      const found = yield* rows(pageText, after, limit)
      const facts: AuditedFact[] = []
      const requests: RequestRecord[] = []
      const policyOf = yield* policies.of(found)
      for (const row of found) {
        try {
          requests.push(requestOf(row, policyOf))
        } catch {
          facts.push(contradiction({ id: textOf(row, 'id'), tenant: textOf(row, 'tenant') }, 'unreadable'))
        }
      }
      const verdicts = yield* verdictsOf(requests)
      const now = integerOf((yield* firstRow(clockText)) ?? {}, 'now')
      const withoutMessage = yield* unsent(requests, now)
      const doubts = new Map<string, readonly AuditedFact[]>()
      for (const request of requests) {
        facts.push(...factsOf(request))
        const all = [
          ...contradictionsIn(request, verdicts.get(subjectOf(request.id)) ?? []),
          ...(withoutMessage.has(request.id) ? (['invitation-without-message'] as const) : [])
        ]
        if (all.length > 0)
          doubts.set(
            request.id,
            all.map((one) => contradiction(request, one))
          )
      }
      facts.push(...(yield* confirmed(found, doubts)))
      const last = found.at(-1)
      return { facts, next: found.length < limit || last === undefined ? undefined : textOf(last, 'id') }
    }
  }
}

const contradiction = (
  { id, tenant }: { readonly id: string; readonly tenant: string },
  found: Contradiction
): AuditedFact => ({ tenant, subject: subjectOf(id), action: `contradiction.${found}` })

/** What must have an entry, since the table says that it happened. */
function factsOf(request: RequestRecord): readonly AuditedFact[] {
  const { id, tenant, status, version, openedAt, votes, seats, edits, comments, execution, queued } = request
  const subject = subjectOf(id)
  const actions = new Set(['request.opened'])
  if (status !== 'pending') actions.add(`request.${status}`)
  if (status === 'revoked') actions.add('request.approved')
  // The first tier, where the opening asks it, is in the entry of that.
  if (seats.some(({ tier, askedAt }) => tier > 0 || askedAt !== openedAt)) actions.add('tier.asked')
  if (queued) actions.add('request.queued')
  if (edits.length > 0) actions.add('request.edited')
  if (comments.length > 0) actions.add('request.commented')
  if (execution.fence > 0) actions.add('execution.started')
  if (execution.state === 'executed' || execution.state === 'in-doubt') actions.add(`execution.${execution.state}`)
  return [
    ...[...actions].map((action) => ({ tenant, subject, action })),
    ...votes.map(({ approver }) => ({
      tenant,
      subject: voteSubjectOf(id, version, approver),
      action: 'vote.recorded'
    }))
  ]
}

const ENDED_BY_THEMSELVES: readonly RequestStatus[] = ['timed-out', 'cancelled']

function contradictionsIn(request: RequestRecord, recorded: readonly string[]): readonly Contradiction[] {
  const { status, settlement, votes, execution, action, detail, policy, policyVersion } = request
  const found: Contradiction[] = []
  if (status === 'pending' ? recorded.length > 0 : !recorded.every((entry) => isOf(entry, status))) {
    found.push('verdict-lost')
  }
  const byNobody = ENDED_BY_THEMSELVES.includes(status)
  const byRule = settlement !== undefined && /^(?:system|grant):/.test(settlement.by)
  const byVote = votes.some(({ approver }) => approver === settlement?.by)
  if (status !== 'pending' && (settlement === undefined || !(byNobody || byRule || byVote))) {
    found.push('verdict-without-decision')
  }
  if (execution.fence > 0 && status !== 'approved' && (status !== 'revoked' || execution.state !== 'idle')) {
    found.push('execution-without-approval')
  }
  if (argumentHash(action, detail) !== request.argumentHash || policyHash(policy) !== policyVersion) {
    found.push('arguments-altered')
  }
  return found
}

/** Whether an entry of a verdict is one that a request of this status may have. */
const isOf = (entry: string, status: RequestStatus): boolean =>
  entry === `request.${status}` || (status === 'revoked' && entry === 'request.approved')
