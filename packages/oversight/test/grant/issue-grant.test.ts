import { type GrantIssue, type GrantTerms, grantEvidence, issueGrant } from '@enablement/oversight'
import { describe, expect, it } from 'vitest'
import { NOW, terms } from './stage.ts'

const DAY_MS = 86_400_000
const issue: GrantIssue = { id: 'g1', now: NOW }

describe('the terms of a grant', () => {
  it('become a record and a fact that holds all of its scope', () => {
    const scope = { agent: 'agent-7', task: 'sale-2026', policyVersion: 'v3' }
    const detail = [{ path: 'cents', max: 5_000 }]
    const issued = issueGrant({ ...terms, ...scope, detail, issuerPrincipal: 'u-1' }, issue)
    if (issued.outcome !== 'issued') throw new Error('it was not issued')
    expect(issued.grant).toEqual({
      id: 'g1',
      tenant: 'org_42',
      action: 'payments.refund',
      ...scope,
      detail,
      riskMax: 'medium',
      issuedBy: 'ana',
      issuerPrincipal: 'u-1',
      reason: terms.reason,
      issuedAt: NOW,
      expiresAt: NOW + 60_000,
      usesMax: 3,
      used: 0,
      revokedAt: undefined
    })
    expect(grantEvidence('org_42', issued.fact)).toEqual({
      tenant: 'org_42',
      actor: 'approver:ana',
      action: 'grant.issued',
      subject: 'grant:g1',
      detail: {
        by: 'ana',
        action: 'payments.refund',
        ...scope,
        detail,
        riskMax: 'medium',
        expiresAt: NOW + 60_000,
        usesMax: 3,
        reason: terms.reason
      }
    })
  })

  it('without a scope are for every agent, task and version', () => {
    expect(issueGrant(terms, issue)).toMatchObject({
      grant: { agent: undefined, task: undefined, policyVersion: undefined, detail: [], issuerPrincipal: 'ana' }
    })
  })

  it('last 30 days at most, or as long as the caller allows', () => {
    const of = (ttlMs: number, ttlMaxMs?: number): unknown =>
      issueGrant({ ...terms, ttlMs }, { ...issue, ...(ttlMaxMs === undefined ? {} : { ttlMaxMs }) })
    expect(of(30 * DAY_MS)).toMatchObject({ outcome: 'issued' })
    expect(() => of(30 * DAY_MS + 1)).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }))
    expect(of(366 * DAY_MS, 366 * DAY_MS)).toMatchObject({ outcome: 'issued' })
    expect(() => of(1_001, 1_000)).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }))
  })

  it.each<[what: string, change: object, path: string]>([
    ['no tenant', { tenant: undefined }, 'tenant'],
    ['every action', { action: '*' }, 'action'],
    ['a pattern in the middle', { action: 'payments.*.refund' }, 'action'],
    ['a pattern of half a word', { action: 'pay*' }, 'action'],
    ['an action that cannot be', { action: 'Payments.refund' }, 'action'],
    ['a version of several actions', { action: 'payments.*', policyVersion: 'v1' }, 'policyVersion'],
    ['an agent that is blank', { agent: '' }, 'agent'],
    ['a risk that is none', { riskMax: 'none' }, 'riskMax'],
    ['no risk', { riskMax: undefined }, 'riskMax'],
    ['an issuer that is the system', { issuedBy: 'system:escalation' }, 'issuedBy'],
    ['no reason', { reason: undefined }, 'reason'],
    ['a blank reason', { reason: ' ' }, 'reason'],
    ['no time', { ttlMs: 0 }, 'ttlMs'],
    ['a time that is no number', { ttlMs: Number.NaN }, 'ttlMs'],
    ['a time without end', { ttlMs: Number.POSITIVE_INFINITY }, 'ttlMs'],
    ['no uses', { usesMax: 0 }, 'usesMax'],
    ['uses without a bound', { usesMax: undefined }, 'usesMax'],
    ['uses beyond the bound', { usesMax: 10_001 }, 'usesMax'],
    ['half a use', { usesMax: 1.5 }, 'usesMax'],
    ['an option that there is not', { maxUses: 3 }, 'maxUses'],
    ['a rule about nothing', { detail: [{ path: 'cents' }] }, 'detail.0'],
    ['a rule without a path', { detail: [{ path: '', max: 1 }] }, 'detail.0.path'],
    ['a path with a hole', { detail: [{ path: 'a..b', max: 1 }] }, 'detail.0.path'],
    ['a limit that is no number', { detail: [{ path: 'cents', max: '5000' }] }, 'detail.0.max'],
    ['a limit of NaN', { detail: [{ path: 'cents', max: Number.NaN }] }, 'detail.0.max'],
    ['a limit below 0 without min', { detail: [{ path: 'cents', max: -1 }] }, 'detail.0.max'],
    ['a min above the max', { detail: [{ path: 'cents', min: 6, max: 5 }] }, 'detail.0.min'],
    ['a min alone', { detail: [{ path: 'cents', min: 6 }] }, 'detail.0.min'],
    ['a choice of nothing', { detail: [{ path: 'cents', oneOf: [] }] }, 'detail.0.oneOf'],
    ['a value that is no plain one', { detail: [{ path: 'cents', equals: {} }] }, 'detail.0.equals'],
    ['a typing error in a rule', { detail: [{ path: 'cents', max: 1, mx: 1 }] }, 'detail.0.mx'],
    ['more than 16 rules', { detail: Array(17).fill({ path: 'a', max: 1 }) }, 'detail'],
    ['rules beyond 8,192 characters', { detail: Array(9).fill({ path: 'a', equals: 'x'.repeat(1_000) }) }, 'detail'],
    ['a rule that has no JSON', { detail: [{ path: 'a', equals: '\ud800' }] }, 'detail']
  ])('are refused with the path for %s', (_, change, path) => {
    expect(() => issueGrant({ ...terms, ...change }, issue)).toThrow(
      expect.objectContaining({
        code: 'INVALID_OPTIONS',
        detail: { subject: 'issueGrant', issues: expect.arrayContaining([expect.objectContaining({ path })]) }
      })
    )
  })

  it.each<[what: string, change: Partial<GrantTerms>, requesters: readonly string[]]>([
    ['the agent itself', { agent: 'Ana' }, []],
    ['whom the issuer is an id of', { agent: 'agent-7', issuerPrincipal: 'agent-7' }, []],
    ['the human behind', { agent: 'agent-7' }, ['ANA']],
    ['the human behind, by another id', { issuerPrincipal: 'u-9' }, ['ana']],
    ['a principal of the human behind', { issuerPrincipal: 'u-1' }, ['someone', 'u-1']]
  ])('are refused, on record, when the issuer is %s (pitfall 20)', (_, change, requesters) => {
    const refused = issueGrant({ ...terms, ...change }, { ...issue, requesters })
    expect(refused).toMatchObject({ outcome: 'not-authorized', because: 'separation-of-duties' })
    expect(grantEvidence('org_42', refused.fact)).toMatchObject({
      actor: 'approver:ana',
      action: 'grant.refused',
      subject: 'grant:g1'
    })
  })
})
