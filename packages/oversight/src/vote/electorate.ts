import { principalKey } from '../directory/identity.ts'
import type { Seat } from '../directory/seat.ts'
import type { Vote } from './vote-record.ts'

/** A person among those who were asked: all seats and ids that are theirs together. */
export interface Elector {
  /** The roles they had when they were asked. */
  readonly askedAs: ReadonlySet<string>
  /** Those of them that they still had when they voted; all while they are silent. */
  readonly roles: ReadonlySet<string>
  /** The most they had when they were asked, but no more than they still had when they voted. */
  readonly authority: number
  readonly vote: Vote | undefined
}

/** Those who were asked, and what they have said. */
export interface Electorate {
  readonly people: readonly Elector[]
  /** The people of each tier that has any; the same person may be in several. */
  readonly tiers: readonly (readonly Elector[])[]
  /** Those whose vote counts, in the order of the commits. */
  readonly heard: readonly (Elector & { readonly vote: Vote })[]
}

/**
 * Finds out who is who. A vote counts when it is for what is asked now and comes from a seat; each person has one, the
 * first that was committed. What a vote weighs can only shrink between being asked and voting: a role that was lost
 * since counts no longer, one that was gained since does not count yet. Otherwise a verdict that is already certain
 * could become uncertain again, and would hang on who voted first.
 */
export function electorateOf(
  tiers: readonly (readonly Seat[])[],
  votes: readonly Vote[],
  argumentHash: string | undefined
): Electorate {
  const seats = tiers.flat()
  const seated = new Set(seats.map(({ approver }) => approver))
  const valid = votes.filter((vote) => vote.argumentHash === argumentHash && seated.has(vote.approver))
  const personOf = identify([...seats, ...valid])

  const first = new Map<string, Vote>()
  for (const vote of valid) {
    const person = personOf(vote.approver)
    if (!first.has(person)) first.set(person, vote)
  }
  const held = new Map<string, Seat[]>()
  for (const seat of seats) {
    const person = personOf(seat.approver)
    const others = held.get(person)
    if (others === undefined) held.set(person, [seat])
    else others.push(seat)
  }
  const electors = new Map([...held].map(([person, own]) => [person, elector(own, first.get(person))]))

  const peopleOf = (members: readonly Seat[]): readonly Elector[] =>
    [...new Set(members.map(({ approver }) => personOf(approver)))].map((person) => electors.get(person) as Elector)
  return {
    people: [...electors.values()],
    tiers: tiers.map(peopleOf).filter((people) => people.length > 0),
    heard: [...first.keys()].map((person) => electors.get(person) as Elector & { readonly vote: Vote })
  }
}

function elector(seats: readonly Seat[], vote: Vote | undefined): Elector {
  const askedAs = new Set(seats.flatMap(({ roles }) => roles))
  const authority = Math.max(...seats.map((seat) => seat.authority))
  if (vote === undefined) return { askedAs, roles: askedAs, authority, vote }
  const roles = new Set(vote.roles.filter((role) => askedAs.has(role)))
  return { askedAs, roles, authority: Math.min(authority, vote.authority), vote }
}

/**
 * Which person an id belongs to: ids and principals are names of one kind, and whatever names one another is one person.
 * Errs towards one person, as `mayBeSamePrincipal` does: two who look alike count once.
 */
function identify(
  names: readonly { readonly approver: string; readonly principal: string }[]
): (name: string) => string {
  const leads = new Map<string, string>()
  const follow = (name: string): string => {
    let at = name
    for (let next = leads.get(at); next !== undefined; next = leads.get(at)) at = next
    return at
  }
  for (const { approver, principal } of names) {
    const one = follow(principalKey(approver))
    const other = follow(principalKey(principal))
    if (one !== other) leads.set(one, other)
  }
  return (name) => follow(principalKey(name))
}
