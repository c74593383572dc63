import { type Poll, type Seat, type Tally, tally, type Vote, type VoteStrategy } from '@enablement/oversight'
import { fc } from '@fast-check/vitest'

export const HASH = 'a1'

/** A seat; a person of the id's own name without roles or weight unless said otherwise. */
export function seat(approver: string, more: Partial<Omit<Seat, 'approver'>> = {}): Seat {
  return { approver, principal: approver, roles: [], authority: 0, via: { kind: 'named' }, ...more }
}

/** A vote of whoever has the seat, as the person they were asked as. */
export function vote(from: Seat, decision: 'approve' | 'deny', votedAt = 0, more: Partial<Vote> = {}): Vote {
  const { approver, principal, roles, authority } = from
  const reason = decision === 'deny' ? 'no' : undefined
  const cast = { approver, principal, roles, authority, decision, reason, votedAt }
  return { ...cast, idempotencyKey: undefined, argumentHash: HASH, ...more }
}

/** A poll in which everybody was asked, at the moment of the last vote, unless said otherwise. */
export function poll(tiers: readonly (readonly Seat[])[], votes: readonly Vote[], more: Partial<Poll> = {}): Poll {
  const now = votes.reduce((latest, { votedAt }) => Math.max(latest, votedAt), 0)
  return { votes, argumentHash: HASH, tiers, moreTiers: false, now, exhausted: false, ...more }
}

/** Casts the votes one by one and stops at the first decision, as the kernel does; then looks once more at `lastLook`. */
export function feed(
  strategy: VoteStrategy,
  tiers: readonly (readonly Seat[])[],
  votes: readonly Vote[],
  more: Partial<Poll> & { readonly lastLook?: Partial<Poll> } = {}
): Tally {
  const { lastLook, ...rest } = more
  for (let count = 1; count <= votes.length; count++) {
    const cast = votes.slice(0, count)
    const now = cast.at(-1)?.votedAt ?? 0
    const found = tally(strategy, poll(tiers, cast, { now, ...rest }))
    if (found.outcome !== 'open') return found
  }
  return tally(strategy, poll(tiers, votes, { ...rest, ...lastLook }))
}

/** The votes, each so many milliseconds after the one before. */
export function apart(votes: readonly Vote[], gapsMs: readonly number[]): readonly Vote[] {
  let at = 0
  return votes.map((one, index) => {
    at += gapsMs[index] ?? 1
    return { ...one, votedAt: at }
  })
}

const ROLES = ['finance', 'legal', 'ops'] as const

/** Up to five seats with roles, weights and, now and then, a principal that another seat has as well. */
export const seats: fc.Arbitrary<readonly Seat[]> = fc
  .array(
    fc.record({
      roles: fc.subarray([...ROLES]),
      authority: fc.integer({ min: 0, max: 2 }),
      alias: fc.option(fc.integer({ min: 0, max: 4 }), { freq: 6 })
    }),
    { minLength: 1, maxLength: 5 }
  )
  .map((people) =>
    people.map(({ roles, authority, alias }, index) =>
      seat(`p${index}`, { roles, authority, principal: `p${alias ?? index}` })
    )
  )

/** Those seats, some in a second tier, and votes of some of them in some order. */
export const election: fc.Arbitrary<{
  readonly tiers: readonly (readonly Seat[])[]
  readonly votes: readonly Vote[]
}> = seats.chain((all) =>
  fc
    .record({
      split: fc.integer({ min: 1, max: all.length }),
      order: fc.shuffledSubarray([...all]),
      decisions: fc.array(fc.constantFrom('approve' as const, 'deny' as const), { minLength: 5, maxLength: 5 }),
      // What somebody lost between being asked and voting.
      lost: fc.array(fc.record({ roles: fc.boolean(), authority: fc.boolean() }), { minLength: 5, maxLength: 5 })
    })
    .map(({ split, order, decisions, lost }) => ({
      tiers: [all.slice(0, split), all.slice(split)],
      votes: order.map((one, index) =>
        vote(one, decisions[index] ?? 'deny', index, {
          ...(lost[index]?.roles === true ? { roles: one.roles.slice(1) } : {}),
          ...(lost[index]?.authority === true ? { authority: one.authority - 1 } : {})
        })
      )
    }))
)

const threshold = fc.record(
  {
    role: fc.constantFrom(...ROLES),
    approve: fc.integer({ min: 1, max: 3 })
  },
  { requiredKeys: ['approve'] }
)

const alternatives = fc.array(
  fc.uniqueArray(threshold, { minLength: 1, maxLength: 3, selector: ({ role }) => role ?? '' }),
  { minLength: 1, maxLength: 3 }
)

/** Quorums whose denials are those that make approvals impossible. */
export const plainQuorum: fc.Arbitrary<Extract<VoteStrategy, { kind: 'quorum' }>> = alternatives.map((anyOf) => ({
  kind: 'quorum',
  anyOf
}))

/** Quorums with thresholds of denials, and a time in which objections are waited for. */
export const quorumWithObjections = (objectionMs: number): fc.Arbitrary<Extract<VoteStrategy, { kind: 'quorum' }>> =>
  fc.tuple(alternatives, fc.infiniteStream(fc.option(fc.integer({ min: 1, max: 3 })))).map(([anyOf, denials]) => ({
    kind: 'quorum',
    objectionMs,
    anyOf: anyOf.map((thresholds) =>
      thresholds.map((one) => {
        const deny = denials.next().value
        return typeof deny === 'number' ? { ...one, deny } : one
      })
    )
  }))
