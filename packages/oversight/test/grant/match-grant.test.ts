import {
  type DetailRule,
  type GrantAsk,
  type GrantObstacle,
  type GrantRecord,
  type GrantTerms,
  matchGrant,
  patternsOf
} from '@enablement/oversight'
import { describe, expect, it } from 'vitest'
import { ask, grantOf, NOW } from './stage.ts'

/** What is in the way of one grant; nothing when it holds. */
function obstacles(grant: GrantRecord, change: Partial<GrantAsk> = {}, now = NOW): readonly GrantObstacle[] {
  const match = matchGrant([grant], { ...ask, ...change }, now)
  if (match.outcome === 'matched') return []
  return match.nearMisses.flatMap(({ because }) => because)
}

describe('a grant', () => {
  it.each<[what: string, terms: Partial<GrantTerms>, change: Partial<GrantAsk>, expected: readonly GrantObstacle[]]>([
    ['its action', {}, {}, []],
    ['its agent', { agent: 'agent-7' }, {}, []],
    ['another agent', { agent: 'agent-7' }, { requestedBy: { agent: 'agent-8' } }, ['other-agent']],
    ['its agent in other letters', { agent: 'agent-7' }, { requestedBy: { agent: 'Agent-7' } }, ['other-agent']],
    ['its task', { task: 'sale-2026' }, {}, []],
    ['another task', { task: 'sale-2027' }, {}, ['other-task']],
    ['its version', { policyVersion: 'v3' }, {}, []],
    ['another version', { policyVersion: 'v2' }, {}, ['other-policy-version']],
    ['less risk', {}, { risk: 'low' }, []],
    ['more risk', {}, { risk: 'high' }, ['risk']],
    ['the human behind, who issued it', { issuedBy: 'UMA' }, {}, ['separation-of-duties']],
    ['an issuer who is the human behind', { issuerPrincipal: 'uma' }, {}, ['separation-of-duties']],
    ['the human behind, by another id', { issuedBy: 'uma', issuerPrincipal: 'u-9' }, {}, ['separation-of-duties']],
    ['an agent that issued it', { issuedBy: 'agent-7' }, {}, ['separation-of-duties']],
    ['who really is its issuer', { issuerPrincipal: 'u-1' }, { principals: ['u-7', 'u-1'] }, ['separation-of-duties']],
    ['all of it at once', { task: 'x', riskMax: 'low' }, { risk: 'critical' }, ['other-task', 'risk']]
  ])('for %s', (_, terms, change, expected) => {
    expect(obstacles(grantOf(terms), change)).toEqual(expected)
  })

  it('without a task in what is asked does not hold for one', () => {
    const { task: _, ...taskless } = ask
    const match = matchGrant([grantOf({ task: 'sale-2026' })], taskless, NOW)
    expect(match).toMatchObject({ outcome: 'unmatched', nearMisses: [{ because: ['other-task'] }] })
  })

  it('holds from its issue to the millisecond before its end', () => {
    const grant = grantOf({ ttlMs: 10 })
    expect(obstacles(grant, {}, NOW - 1)).toEqual(['not-yet'])
    expect(obstacles(grant, {}, NOW)).toEqual([])
    expect(obstacles(grant, {}, NOW + 9)).toEqual([])
    expect(obstacles(grant, {}, NOW + 10)).toEqual(['expired'])
  })

  it('is over when it is used up or revoked, whatever the clock says', () => {
    expect(obstacles(grantOf({}, { used: 2 }))).toEqual([])
    expect(obstacles(grantOf({}, { used: 3 }))).toEqual(['used-up'])
    expect(obstacles(grantOf({}, { used: 4 }))).toEqual(['used-up'])
    expect(obstacles(grantOf({}, { revokedAt: NOW + 5 }))).toEqual(['revoked'])
  })

  it.each<[rule: DetailRule, holds: boolean]>([
    [{ path: 'order', equals: '118' }, true],
    [{ path: 'order', equals: 118 }, false],
    [{ path: 'rush', equals: false }, true],
    [{ path: 'note', equals: null }, true],
    [{ path: 'missing', equals: null }, false],
    [{ path: 'order', oneOf: ['117', '118'] }, true],
    [{ path: 'order', oneOf: ['117', 118] }, false],
    [{ path: 'cents', max: 1_200 }, true],
    [{ path: 'cents', max: 1_199.99 }, false],
    [{ path: 'cents', min: 1_200, max: 5_000 }, true],
    [{ path: 'cents', min: 1_201, max: 5_000 }, false],
    [{ path: 'order', max: 1_000 }, false],
    [{ path: 'rush', max: 1_000 }, false],
    [{ path: 'cents', max: 5_000, oneOf: [1_200, 1_300] }, true],
    [{ path: 'cents', max: 5_000, oneOf: [1_300] }, false],
    [{ path: 'lines.0.sku', equals: 'a-1' }, true],
    [{ path: 'lines.1.sku', equals: 'a-1' }, false],
    [{ path: 'lines.2.sku', equals: 'a-1' }, false],
    [{ path: 'lines.00.sku', equals: 'a-1' }, false],
    [{ path: 'lines.length', max: 5 }, false],
    [{ path: 'order.length', max: 5 }, false],
    [{ path: 'note.x', equals: null }, false],
    [{ path: 'constructor.name', equals: 'Object' }, false],
    [{ path: '__proto__.__proto__', equals: null }, false]
  ])('with the rule %o', (rule, holds) => {
    const match = matchGrant([grantOf({ detail: [rule] })], ask, NOW)
    expect(match).toMatchObject(
      holds
        ? { outcome: 'matched' }
        : { outcome: 'unmatched', nearMisses: [{ because: ['detail'], paths: [rule.path] }] }
    )
  })

  it('with a max does not cover a negative amount', () => {
    const refund = (cents: number): readonly GrantObstacle[] =>
      obstacles(grantOf({ detail: [{ path: 'cents', max: 5_000 }] }), { detail: { cents } })
    expect(refund(0)).toEqual([])
    expect(refund(-1)).toEqual(['detail'])
  })

  it.each([
    ['payments.refund', 'payments.refund', true],
    ['payments.*', 'payments.refund', true],
    ['payments.*', 'payments.refund.partial', true],
    ['payments.refund.*', 'payments.refund', false],
    ['payments.refund.*', 'payments.refund.partial', true],
    ['payments.*', 'payments', false],
    ['payments.*', 'payments-eu.refund', false],
    ['payments.refund', 'payments.refund.partial', false]
  ])('for %s asked for %s: %s', (pattern, action, covers) => {
    const { outcome } = matchGrant([grantOf({ action: pattern })], { ...ask, action }, NOW)
    expect(outcome).toBe(covers ? 'matched' : 'unmatched')
    expect(patternsOf(action).includes(pattern)).toBe(covers)
  })

  it('of another tenant is not even a near miss', () => {
    const match = matchGrant([grantOf(), grantOf({ action: 'mail.*' })], { ...ask, tenant: 'org_43' }, NOW)
    expect(match).toEqual({ outcome: 'unmatched', nearMisses: [] })
  })

  it('that misses says why without the values of the detail, the nearest ten first', () => {
    const far = grantOf({ task: 'x', riskMax: 'low', agent: 'z' }, { id: 'far' })
    const near = grantOf(
      {
        detail: [
          { path: 'cents', max: 1 },
          { path: 'order', equals: 'secret' }
        ]
      },
      { id: 'near' }
    )
    const match = matchGrant([...Array(12).fill(far), near] as GrantRecord[], ask, NOW)
    if (match.outcome === 'matched') throw new Error('none of them holds')
    expect(match.nearMisses).toHaveLength(10)
    expect(match.nearMisses[0]).toEqual({ grantId: 'near', because: ['detail'], paths: ['cents', 'order'] })
    expect(JSON.stringify(match)).not.toMatch(/secret|1200/)
  })

  it('is the narrowest, then the oldest, then the first by id', () => {
    const narrowing: readonly (readonly [Partial<GrantTerms>, Partial<GrantRecord>])[] = [
      [{ action: 'payments.*' }, { id: 'b', issuedAt: NOW }],
      [{ action: 'payments.*' }, { id: 'a', issuedAt: NOW }],
      [{ action: 'payments.*' }, { id: 'c', issuedAt: NOW - 5 }],
      [
        { action: 'payments.*', riskMax: 'medium', task: 'sale-2026' },
        { id: 'd', issuedAt: NOW - 1 }
      ],
      [{ riskMax: 'high' }, { id: 'e' }],
      [{ riskMax: 'medium' }, { id: 'f' }],
      [{ detail: [{ path: 'cents', max: 5_000 }], riskMax: 'high' }, { id: 'g' }],
      [{ policyVersion: 'v3' }, { id: 'h' }],
      [{ agent: 'agent-7' }, { id: 'i' }],
      [{ task: 'sale-2026' }, { id: 'j' }],
      [{ task: 'sale-2026', agent: 'agent-7' }, { id: 'k' }]
    ]
    const grants = narrowing.map(([terms, more]) => grantOf(terms, more))
    const order: string[] = []
    for (let left = grants; left.length > 0; ) {
      const match = matchGrant(left, ask, NOW)
      if (match.outcome === 'unmatched') break
      order.push(match.grant.id)
      left = left.filter(({ id }) => id !== match.grant.id)
    }
    expect(order.join('')).toBe('kjihgfedcab')
  })

  it('of a longer pattern goes before one of a shorter', () => {
    const grants = ['payments.*', 'payments.refund.*'].map((action) => grantOf({ action }, { id: action }))
    const match = matchGrant(grants, { ...ask, action: 'payments.refund.partial' }, NOW)
    expect(match).toMatchObject({ outcome: 'matched', grant: { id: 'payments.refund.*' } })
    expect(patternsOf('payments.refund.partial')).toEqual([
      'payments.refund.partial',
      'payments.refund.*',
      'payments.*'
    ])
    expect(patternsOf('payments')).toEqual(['payments'])
  })

  it('of a pattern comes after one of the very action, however short that is', () => {
    const grants = ['ops.*', 'ops.x'].map((action, index) => grantOf({ action, usesMax: 2 - index }, { id: action }))
    const match = matchGrant(grants, { ...ask, action: 'ops.x' }, NOW)
    expect(match).toMatchObject({ outcome: 'matched', grant: { id: 'ops.x' } })
  })
})
