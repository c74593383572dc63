import { type Poll, tally, type VoteStrategy } from '@enablement/oversight'
import { fc, test } from '@fast-check/vitest'
import { describe, expect, inject } from 'vitest'
import { apart, election, feed, HASH, plainQuorum, poll, quorumWithObjections, seat, seats, vote } from './poll.ts'
import { firstVotes, specified, watched } from './specification.ts'

const numRuns = Math.ceil(150 * inject('scale'))
/** `npm run soak` has a hundred times the runs, on a machine with other work. */
const SOAK_TIMEOUT_MS = 600_000

/** Longer than all votes of a generated election take: they are cast a millisecond apart. */
const WINDOW_MS = 1_000
const WINDOW_OVER: Partial<Poll> = { now: 10 * WINDOW_MS }

/** Strategies that decide by what is said, and not by when. */
const timeless: fc.Arbitrary<VoteStrategy> = fc.oneof(
  fc.constantFrom<VoteStrategy>('any-approve', 'all-approve', { kind: 'highest-authority', settleMs: WINDOW_MS }),
  plainQuorum
)

const orderless: fc.Arbitrary<VoteStrategy> = fc.oneof(
  timeless,
  fc.constant<VoteStrategy>({ kind: 'all-approve', objectionMs: WINDOW_MS }),
  quorumWithObjections(WINDOW_MS)
)

const any: fc.Arbitrary<VoteStrategy> = fc.oneof(
  orderless,
  fc.constantFrom<VoteStrategy>(
    'first-wins',
    { kind: 'all-approve', objectionMs: 0 },
    { kind: 'all-approve', objectionMs: 2 },
    { kind: 'highest-authority', settleMs: 2 }
  ),
  quorumWithObjections(0),
  quorumWithObjections(2)
)

/** Strategies that let an approval wait, briefly. */
const waiting = fc.oneof(
  fc.constant<VoteStrategy>({ kind: 'all-approve', objectionMs: 3 }),
  quorumWithObjections(3)
) as fc.Arbitrary<VoteStrategy & { readonly objectionMs: number }>

describe('a tally', () => {
  test.prop([timeless, election, fc.boolean(), fc.boolean()], { numRuns })(
    'decides exactly when whatever the silent ones could still say would change nothing',
    (strategy, { tiers, votes }, moreTiers, exhausted) => {
      for (let count = 0; count <= votes.length; count++) {
        const cast = votes.slice(0, count)
        const found = tally(strategy, poll(tiers, cast, { moreTiers, exhausted }))
        expect(found.outcome).toBe(specified(strategy, tiers, cast, { moreTiers, exhausted }))
      }
    },
    SOAK_TIMEOUT_MS
  )

  test.prop([orderless, election, fc.infiniteStream(fc.nat()), fc.boolean(), fc.boolean()], { numRuns })(
    'comes to the same in whatever order the same people vote (pitfall 1)',
    (strategy, { tiers, votes }, keys, moreTiers, exhausted) => {
      const once = firstVotes(tiers, votes)
      const lastLook = exhausted ? { exhausted } : WINDOW_OVER
      const shuffled = once
        .map((one) => ({ one, key: keys.next().value ?? 0 }))
        .toSorted((a, b) => a.key - b.key)
        .map(({ one }, index) => ({ ...one, votedAt: index }))
      const inOrder = once.map((one, index) => ({ ...one, votedAt: index }))
      const more = { moreTiers, lastLook }
      expect(feed(strategy, tiers, shuffled, more).outcome).toBe(feed(strategy, tiers, inOrder, more).outcome)
    },
    SOAK_TIMEOUT_MS
  )

  test.prop([election, fc.boolean()], { numRuns: Math.ceil(numRuns / 3) })(
    'of all-approve goes by no order while one tier is asked, whatever objectionMs is',
    ({ tiers, votes }, exhausted) => {
      const one = [tiers.flat()]
      const once = firstVotes(one, votes)
      const strategy: VoteStrategy = { kind: 'all-approve', objectionMs: 0 }
      const { outcome } = feed(strategy, one, once, { lastLook: { exhausted } })
      expect(feed(strategy, one, once.toReversed(), { lastLook: { exhausted } }).outcome).toBe(outcome)
    },
    SOAK_TIMEOUT_MS
  )

  test.prop([waiting, election, fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 5, maxLength: 5 })], {
    numRuns: Math.ceil(numRuns / 4)
  })(
    'waits for objections to the millisecond',
    (strategy, { tiers, votes }, gaps) => {
      const dated = apart(votes, gaps)
      for (let now = 0; now <= (dated.at(-1)?.votedAt ?? 0) + 4; now++) {
        const cast = dated.filter(({ votedAt }) => votedAt <= now)
        const found = tally(strategy, poll(tiers, cast, { now }))
        expect([now, found.outcome]).toEqual([now, watched(strategy, tiers, cast, now)])
      }
    },
    SOAK_TIMEOUT_MS
  )

  test.prop([any, election, fc.array(fc.nat({ max: 3 }), { minLength: 5, maxLength: 5 }), fc.nat({ max: 9 })], {
    numRuns
  })(
    'stands once it has come to something, whoever votes and whatever time passes after that',
    (strategy, { tiers, votes }, gaps, later) => {
      const dated = apart(votes, gaps)
      let decided: ReturnType<typeof tally> | undefined
      for (let count = 0; count <= dated.length; count++) {
        const cast = dated.slice(0, count)
        const found = tally(strategy, poll(tiers, cast))
        if (decided !== undefined) expect(found).toEqual(decided)
        else if (found.outcome === 'open') {
          const looked = tally(strategy, poll(tiers, cast, { now: (found.settleAt ?? 0) - 1 + later }))
          expect(looked.outcome === 'open').toBe(found.settleAt === undefined || later === 0)
        } else decided = found
      }
    },
    SOAK_TIMEOUT_MS
  )

  test.prop([any, election, fc.nat({ max: 5 }), fc.constantFrom('approve' as const, 'deny' as const), fc.boolean()], {
    numRuns
  })(
    'counts nothing of strangers, of votes on something else, or of what a person says the second time',
    (strategy, { tiers, votes }, position, decision, exhausted) => {
      const [known = seat('nobody')] = tiers.flat()
      const options = { exhausted, now: 10 }
      const before = tally(strategy, poll(tiers, votes, options))
      const at = Math.min(position, votes.length)
      const stranger = vote({ ...known, approver: 'mallory', authority: 99 }, decision, 0)
      const elsewhere = vote(known, decision, 0, { argumentHash: `not ${HASH}` })
      const again = votes[0] === undefined ? [] : [{ ...votes[0], decision, approver: votes[0].approver }]
      expect(tally(strategy, poll(tiers, votes.toSpliced(at, 0, stranger), options))).toEqual(before)
      expect(tally(strategy, poll(tiers, votes.toSpliced(at, 0, elsewhere), options))).toEqual(before)
      expect(tally(strategy, poll(tiers, [...votes, ...again], options))).toEqual(before)
    },
    SOAK_TIMEOUT_MS
  )

  test.prop([timeless, election, fc.nat({ max: 4 })], { numRuns })(
    'never turns from an approval because somebody approves instead of denying or saying nothing',
    (strategy, { tiers, votes }, who) => {
      const once = firstVotes(tiers, votes)
      const changed = once.map((one, index) => (index === who ? { ...one, decision: 'approve' as const } : one))
      const options = { exhausted: true }
      if (tally(strategy, poll(tiers, once, options)).outcome !== 'approve') return
      expect(tally(strategy, poll(tiers, changed, options)).outcome).toBe('approve')
    },
    SOAK_TIMEOUT_MS
  )

  test.prop([any, seats, fc.boolean(), fc.boolean()], { numRuns: Math.ceil(numRuns / 5) })(
    'is open without votes, also at the last look: who is silent has not denied',
    (strategy, all, moreTiers, exhausted) => {
      expect(tally(strategy, poll([all], [], { moreTiers, exhausted, now: 1e15 }))).toEqual({ outcome: 'open' })
    },
    SOAK_TIMEOUT_MS
  )
})
