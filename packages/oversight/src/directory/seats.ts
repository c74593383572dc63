import type { Absence, Approver, ApproverDirectory } from './approver-directory.ts'
import type { ApproverRef } from './approver-ref.ts'
import { type AskedDirectory, askedDirectory } from './asked-directory.ts'
import { principalKey } from './identity.ts'
import type { Seat } from './seat.ts'

/** Who of a tier is asked, who is not, and why: all of it for the record. */
export interface TierSeats {
  readonly seats: readonly Seat[]
  /** People whom the tier names, or who would stand in for one, and who are not asked. */
  readonly absent: readonly Absent[]
  /** Groups and schedules that the directory does not know. */
  readonly unknown: readonly ApproverRef[]
  /** People for whom no seat was left, by the entry of the tier that they came through. */
  readonly cut: readonly { readonly from: ApproverRef; readonly people: number }[]
}

/** Someone who is not asked. */
export interface Absent {
  readonly approver: string
  readonly because:
    | 'away'
    /** The directory has nobody of this id. */
    | 'not-known'
    /** The same person has a seat, under another id or by another way. */
    | 'seated-already'
  /** How they would have come to be asked. */
  readonly via: Seat['via']
}

/** What a tier is resolved with. */
export interface SeatQuestion {
  /** Without one each named approver is a seat of their own, and no group and no schedule is known. */
  readonly directory: ApproverDirectory | undefined
  readonly tenant: string
  /** When the tier is asked, in epoch milliseconds: it decides who is on call and who is away. */
  readonly at: number
  /** Aborts when the time for it is up. */
  readonly signal: AbortSignal
}

/** A tier of more people than this is an announcement. Each has a vote, and an invitation on every channel. */
const SEATS_MAX = 50
/** People who are looked up for a tier: enough to fill it when four of five are away, few enough for a storm of tiers. */
const LOOKUPS_MAX = 256
/** At a time, so that one large group does not take all of the directory's connections. */
const LOOKUPS_AT_ONCE = 8

/**
 * Resolves a tier to the people who are asked, at most 50, each person once: those who are named first, in their order,
 * then the members of groups and those on call. Two ids of one principal are one person. Whoever is away is replaced by
 * their delegate, with the delegate's own roles and authority; a delegate who is away is not replaced in turn.
 *
 * Throws `DIRECTORY_UNAVAILABLE` when the directory fails or has not answered when the signal aborts: nothing is known
 * then, and in particular not that the tier is empty.
 */
export async function seatsOf(
  tier: { readonly approvers: readonly ApproverRef[] },
  { directory, tenant, at, signal }: SeatQuestion
): Promise<TierSeats> {
  const asked = directory === undefined ? undefined : askedDirectory(directory, { tenant, signal })
  const { candidates, unknown } = await candidatesOf(tier.approvers, asked, at)
  const absent: Absent[] = []
  const seats = new Map<string, Seat>()
  let looked = 0
  while (looked < candidates.length && looked < LOOKUPS_MAX && seats.size < SEATS_MAX) {
    const group = candidates.slice(looked, looked + LOOKUPS_AT_ONCE)
    const looks = await Promise.all(group.map((candidate) => lookUp(candidate, asked, at, candidates)))
    for (const look of looks) {
      if (seats.size === SEATS_MAX) break
      looked += 1
      absent.push(...look.absent)
      if (look.seat === undefined) continue
      const { approver, via } = look.seat
      const key = principalKey(look.seat.principal)
      if (seats.has(key)) absent.push({ approver, because: 'seated-already', via })
      else seats.set(key, look.seat)
    }
  }
  return { seats: [...seats.values()], absent, unknown, cut: cutOf(candidates.slice(looked)) }
}

interface Candidate {
  readonly id: string
  readonly via: Seat['via']
  readonly from: ApproverRef
}

/** Everyone whom the tier may mean, each id once. */
async function candidatesOf(
  refs: readonly ApproverRef[],
  asked: AskedDirectory | undefined,
  at: number
): Promise<{ readonly candidates: readonly Candidate[]; readonly unknown: readonly ApproverRef[] }> {
  const candidates = new Map<string, Candidate>()
  const unknown: ApproverRef[] = []
  for (const ref of refs) {
    if (typeof ref === 'string' && !candidates.has(ref)) {
      candidates.set(ref, { id: ref, via: { kind: 'named' }, from: ref })
    }
  }
  for (const ref of refs) {
    if (typeof ref === 'string') continue
    const via =
      'group' in ref ? ({ kind: 'group', of: ref.group } as const) : ({ kind: 'on-call', of: ref.onCall } as const)
    const ids = via.kind === 'group' ? await asked?.members(via.of) : await asked?.onCall(via.of, at)
    if (ids === undefined) unknown.push(ref)
    for (const id of ids ?? []) if (!candidates.has(id)) candidates.set(id, { id, via, from: ref })
  }
  return { candidates: [...candidates.values()], unknown }
}

interface Look {
  readonly seat?: Seat
  readonly absent: readonly Absent[]
}

/** The seat of a candidate, or of their delegate unless that is a candidate too, and is looked up as one. */
async function lookUp(
  { id, via }: Candidate,
  asked: AskedDirectory | undefined,
  at: number,
  candidates: readonly Candidate[]
): Promise<Look> {
  if (asked === undefined) return { seat: { approver: id, principal: id, roles: [], authority: 0, via }, absent: [] }
  const found = await asked.find(id)
  if (found === undefined) return { absent: [{ approver: id, because: 'not-known', via }] }
  const absence = absenceOf(found, at)
  if (absence === undefined) return { seat: seatOf(found, via), absent: [] }
  const away: Absent = { approver: id, because: 'away', via }
  const { delegate } = absence
  if (delegate === undefined || candidates.some((candidate) => candidate.id === delegate)) return { absent: [away] }
  const { principal = id } = found
  const standingIn = { kind: 'delegate-of', of: id, ...(principal === id ? {} : { principal }) } as const
  const replacement = await asked.find(delegate)
  if (replacement !== undefined && absenceOf(replacement, at) === undefined) {
    return { seat: seatOf(replacement, standingIn), absent: [away] }
  }
  const because = replacement === undefined ? 'not-known' : 'away'
  return { absent: [away, { approver: delegate, because, via: standingIn }] }
}

const absenceOf = ({ away = [] }: Approver, at: number): Absence | undefined =>
  away.find(({ from, until }) => from <= at && at < until)

/** The seat that a person has who came to it by `via`. */
function seatOf({ id, principal = id, roles = [], authority = 0 }: Approver, via: Seat['via']): Seat {
  return { approver: id, principal, roles, authority, via }
}

function cutOf(candidates: readonly Candidate[]): TierSeats['cut'] {
  const counts = new Map<ApproverRef, number>()
  for (const { from } of candidates) counts.set(from, (counts.get(from) ?? 0) + 1)
  return [...counts].map(([from, people]) => ({ from, people }))
}
