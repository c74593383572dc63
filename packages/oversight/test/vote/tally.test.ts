import { type Poll, type Seat, type Tally, tally, type Vote, type VoteStrategy } from '@enablement/oversight'
import { describe, expect, it } from 'vitest'
import { poll, seat, vote } from './poll.ts'

const ana = seat('ana', { roles: ['finance'], authority: 1 })
const bo = seat('bo', { roles: ['finance', 'legal'], authority: 1 })
const cy = seat('cy', { roles: ['legal'], authority: 5 })
const di = seat('di', { roles: [], authority: 5 })

/** `+ana` approves and `-ana` denies; one vote each `everyMs`, beginning at 0. */
function votes(said: string, everyMs = 1): readonly Vote[] {
  const people: Readonly<Record<string, Seat>> = { ana, bo, cy, di }
  return said
    .split(' ')
    .filter((word) => word !== '')
    .map((word, index) => {
      const who = people[word.slice(1)]
      if (who === undefined) throw new Error(`nobody is called ${word}`)
      return vote(who, word.startsWith('+') ? 'approve' : 'deny', index * everyMs)
    })
}

const brief = (found: Tally): string =>
  found.outcome === 'open'
    ? found.settleAt === undefined
      ? 'open'
      : `open until ${found.settleAt}`
    : `${found.outcome} by ${found.by.approver}: ${found.because}`

type Row = readonly [tiers: readonly (readonly Seat[])[], said: string, expected: string, more?: Partial<Poll>]

const holds = (strategy: VoteStrategy, rows: readonly Row[]): void => {
  for (const [tiers, said, expected, more] of rows) {
    expect([said, brief(tally(strategy, poll(tiers, votes(said), more)))]).toEqual([said, expected])
  }
}

describe('first-wins', () => {
  it('goes by the order in which the votes were committed, and by nothing else', () => {
    holds('first-wins', [
      [[[ana, bo]], '', 'open'],
      [[[ana, bo]], '+ana -bo', 'approve by ana: first-vote'],
      [[[ana, bo]], '-bo +ana', 'deny by bo: first-vote']
    ])
    const [first, second] = votes('+ana -bo')
    const backwards = [first, second].map((one, index) => ({ ...(one as Vote), votedAt: 9 - index }))
    expect(brief(tally('first-wins', poll([[ana, bo]], backwards)))).toBe('approve by ana: first-vote')
  })
})

describe('any-approve', () => {
  it('approves by one approval, and denies only when no approver remains', () => {
    holds('any-approve', [
      [[[ana, bo]], '-ana', 'open'],
      [[[ana, bo]], '-ana', 'open', { exhausted: true }],
      [[[ana, bo]], '-ana +bo', 'approve by bo: one-approved'],
      [[[ana, bo]], '-ana -bo', 'deny by bo: all-denied'],
      [[[ana, bo]], '-ana -bo', 'open', { moreTiers: true }],
      [[[ana, bo]], '-ana -bo', 'deny by bo: all-denied', { moreTiers: true, exhausted: true }],
      [[[ana], [bo]], '-ana', 'open'],
      [[[ana], [ana, bo]], '-ana -bo', 'deny by bo: all-denied'],
      [[[], []], '', 'open', { exhausted: true }]
    ])
  })
})

describe('all-approve', () => {
  it('needs everybody, and one denial denies; who is missing is pending and never a denial', () => {
    holds('all-approve', [
      [[[ana, bo]], '+ana', 'open'],
      [[[ana, bo]], '+ana', 'open', { exhausted: true }],
      [[[ana, bo]], '+ana +bo', 'approve by bo: all-approved'],
      [[[ana, bo]], '+ana +bo', 'approve by bo: all-approved', { moreTiers: true }],
      [[[ana, bo]], '+ana -bo', 'deny by bo: one-denied'],
      [[[ana, bo]], '-bo', 'deny by bo: one-denied', { moreTiers: true }]
    ])
  })

  it('lets a whole tier stand in for one that is silent, at the end of the chain', () => {
    const tiers = [[ana, bo], [cy]]
    holds('all-approve', [
      [tiers, '+ana +cy', 'open'],
      [tiers, '+ana +cy', 'approve by cy: tier-approved', { exhausted: true }],
      [tiers, '+ana +cy -bo', 'deny by bo: one-denied'],
      [tiers, '+cy +ana +bo', 'approve by bo: all-approved'],
      [[[], [cy]], '+cy', 'approve by cy: all-approved'],
      [[[], [ana, cy]], '+cy', 'open', { exhausted: true }]
    ])
  })

  it('with objectionMs lets it stand in once the others have had that time to deny', () => {
    const tiers = [[ana, bo], [cy]]
    const strategy = (objectionMs: number): VoteStrategy => ({ kind: 'all-approve', objectionMs })
    holds(strategy(10), [
      [tiers, '+cy', 'open until 10'],
      [tiers, '+cy +ana', 'open until 10', { now: 9 }],
      [tiers, '+cy +ana', 'approve by cy: tier-approved', { now: 10 }],
      [tiers, '+cy', 'approve by cy: tier-approved', { now: 5, exhausted: true }],
      [tiers, '+cy -bo', 'deny by bo: one-denied', { now: 99 }],
      [tiers, '+ana', 'open', { now: 99 }]
    ])
    holds(strategy(1), [[tiers, '+cy -bo', 'approve by cy: tier-approved']])
    holds(strategy(2), [[tiers, '+cy -bo', 'deny by bo: one-denied']])
    holds(strategy(0), [[tiers, '+cy -bo', 'approve by cy: tier-approved']])
  })

  it('goes by people: an id and its alias are one, in one tier or in two', () => {
    const alias = seat('ana-bot', { principal: 'Ana' })
    holds('all-approve', [
      [[[ana, alias]], '+ana', 'approve by ana: all-approved'],
      [[[ana], [alias, bo]], '+ana +bo', 'approve by bo: all-approved']
    ])
  })
})

describe('highest-authority', () => {
  const strategy: VoteStrategy = { kind: 'highest-authority', settleMs: 10 }
  const all = [[ana, bo, cy, di]]

  it('waits until the top has voted, and a tie there denies (pitfall 3)', () => {
    holds(strategy, [
      [all, '+ana -bo', 'open until 10'],
      [all, '-ana -bo +cy', 'open until 10'],
      [all, '-ana -bo +cy +di', 'approve by di: top-authority'],
      [all, '+ana -cy', 'deny by cy: top-authority'],
      [all, '+cy -di', 'deny by di: tie'],
      [all, '-cy +di', 'deny by cy: top-authority'],
      [all, '-di', 'deny by di: top-authority'],
      [[[ana, bo]], '-ana', 'deny by ana: top-authority'],
      [[[ana, bo], [cy]], '+ana +bo', 'open until 10'],
      [[[ana, bo]], '+ana +bo', 'approve by bo: top-authority', { moreTiers: true }]
    ])
  })

  it('lets the highest that did vote decide when the window ends, to the millisecond', () => {
    holds(strategy, [
      [all, '+ana', 'open until 10', { now: 9 }],
      [all, '+ana', 'approve by ana: top-authority', { now: 10 }],
      [all, '+ana', 'approve by ana: top-authority', { now: 1, exhausted: true }],
      [all, '+ana -bo', 'deny by bo: tie', { now: 10 }],
      [all, '-ana -bo +cy', 'approve by cy: top-authority', { now: 10 }]
    ])
    const at = (votedAt: number): readonly Vote[] => [...votes('-ana'), vote(cy, 'approve', votedAt)]
    expect(brief(tally(strategy, poll(all, at(9), { now: 20 })))).toBe('approve by cy: top-authority')
    expect(brief(tally(strategy, poll(all, at(10), { now: 20 })))).toBe('deny by ana: top-authority')
    const setBack = { now: 5 }
    expect(brief(tally(strategy, poll(all, at(10), setBack)))).toBe('deny by ana: top-authority')
    expect(brief(tally(strategy, poll(all, at(9), setBack)))).toBe('open until 10')
  })

  it('compares what people were asked with and still have: a demotion counts, a promotion does not', () => {
    const demoted = vote(cy, 'approve', 0, { authority: 0 })
    const promoted = vote(ana, 'deny', 1, { authority: 99 })
    expect(brief(tally(strategy, poll([[ana, cy]], [demoted])))).toBe('open until 10')
    expect(brief(tally(strategy, poll([[ana, cy]], [demoted, promoted])))).toBe('deny by ana: top-authority')
    expect(brief(tally(strategy, poll([[ana, cy]], [promoted])))).toBe('open until 11')
  })
})

describe('a quorum', () => {
  const two: VoteStrategy = { kind: 'quorum', anyOf: [[{ approve: 2 }]] }
  const both: VoteStrategy = {
    kind: 'quorum',
    anyOf: [[{ role: 'finance', approve: 1 }, { role: 'legal', approve: 1 }, { approve: 2 }]]
  }

  it('is met by so many people, and denied as soon as it is out of reach', () => {
    holds(two, [
      [[[ana, bo, cy]], '+ana', 'open'],
      [[[ana, bo, cy]], '+ana +bo', 'approve by bo: quorum-met'],
      [[[ana, bo, cy]], '-cy +ana +bo', 'approve by bo: quorum-met'],
      [[[ana, bo, cy]], '-cy', 'open'],
      [[[ana, bo, cy]], '-cy -ana', 'deny by ana: quorum-out-of-reach'],
      [[[ana, bo, cy]], '-cy -ana', 'open', { moreTiers: true }],
      [[[ana, bo, cy]], '-cy -ana', 'deny by ana: quorum-out-of-reach', { moreTiers: true, exhausted: true }],
      [[[ana, bo, cy]], '-cy +ana', 'open', { exhausted: true }],
      [[[ana]], '+ana', 'open', { exhausted: true }],
      [[[ana], [bo]], '+ana +bo', 'approve by bo: quorum-met']
    ])
  })

  it('counts a person once for each threshold whose role they have', () => {
    holds(both, [
      [[[ana, bo, cy]], '+bo', 'open'],
      [[[ana, bo, cy]], '+bo +ana', 'approve by ana: quorum-met'],
      [[[ana, bo, cy, di]], '+di +bo', 'approve by bo: quorum-met'],
      [[[ana, di, cy]], '+ana +di', 'open'],
      [[[ana, di, cy]], '+ana +di -cy', 'deny by cy: quorum-out-of-reach']
    ])
  })

  it('takes any alternative', () => {
    const strategy: VoteStrategy = {
      kind: 'quorum',
      anyOf: [[{ role: 'finance', approve: 2 }], [{ role: 'legal', approve: 1 }]]
    }
    holds(strategy, [
      [[[ana, bo, cy]], '+cy', 'approve by cy: quorum-met'],
      [[[ana, bo, cy]], '-ana', 'open'],
      [[[ana, bo, cy]], '-ana -cy +bo', 'approve by bo: quorum-met'],
      [[[ana, bo, cy]], '-ana -cy -bo', 'deny by bo: quorum-out-of-reach']
    ])
  })

  it('counts two ids of one principal as one vote, the first (pitfall 20)', () => {
    const alias = seat('ana-phone', { principal: 'ana' })
    const lookAlike = seat('ＡＮＡ')
    const cast = [vote(ana, 'approve'), vote(alias, 'approve', 1), vote(lookAlike, 'approve', 2)]
    const seats = [[ana, alias, lookAlike, bo]]
    expect(brief(tally(two, poll(seats, cast)))).toBe('open')
    expect(brief(tally(two, poll(seats, [...cast, vote(bo, 'approve', 3)])))).toBe('approve by bo: quorum-met')
    expect(brief(tally(two, poll(seats, [vote(bo, 'deny')])))).toBe('deny by bo: quorum-out-of-reach')
    const whoBecameHer = vote(bo, 'approve', 3, { principal: 'ana' })
    expect(brief(tally(two, poll(seats, [...cast, whoBecameHer])))).toBe('open')
  })

  it('counts an id as one person whoever it stood for in each tier', () => {
    const [before, after] = [seat('cfo', { principal: 'ana' }), seat('cfo', { principal: 'bo' })]
    const tiers = [
      [before, ana],
      [after, bo]
    ]
    expect(brief(tally(two, poll(tiers, votes('+ana +bo'))))).toBe('open')
  })

  it('counts a role that a person was asked with and still has', () => {
    const strategy: VoteStrategy = { kind: 'quorum', anyOf: [[{ role: 'legal', approve: 1 }]] }
    const gained = vote(ana, 'approve', 0, { roles: ['legal'] })
    const lost = vote(cy, 'approve', 1, { roles: [] })
    expect(brief(tally(strategy, poll([[ana, cy]], [gained])))).toBe('open')
    expect(brief(tally(strategy, poll([[ana, cy]], [gained, lost], { exhausted: true })))).toBe('open')
  })

  it('counts only votes on what is asked now (pitfall 4)', () => {
    const stale = vote(bo, 'approve', 0, { argumentHash: 'before the edit' })
    expect(brief(tally(two, poll([[ana, bo]], [stale, ...votes('+ana')])))).toBe('open')
  })

  it('with a lower threshold of denials lets the order decide, unless it waits for objections', () => {
    const strategy = (objectionMs: number): VoteStrategy => ({
      kind: 'quorum',
      objectionMs,
      anyOf: [[{ approve: 2, deny: 1 }]]
    })
    const three = [[ana, bo, cy]]
    holds(strategy(0), [
      [three, '+ana +bo -cy', 'approve by bo: quorum-met'],
      [three, '-cy +ana +bo', 'deny by cy: quorum-denied'],
      [three, '-cy', 'deny by cy: quorum-denied', { moreTiers: true }]
    ])
    holds(strategy(10), [
      [three, '+ana +bo', 'open until 11'],
      [three, '+ana +bo', 'open until 11', { now: 10 }],
      [three, '+ana +bo', 'approve by bo: quorum-met', { now: 11 }],
      [three, '+ana +bo', 'approve by bo: quorum-met', { exhausted: true }],
      [three, '+ana +bo -cy', 'deny by cy: quorum-denied'],
      [three, '+ana +bo +cy', 'approve by cy: quorum-met'],
      [three, '-cy', 'deny by cy: quorum-denied']
    ])
    const objection = (votedAt: number): readonly Vote[] => [...votes('+ana +bo'), vote(cy, 'deny', votedAt)]
    expect(brief(tally(strategy(10), poll(three, objection(10))))).toBe('deny by cy: quorum-denied')
    expect(brief(tally(strategy(10), poll(three, objection(11))))).toBe('approve by bo: quorum-met')
  })

  it('waits for no objection where one alternative is beyond all that remain', () => {
    const strategy: VoteStrategy = {
      kind: 'quorum',
      objectionMs: 10,
      anyOf: [[{ approve: 1, deny: 1 }], [{ role: 'legal', approve: 1 }]]
    }
    holds(strategy, [
      [[[ana, bo]], '+ana', 'open until 10'],
      [[[ana, bo]], '+bo', 'approve by bo: quorum-met']
    ])
  })

  it('that was met and undone is met again by another alternative, and waits anew', () => {
    const strategy: VoteStrategy = {
      kind: 'quorum',
      objectionMs: 10,
      anyOf: [[{ role: 'finance', approve: 1, deny: 1 }], [{ role: 'legal', approve: 1, deny: 2 }]]
    }
    const [yes, no] = [vote(ana, 'approve', 0), vote(bo, 'deny', 5)]
    const three = [[ana, bo, cy, seat('ed', { roles: ['legal'] })]]
    expect(brief(tally(strategy, poll(three, [yes, no])))).toBe('open')
    expect(brief(tally(strategy, poll(three, [yes, no, vote(cy, 'approve', 7)])))).toBe('open until 17')
  })
})
