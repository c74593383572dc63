import { describe, expect, it } from 'vitest'
import { stage, twoTiers } from '../stage.ts'

const revocation = { by: 'bo', reason: 'the job is gone' } as const

describe('a revocation', () => {
  it('takes an approval back before it is used', async () => {
    await using s = await stage()
    const request = await s.open()
    expect(await s.oversight.revoke(request.id, revocation)).toEqual({ outcome: 'not-approved', verdict: undefined })
    await s.oversight.decide(request.id, { approver: 'ana', decision: 'approve' })
    expect(await s.oversight.revoke(request.id, revocation)).toEqual({ outcome: 'revoked' })
    expect(await request.execute(async () => 1)).toEqual({ outcome: 'not-approved', status: 'revoked' })
    expect(await request.settled()).toMatchObject({ outcome: 'revoked', ...revocation })
    expect(await s.oversight.revoke(request.id, revocation)).toMatchObject({
      outcome: 'not-approved',
      verdict: { outcome: 'revoked' }
    })
    expect(await s.story()).toContain('request.revoked by revoker:bo')
  })

  it('is too late once the execution has begun', async () => {
    await using s = await stage()
    const request = await s.open()
    await s.oversight.decide(request.id, { approver: 'ana', decision: 'approve' })
    await request.execute(async () => {
      expect(await s.oversight.revoke(request.id, revocation)).toEqual({ outcome: 'too-late', execution: 'running' })
      return 1
    })
    expect(await s.oversight.revoke(request.id, revocation)).toEqual({ outcome: 'too-late', execution: 'executed' })
  })
})

describe('an approval with a time to live', () => {
  it.each([
    [999, 'executed'],
    [1_000, 'not-approved']
  ])('may be used for 1,000 ms: after %d ms it is %s', async (afterMs, outcome) => {
    await using s = await stage({ ...twoTiers, approvalTtlMs: 1_000 })
    const request = await s.open()
    await s.oversight.decide(request.id, { approver: 'ana', decision: 'approve' })
    await s.platform.clock.advance(afterMs)
    const execution = await request.execute(async () => 1)
    expect(execution.outcome).toBe(outcome)
    if (outcome === 'not-approved') expect(execution).toEqual({ outcome, status: 'expired' })
  })
})

describe('identical requests', () => {
  it('are one while it is open, and asked anew afterwards', async () => {
    await using s = await stage({ ...twoTiers, identical: 'coalesce' })
    const [first, second] = [await s.open('call-1'), await s.open('call-2')]
    expect(second.id).toBe(first.id)
    expect((await s.story()).filter((line) => line.startsWith('request.opened'))).toHaveLength(1)
    await s.oversight.decide(first.id, { approver: 'ana', decision: 'approve' })
    expect((await s.open('call-2')).id).toBe(first.id)
    expect((await s.open('call-3')).id).not.toBe(first.id)
    expect(await first.execute(async () => 1)).toEqual({ outcome: 'executed', result: 1 })
    expect(await second.execute(async () => 2)).toEqual({ outcome: 'replayed', result: 1 })
  })

  it('are not one when they were edited, are of another task or another agent, or are to be separate', async () => {
    await using s = await stage({ ...twoTiers, identical: 'coalesce' })
    const base = {
      tenant: 'acme',
      requestedBy: { agent: 'agent-7' },
      summary: 'Raise it',
      detail: { limitMebibytes: 128 }
    }
    const open = (idempotencyKey: string, changed: object = {}) =>
      s.oversight.open(s.raise, { ...base, idempotencyKey, ...changed })
    const first = await open('1')
    const ids = [
      first.id,
      (await open('2', { task: 'run-2' })).id,
      (await open('3', { requestedBy: { agent: 'agent-8' } })).id,
      (await open('4', { detail: { limitMebibytes: 129 } })).id,
      (await open('5', { tenant: 'globex' })).id
    ]
    expect(new Set(ids).size).toBe(5)
    const { argumentHash } = await s.oversight.inspect(first.id)
    await s.oversight.edit(first.id, { by: 'ana', detail: { limitMebibytes: 1 }, reason: 'less', argumentHash })
    expect((await open('6')).id).not.toBe(first.id)
  })
})
