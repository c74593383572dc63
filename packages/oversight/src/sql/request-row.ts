import { CoreError } from '@enablement/core'
import { type SqlRow, textOf } from '@enablement/core/sql'
import type { Seat } from '../directory/seat.ts'
import { requestersOf } from '../escalation/seating.ts'
import type { ApprovalPolicy } from '../policy/policy.ts'
import type { InvitationRecord } from '../request/invitation-record.ts'
import {
  type Course,
  executionDueAt,
  type Matter,
  nextDueAt,
  type RequestRecord,
  STATUSES,
  UNTOUCHED
} from '../request/request.ts'

/** The part of a request's row that steps write. */
export interface CourseRow {
  readonly id: string
  readonly status: string
  readonly identity_key: number | null
  readonly next_due_at: number | null
  readonly execution_due_at: number | null
  readonly course: string
}

/** The part that an edit writes. */
export interface MatterRow {
  readonly id: string
  readonly matter: string
}

/** A request's row, as the statements take it. */
export interface RequestRow extends CourseRow, MatterRow {
  readonly tenant: string
  readonly action: string
  readonly policy_version: string
}

/** What `requestOf` reads. */
export const REQUEST_COLUMNS = 'id, tenant, action, status, policy_version, matter, course'

/** What changes by an edit alone, but for the policy, which many requests have in common. */
type StoredMatter = Omit<Matter, 'policy' | 'policyVersion'> &
  Pick<RequestRecord, 'idempotencyKey' | 'openedAt' | 'argumentHash' | 'openedHash' | 'version'>

type StoredCourse = Course & Pick<RequestRecord, 'identity'>

type StoredSeat = RequestRecord['seats'][number]

/** What most requests have in common is left out of their rows: the less is written, the more fit into a page. */
const MATTER: Pick<StoredMatter, 'version' | 'reversible' | 'onTimeout' | 'excerpt'> = {
  version: 1,
  reversible: false,
  onTimeout: 'resume',
  excerpt: {}
}
const COURSE: Omit<StoredCourse, 'principals'> = { ...UNTOUCHED, identity: undefined }
const SEAT: Pick<Seat, 'roles' | 'authority' | 'via'> = { roles: [], authority: 0, via: { kind: 'named' } }
const INVITATION: Pick<InvitationRecord, 'version' | 'otherwise' | 'state' | 'receipt' | 'bounces'> = {
  version: 1,
  otherwise: [],
  state: 'queued',
  receipt: undefined,
  bounces: 0
}

/** The row of a request. */
export function rowOf(request: RequestRecord): RequestRow {
  const { tenant, action, policyVersion } = request
  return { ...courseRowOf(request), ...matterRowOf(request), tenant, action, policy_version: policyVersion }
}

export function courseRowOf(request: RequestRecord): CourseRow {
  const { id, status, identity } = request
  return {
    id,
    status,
    identity_key: identity === undefined ? null : identityKey(identity),
    next_due_at: nextDueAt(request) ?? null,
    execution_due_at: executionDueAt(request) ?? null,
    course: courseOf(request)
  }
}

export const matterRowOf = (request: RequestRecord): MatterRow => ({ id: request.id, matter: matterOf(request) })

/**
 * 52 bits for the index of open requests by what they ask for: an eighth of the text, which is in the row, and is compared
 * there. FNV-1a, twice; identities are hashes already.
 */
export function identityKey(identity: string): number {
  let high = 0x811c9dc5
  let low = 0x050c5d1f
  for (let at = 0; at < identity.length; at++) {
    const unit = identity.charCodeAt(at)
    high = Math.imul(high ^ unit, 0x01000193)
    low = Math.imul(low ^ unit, 0x01000193)
  }
  return (high >>> 12) * 2 ** 32 + (low >>> 0)
}

function matterOf(request: RequestRecord): string {
  const { idempotencyKey, openedAt, argumentHash, openedHash, version, requestedBy, task } = request
  const { risk, summary, detail, excerpt, context, onTimeout, reversible } = request
  const original = openedHash === argumentHash ? {} : { openedHash }
  const named = {
    idempotencyKey,
    openedAt,
    argumentHash,
    ...original,
    requestedBy,
    task,
    risk,
    summary,
    detail,
    context
  }
  return JSON.stringify({ ...named, ...unlike({ version, excerpt, onTimeout, reversible }, MATTER) })
}

function courseOf(request: RequestRecord): string {
  const { tier, tierEndsAt, remindAt, settleAt, startedLate, unseated, queued, deadlineAt, extensions } = request
  const { principals, seats, invitations, votes, comments, edits, views, settlement } = request
  const { revocation, lateByMs, refusedVotes, execution, identity, requestedBy } = request
  const isPlain = sameList(principals, requestersOf(requestedBy))
  const course: Omit<StoredCourse, 'principals' | 'seats' | 'invitations'> = {
    tier,
    tierEndsAt,
    remindAt,
    settleAt,
    startedLate,
    unseated,
    queued,
    deadlineAt,
    extensions,
    votes,
    comments,
    edits,
    views,
    settlement,
    revocation,
    lateByMs,
    refusedVotes,
    execution,
    identity
  }
  return JSON.stringify({
    ...(isPlain ? {} : { principals }),
    ...unlike(course, COURSE),
    ...(seats.length === 0 ? {} : { seats: seats.map(storedSeat) }),
    ...(invitations.length === 0 ? {} : { invitations: invitations.map((one) => unlike(one, INVITATION)) })
  })
}

function storedSeat({ principal, ...seat }: StoredSeat): Partial<StoredSeat> {
  const slim = unlike(seat, SEAT)
  return principal === seat.approver ? slim : { ...slim, principal }
}

/** The members of `value` that are not as in `usual`. */
function unlike<T extends object>(value: T, usual: Partial<T>): Partial<T> {
  const kept: Partial<T> = {}
  // Not by entries: every row that is written comes through here, in the time of the one writer.
  for (const name of Object.keys(value) as (keyof T)[]) {
    const member = value[name]
    const expected = usual[name]
    if (member !== expected && !isAlike(member, expected)) kept[name] = member
  }
  return kept
}

/** Whether two members that are usual are the same: small lists and objects, compared as JSON. */
function isAlike(member: unknown, expected: unknown): boolean {
  if (typeof member !== 'object' || typeof expected !== 'object') return false
  if (Array.isArray(member) && member.length > 0) return false
  return JSON.stringify(member) === JSON.stringify(expected)
}

const sameList = (one: readonly string[], other: readonly string[]): boolean =>
  one.length === other.length && one.every((name, at) => name === other[at])

/** Reads a row of `oversight_requests`. Throws `STORE_DAMAGED` for one that no step can have written. */
export function requestOf(row: SqlRow, policyOf: (version: string) => ApprovalPolicy): RequestRecord {
  const status = STATUSES.find((known) => known === row['status'])
  if (status === undefined) throw damaged('column status holds an unknown word')
  const policyVersion = textOf(row, 'policy_version')
  const matter = parsed(row, 'matter') as Partial<StoredMatter>
  const course = parsed(row, 'course') as Partial<StoredCourse>
  const { requestedBy, argumentHash, openedAt } = matter
  if (typeof requestedBy !== 'object' || typeof argumentHash !== 'string' || typeof openedAt !== 'number') {
    throw damaged('column matter lacks what every request has')
  }
  for (const list of LISTS) {
    if (course[list] !== undefined && !Array.isArray(course[list]))
      throw damaged(`column course holds no list of ${list}`)
  }
  const record = {
    ...MATTER,
    openedHash: argumentHash,
    ...matter,
    policy: policyOf(policyVersion),
    policyVersion,
    principals: requestersOf(requestedBy),
    ...COURSE,
    ...course,
    seats: (course.seats ?? []).map((seat) => ({ ...SEAT, ...seat, principal: seat.principal ?? seat.approver })),
    invitations: (course.invitations ?? []).map((invitation) => ({ ...INVITATION, ...invitation })),
    id: textOf(row, 'id'),
    tenant: textOf(row, 'tenant'),
    action: textOf(row, 'action'),
    status
  }
  // What is left out has been filled in; the rest was written by `rowOf`.
  return record as RequestRecord
}

const LISTS = ['principals', 'seats', 'invitations', 'votes', 'comments', 'edits', 'views'] as const

function parsed(row: SqlRow, column: string): unknown {
  let value: unknown
  try {
    value = JSON.parse(textOf(row, column))
  } catch (cause) {
    throw damaged(`column ${column} holds no JSON`, cause)
  }
  if (typeof value !== 'object' || value === null) throw damaged(`column ${column} holds no JSON object`)
  return value
}

export function damaged(reason: string, cause?: unknown): CoreError<'STORE_DAMAGED'> {
  return new CoreError('STORE_DAMAGED', `oversight's ${reason}`, { store: 'oversight', reason }, { cause })
}
