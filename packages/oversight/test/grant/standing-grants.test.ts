import { defineAction } from '@enablement/oversight'
import { describe, expect, it } from 'vitest'
import { ACTION, ask, type Raise, raiseDetail, stage, twoTiers } from '../stage.ts'

const terms = {
  tenant: 'acme',
  action: 'runtime.*',
  agent: 'agent-7',
  riskMax: 'medium',
  issuedBy: 'ana',
  reason: 'routine for this run',
  ttlMs: 60_000,
  usesMax: 2
} as const

const accepting = { ...twoTiers, standingGrants: 'accepted' } as const

describe('a standing grant', () => {
  it('approves in place of people as often as it may be used, each on record', async () => {
    await using s = await stage(accepting)
    const issued = await s.oversight.grants.issue(terms)
    if (issued.outcome !== 'issued') throw new Error('was not issued')
    const by = `grant:${issued.grant.id}`
    for (const key of ['1', '2']) {
      const request = await s.open(key)
      expect(await request.settled()).toMatchObject({ outcome: 'approved', by })
      expect(await request.execute(async () => 1)).toMatchObject({ outcome: 'executed' })
    }
    expect((await s.oversight.inspect((await s.open('3')).id)).status).toBe('pending')
    expect((await s.oversight.inspect((await s.open('2')).id)).status).toBe('approved')
    const lines = await s.story()
    expect(lines.filter((line) => line.startsWith('grant.'))).toEqual([
      'grant.issued by approver:ana',
      'grant.used by agent:agent-7',
      'grant.used by agent:agent-7'
    ])
    expect(s.events.filter(({ type }) => type === 'grant.used')).toHaveLength(2)
    expect((await s.oversight.grants.list({ tenant: 'acme' })).grants).toMatchObject([{ used: 2 }])
  })

  it('holds to the millisecond, and not once it is revoked', async () => {
    await using s = await stage(accepting)
    const issued = await s.oversight.grants.issue({ ...terms, usesMax: 100 })
    if (issued.outcome !== 'issued') throw new Error('was not issued')
    await s.platform.clock.advance(59_999)
    expect((await s.oversight.inspect((await s.open('1')).id)).status).toBe('approved')
    await s.platform.clock.advance(1)
    expect((await s.oversight.inspect((await s.open('2')).id)).status).toBe('pending')

    const next = await s.oversight.grants.issue(terms)
    if (next.outcome !== 'issued') throw new Error('was not issued')
    const call = { by: 'bo', reason: 'the run is over' }
    expect(await s.oversight.grants.revoke(next.grant.id, call)).toEqual({ outcome: 'revoked' })
    expect(await s.oversight.grants.revoke(next.grant.id, call)).toMatchObject({ outcome: 'already-revoked' })
    expect(await s.oversight.grants.revoke('nothing', call)).toEqual({ outcome: 'unknown' })
    expect((await s.oversight.inspect((await s.open('3')).id)).status).toBe('pending')
  })

  it('never counts above what the action’s screen denies, nor where the policy does not accept it', async () => {
    const screened = defineAction<Raise>({
      name: ACTION,
      detail: raiseDetail,
      policy: accepting,
      screen: ({ detail }) =>
        detail.limitMebibytes > 64 ? { outcome: 'deny', reason: 'more than anyone may have' } : { outcome: 'ask' }
    })
    await using s = await stage(twoTiers)
    await s.oversight.grants.issue(terms)
    expect((await s.oversight.inspect((await s.open('1')).id)).status).toBe('pending')

    const oversight = s.another({ actions: [screened] })
    const request = await oversight.open(screened, { ...ask, idempotencyKey: '2' })
    expect(await request.settled()).toMatchObject({
      outcome: 'denied',
      by: 'system:policy',
      reason: 'more than anyone may have'
    })
    expect((await s.oversight.grants.list({ tenant: 'acme' })).grants).toMatchObject([{ used: 0 }])
    const small = await oversight.open(screened, { ...ask, idempotencyKey: '3', detail: { limitMebibytes: 64 } })
    expect(await small.settled()).toMatchObject({ outcome: 'approved' })
  })

  it('is not issued by those whom it is for, which is on record, nor for ever', async () => {
    await using s = await stage(accepting)
    expect(await s.oversight.grants.issue({ ...terms, issuedBy: 'agent-7' })).toEqual({
      outcome: 'not-authorized',
      because: 'separation-of-duties'
    })
    expect(await s.story()).toEqual(['grant.refused by approver:agent-7'])
    await expect(s.oversight.grants.issue({ ...terms, ttlMs: 31 * 86_400_000 })).rejects.toMatchObject({
      code: 'INVALID_OPTIONS',
      detail: { issues: [{ path: 'ttlMs' }] }
    })
    // Issued by the human behind the agent, whom only the request names.
    await s.oversight.grants.issue({ ...terms, issuedBy: 'uma' })
    expect((await s.oversight.inspect((await s.open('1')).id)).status).toBe('pending')
  })
})
