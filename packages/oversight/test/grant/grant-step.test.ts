import {
  type GrantAsk,
  type GrantRecord,
  grantEvidence,
  matchGrant,
  revokeGrant,
  useGrant
} from '@enablement/oversight'
import { fc, test } from '@fast-check/vitest'
import { describe, expect, inject, it } from 'vitest'
import { ask, grantOf, NOW } from './stage.ts'

const numRuns = Math.ceil(150 * inject('scale'))
/** `npm run soak` has a hundred times the runs, on a machine with other work. */
const SOAK_TIMEOUT_MS = 600_000

describe('the use of a grant', () => {
  it('counts it and is a fact', () => {
    const grant = grantOf({}, { used: 2 })
    const used = useGrant(grant, ask, { now: NOW, requestId: 'r1' })
    if (used.outcome !== 'used') throw new Error('it holds')
    expect(used.grant).toEqual({ ...grant, used: 3 })
    expect(grantEvidence('org_42', used.fact)).toEqual({
      tenant: 'org_42',
      actor: 'agent:agent-7',
      action: 'grant.used',
      subject: 'grant:g1',
      detail: { use: 3, usesMax: 3, requestId: 'r1', action: 'payments.refund', requestedBy: ask.requestedBy }
    })
  })

  it('changes nothing where it does not hold, and says why', () => {
    const grant = grantOf({ detail: [{ path: 'cents', max: 5 }] }, { used: 3 })
    expect(
      useGrant(grant, { ...ask, tenant: 'org_43', action: 'mail.send' }, { now: NOW + 60_000, requestId: 'r1' })
    ).toEqual({
      outcome: 'not-usable',
      because: ['other-tenant', 'other-action', 'detail', 'expired', 'used-up'],
      paths: ['cents']
    })
  })
})

describe('the revocation of a grant', () => {
  it('ends it once, and is a fact', () => {
    const grant = grantOf({}, { used: 1 })
    const revoked = revokeGrant(grant, { by: 'bo', reason: 'the sale is over' }, NOW + 5)
    if (revoked.outcome !== 'revoked') throw new Error('it was not revoked before')
    expect(revoked.grant).toEqual({ ...grant, revokedAt: NOW + 5 })
    expect(grantEvidence('org_42', revoked.fact)).toMatchObject({
      actor: 'approver:bo',
      action: 'grant.revoked',
      subject: 'grant:g1',
      detail: { by: 'bo', reason: 'the sale is over', used: 1 }
    })
    const again = revokeGrant(revoked.grant, { by: 'cy', reason: 'as well' }, NOW + 9)
    expect(again).toEqual({ outcome: 'already-revoked', revokedAt: NOW + 5 })
  })

  it.each([
    ['nobody', { by: '', reason: 'x' }, 'by'],
    ['no reason', { by: 'bo', reason: '' }, 'reason'],
    ['more than is asked', { by: 'bo', reason: 'x', force: true }, 'force']
  ])('is refused with the path for %s', (_, revocation, path) => {
    expect(() => revokeGrant(grantOf(), revocation, NOW)).toThrow(
      expect.objectContaining({
        code: 'INVALID_OPTIONS',
        detail: { subject: 'revokeGrant', issues: expect.arrayContaining([expect.objectContaining({ path })]) }
      })
    )
  })
})

const grants: fc.Arbitrary<readonly GrantRecord[]> = fc
  .array(
    fc.record({
      action: fc.constantFrom('payments.refund', 'payments.*', 'mail.*'),
      agent: fc.constantFrom(undefined, 'agent-7', 'agent-8'),
      task: fc.constantFrom(undefined, 'sale-2026'),
      riskMax: fc.constantFrom('low' as const, 'high' as const),
      issuedBy: fc.constantFrom('ana', 'uma'),
      issuedAt: fc.integer({ min: NOW, max: NOW + 3 }),
      ttlMs: fc.integer({ min: 1, max: 8 }),
      usesMax: fc.integer({ min: 1, max: 3 }),
      max: fc.constantFrom(undefined, 10)
    }),
    { maxLength: 5 }
  )
  .map((all) =>
    all.map(({ agent, task, issuedAt, ttlMs, max, ...terms }, index) =>
      grantOf(
        {
          ...terms,
          ...(task === undefined ? {} : { task }),
          ...(max === undefined ? {} : { detail: [{ path: 'cents', max }] })
        },
        { id: `g${index}`, agent, issuedAt, expiresAt: issuedAt + ttlMs }
      )
    )
  )

const happening = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('ask' as const),
      agent: fc.constantFrom('agent-7', 'agent-8'),
      onBehalfOf: fc.constantFrom(undefined, 'uma', 'Ana'),
      task: fc.constantFrom(undefined, 'sale-2026'),
      risk: fc.constantFrom('low' as const, 'high' as const),
      cents: fc.constantFrom(-1, 10, 11)
    })
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('revoke' as const), which: fc.nat({ max: 4 }) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('wait' as const), ms: fc.nat({ max: 3 }) }) }
)

/** In plain words, and in the other direction: may this grant cover this? */
function mayCover(grant: GrantRecord, wanted: GrantAsk, now: number): boolean {
  const prefix = grant.action.replace('*', '')
  const isAction = grant.action.endsWith('*') ? wanted.action.startsWith(prefix) : wanted.action === grant.action
  const cents = Number(wanted.detail['cents'])
  const isOwn = grant.issuedBy === wanted.requestedBy.onBehalfOf?.toLowerCase()
  return (
    isAction &&
    (grant.agent ?? wanted.requestedBy.agent) === wanted.requestedBy.agent &&
    (grant.task ?? wanted.task) === wanted.task &&
    (grant.detail.length === 0 || (cents >= 0 && cents <= 10)) &&
    (wanted.risk === 'low' || grant.riskMax === 'high') &&
    !isOwn &&
    now >= grant.issuedAt &&
    now < grant.expiresAt
  )
}

describe('grants, whatever is asked of them', () => {
  test.prop([grants, fc.array(happening, { maxLength: 25 })], { numRuns })(
    'are used when one covers what is asked, never beyond it, never more often than they say, never after a revocation',
    (issued, happenings) => {
      const held = new Map(issued.map((grant) => [grant.id, grant]))
      const uses = new Map<string, number>()
      const revoked = new Set<string>()
      let now = NOW
      for (const next of happenings) {
        if (next.kind === 'wait') now += next.ms
        if (next.kind === 'revoke') {
          const grant = held.get(`g${next.which}`)
          if (grant === undefined) continue
          const step = revokeGrant(grant, { by: 'bo', reason: 'enough' }, now)
          if (step.outcome === 'revoked') held.set(grant.id, step.grant)
          revoked.add(grant.id)
        }
        if (next.kind !== 'ask') continue
        const { agent, onBehalfOf, task, risk, cents } = next
        const wanted: GrantAsk = {
          tenant: ask.tenant,
          action: ask.action,
          risk,
          policyVersion: 'v1',
          detail: { cents },
          requestedBy: { agent, ...(onBehalfOf === undefined ? {} : { onBehalfOf }) },
          ...(task === undefined ? {} : { task })
        }
        const able = issued.filter(
          (grant) => mayCover(grant, wanted, now) && !revoked.has(grant.id) && (uses.get(grant.id) ?? 0) < grant.usesMax
        )
        const match = matchGrant([...held.values()], wanted, now)
        expect(match.outcome === 'matched').toBe(able.length > 0)
        if (match.outcome === 'unmatched') {
          for (const grant of held.values()) {
            expect(useGrant(grant, wanted, { now, requestId: 'r' }).outcome).toBe('not-usable')
          }
          continue
        }
        expect(able.map(({ id }) => id)).toContain(match.grant.id)
        const step = useGrant(match.grant, wanted, { now, requestId: 'r' })
        if (step.outcome !== 'used') throw new Error('what matches can be used')
        held.set(match.grant.id, step.grant)
        uses.set(match.grant.id, (uses.get(match.grant.id) ?? 0) + 1)
      }
      for (const { id, usesMax } of issued) expect(uses.get(id) ?? 0).toBeLessThanOrEqual(usesMax)
    },
    SOAK_TIMEOUT_MS
  )

  test.prop([grants, fc.infiniteStream(fc.nat()), fc.nat({ max: 12 })], { numRuns })(
    'give the same one in whatever order they are looked at',
    (issued, keys, later) => {
      const shuffled = issued
        .map((grant) => ({ grant, key: keys.next().value ?? 0 }))
        .toSorted((a, b) => a.key - b.key)
        .map(({ grant }) => grant)
      expect(matchGrant(shuffled, ask, NOW + later)).toEqual(matchGrant(issued, ask, NOW + later))
    },
    SOAK_TIMEOUT_MS
  )
})
