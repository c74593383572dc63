import { impossible, type Seat, tally, type VoteStrategy } from '@enablement/oversight'
import { fc, test } from '@fast-check/vitest'
import { describe, expect, inject, it } from 'vitest'
import { election, plainQuorum, poll, quorumWithObjections, seat, vote } from './poll.ts'

const ana = seat('ana', { roles: ['finance'] })
const bo = seat('bo', { roles: ['finance', 'legal'] })
const alias = seat('bo-phone', { principal: 'bo', roles: ['legal'] })

const threshold = { approve: 1 }
const quorumOf = (...anyOf: readonly unknown[]): unknown => ({ kind: 'quorum', anyOf })

describe('a vote strategy', () => {
  it.each<[VoteStrategy]>([
    ['first-wins'],
    ['any-approve'],
    ['all-approve'],
    [{ kind: 'all-approve', objectionMs: 0 }],
    [{ kind: 'all-approve', objectionMs: 2_592_000_000 }],
    [{ kind: 'highest-authority', settleMs: 1 }],
    [{ kind: 'quorum', anyOf: [[{ approve: 100 }]] }],
    [{ kind: 'quorum', anyOf: [[{ role: 'finance', approve: 1, deny: 1 }]], objectionMs: 0 }],
    [
      {
        kind: 'quorum',
        anyOf: Array(8).fill(['a', 'b', 'c', 'd', 'e', 'f', 'g'].map((role) => ({ role, approve: 1 })))
      }
    ]
  ])('may be %o', (strategy) => {
    expect(() => impossible(strategy, [[ana]])).not.toThrow()
  })

  it.each<[what: string, strategy: unknown, path: string]>([
    ['a name that is none', 'majority', ''],
    ['nothing', undefined, ''],
    ['a list', ['first-wins'], ''],
    ['a kind that is none', { kind: 'majority' }, 'kind'],
    ['a rule without a kind', { settleMs: 1 }, 'kind'],
    ['no window', { kind: 'highest-authority' }, 'settleMs'],
    ['a window of nothing', { kind: 'highest-authority', settleMs: 0 }, 'settleMs'],
    ['half a millisecond', { kind: 'highest-authority', settleMs: 1.5 }, 'settleMs'],
    ['a window that is no number', { kind: 'highest-authority', settleMs: Number.NaN }, 'settleMs'],
    ['a window without end', { kind: 'highest-authority', settleMs: Number.POSITIVE_INFINITY }, 'settleMs'],
    ['a window beyond 30 days', { kind: 'all-approve', objectionMs: 2_592_000_001 }, 'objectionMs'],
    ['a window before the votes', { kind: 'all-approve', objectionMs: -1 }, 'objectionMs'],
    ['an option that there is not', { kind: 'highest-authority', settleMs: 1, settleMS: 2 }, 'settleMS'],
    ['a quorum of nothing', quorumOf(), 'anyOf'],
    ['an alternative of nothing', quorumOf([threshold], []), 'anyOf.1'],
    ['more than 8 alternatives', quorumOf(...Array(9).fill([threshold])), 'anyOf'],
    ['more than 8 thresholds', quorumOf([...'abcdefghi'].map((role) => ({ role, approve: 1 }))), 'anyOf.0'],
    ['a threshold of 0', quorumOf([{ approve: 0 }]), 'anyOf.0.0.approve'],
    ['a threshold of 101', quorumOf([{ approve: 101 }]), 'anyOf.0.0.approve'],
    ['a threshold that is no number', quorumOf([{ approve: '2' }]), 'anyOf.0.0.approve'],
    ['a typing error in a threshold', quorumOf([threshold, { approve: 1, rôle: 'finance' }]), 'anyOf.0.1.rôle'],
    ['a role that is blank', quorumOf([{ role: '', approve: 1 }]), 'anyOf.0.0.role'],
    [
      'a role named twice',
      quorumOf([
        { role: 'a', approve: 1 },
        { role: 'a', approve: 2 }
      ]),
      'anyOf.0.1.role'
    ],
    ['anybody named twice', quorumOf([threshold, { approve: 2 }]), 'anyOf.0.1.role'],
    ['denials without objectionMs', quorumOf([{ approve: 1, deny: 1 }]), 'objectionMs'],
    ['objectionMs without denials', { kind: 'quorum', anyOf: [[threshold]], objectionMs: 1 }, 'objectionMs'],
    ['no denials at all', { kind: 'quorum', anyOf: [[{ approve: 1, deny: 0 }]], objectionMs: 0 }, 'anyOf.0.0.deny']
  ])('is refused with the path for %s', (_, strategy, path) => {
    expect(() => impossible(strategy as VoteStrategy, [[ana]])).toThrow(
      expect.objectContaining({
        code: 'INVALID_OPTIONS',
        detail: { subject: 'impossible', issues: expect.arrayContaining([expect.objectContaining({ path })]) }
      })
    )
  })
})

describe('what is impossible', () => {
  it.each<[strategy: VoteStrategy, tiers: readonly (readonly Seat[])[], never: boolean, paths: readonly string[]]>([
    ['any-approve', [], true, ['']],
    ['all-approve', [[], []], true, ['']],
    ['all-approve', [[], [ana]], false, []],
    [{ kind: 'highest-authority', settleMs: 1 }, [[ana]], false, []],
    [{ kind: 'quorum', anyOf: [[{ approve: 2 }]] }, [[ana, bo]], false, []],
    [{ kind: 'quorum', anyOf: [[{ approve: 3 }]] }, [[ana, bo]], true, ['anyOf.0.0.approve']],
    [{ kind: 'quorum', anyOf: [[{ approve: 3 }]] }, [[ana, bo], [alias]], true, ['anyOf.0.0.approve']],
    [{ kind: 'quorum', anyOf: [[{ role: 'ops', approve: 1 }], [{ approve: 1 }]] }, [[ana]], false, ['anyOf.0.0.role']],
    [
      { kind: 'quorum', anyOf: [[{ approve: 1 }, { role: 'legal', approve: 2 }], [{ role: 'ops', approve: 1 }]] },
      [[ana, bo, alias]],
      true,
      ['anyOf.0.1.approve', 'anyOf.1.0.role']
    ]
  ])('of %o', (strategy, tiers, never, paths) => {
    const found = impossible(strategy, tiers)
    expect({ never: found.never, paths: found.issues.map(({ path }) => path) }).toEqual({ never, paths })
  })

  test.prop([fc.oneof(plainQuorum, quorumWithObjections(1)), election], { numRuns: Math.ceil(150 * inject('scale')) })(
    'is exactly what cannot be approved even by everybody',
    (generated, { tiers }) => {
      const { kind, anyOf } = generated
      const denies = anyOf.flat().some(({ deny }) => deny !== undefined)
      const strategy = denies ? generated : { kind, anyOf }
      const roles = ['finance', 'legal', 'ops']
      const everybody = tiers.flat().map((one) => vote(one, 'approve', 0, { roles }))
      const { outcome } = tally(strategy, poll(tiers, everybody, { exhausted: true }))
      expect(impossible(strategy, tiers).never).toBe(outcome !== 'approve')
    }
  )
})
