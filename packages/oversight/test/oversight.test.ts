import { startWorker } from '@enablement/core/schedule'
import { describe, expect, it } from 'vitest'
import { ask, channel, stage, twoTiers } from './stage.ts'

describe('oversight', () => {
  it('asks the second tier because the first is unreachable, and executes once what it approved', async () => {
    const pager = channel(['ana'])
    const desk = channel()
    await using s = await stage(twoTiers, { channels: { pager, desk } })
    const { oversight, platform } = s
    await using worker = startWorker({ duties: oversight.duties, platform, pollMs: 50 })
    const request = await s.open()
    const verdict = request.settled()

    await platform.clock.advance(1_950)
    expect(desk.delivered).toEqual([])
    await platform.clock.advance(200)
    expect(desk.delivered).toHaveLength(1)
    expect(desk.delivered[0]).toMatchObject({
      requestId: request.id,
      tier: 1,
      summary: 'Raise the memory limit of job 4 to 128 MiB',
      excerpt: {},
      approver: { id: 'bo', name: 'bo', address: 'bo' }
    })

    const ballot = { approver: 'bo', decision: 'approve', reason: 'there is room' } as const
    expect(await oversight.decide(request.id, ballot)).toMatchObject({
      outcome: 'recorded',
      verdict: { outcome: 'approved', by: 'bo' }
    })
    await platform.clock.advance(0)
    expect(await verdict).toMatchObject({ outcome: 'approved', requestId: request.id, by: 'bo' })

    let runs = 0
    const raise = async ({ detail }: { detail: { limitMebibytes: number } }): Promise<{ raisedTo: number }> => {
      runs += 1
      return { raisedTo: detail.limitMebibytes }
    }
    expect(await request.execute(raise)).toEqual({ outcome: 'executed', result: { raisedTo: 128 } })
    const elsewhere = s.another().request(s.raise, request.id)
    expect(await elsewhere.execute(raise)).toEqual({ outcome: 'replayed', result: { raisedTo: 128 } })
    expect(runs).toBe(1)

    await platform.clock.advance(100)
    expect(desk.updated).toMatchObject([{ receipt: 'receipt of bo', verdict: { outcome: 'approved' } }])
    expect(await s.story()).toEqual([
      'request.opened by agent:agent-7',
      'invitation.unreachable by system:delivery',
      'tier.asked by system:escalation',
      'invitation.delivered by system:delivery',
      'vote.recorded by approver:bo',
      'request.approved by approver:bo',
      'execution.started by system:execution',
      'execution.executed by system:execution'
    ])
    await worker.close()
    expect(platform.clock.pendingTimers).toBe(0)
  })

  it('types the detail by the schema of its action', async () => {
    await using s = await stage()
    // @ts-expect-error: the schema asks for a limit
    await expect(s.oversight.open(s.raise, { ...ask, detail: {} })).rejects.toMatchObject({ code: 'INVALID_DETAIL' })
    const request = s.oversight.request(s.raise, 'nothing')
    // @ts-expect-error: the detail has no such member
    await expect(request.execute(async ({ detail }) => detail.limitBytes)).rejects.toMatchObject({
      code: 'UNKNOWN_REQUEST'
    })
    // @ts-expect-error: a denial gives its reason
    await expect(s.oversight.decide('nothing', { approver: 'ana', decision: 'deny' })).rejects.toMatchObject({
      code: 'INVALID_OPTIONS'
    })
  })
})
