import type { AgentControl, OnTimeout } from '@enablement/oversight'
import { describe, expect, it } from 'vitest'
import { ask, channel, runDuties, stage, twoTiers } from '../stage.ts'

function host(fail = 0) {
  const calls: string[] = []
  let failures = fail
  const tell = async (call: string): Promise<void> => {
    if (failures-- > 0) throw new Error('the host is away')
    calls.push(call)
  }
  const control: AgentControl = {
    resume: ({ agent, verdict }) => tell(`resume ${agent}: ${verdict.outcome}`),
    terminate: ({ agent }) => tell(`terminate ${agent}`)
  }
  return { calls, control }
}

const policy = { ...twoTiers, deadlineMs: 1_000 } as const

describe('a request that runs out of time', () => {
  it('resumes its agent with that, which is nobody’s denial', async () => {
    const { calls, control } = host()
    await using s = await stage(policy, { agentControl: control })
    const request = await s.open()
    await s.pass(0)
    await s.pass(1_000)
    expect(await request.settled()).toMatchObject({ outcome: 'timed-out' })
    expect(calls).toEqual(['resume agent-7: timed-out'])
    expect(await s.story()).toContain('agent.resumed by system:delivery')
  })

  it('ends its agent where the policy says so', async () => {
    const { calls, control } = host()
    await using s = await stage({ ...policy, onTimeout: 'terminate' }, { agentControl: control })
    await s.open()
    await s.pass(0)
    await s.pass(1_000)
    expect(calls).toEqual(['terminate agent-7'])
    expect(await s.story()).toContain('agent.terminated by system:delivery')
  })

  it('goes by its own word first, then its agent’s, then the policy’s', async () => {
    const { calls, control } = host()
    const agentTimeout = (): OnTimeout => 'terminate'
    await using s = await stage({ ...policy, onTimeout: 'resume' }, { agentControl: control, agentTimeout })
    await s.oversight.open(s.raise, { ...ask, idempotencyKey: 'own', onTimeout: 'resume' })
    await s.open('agent')
    await s.pass(1_000)
    expect(calls.toSorted()).toEqual(['resume agent-7: timed-out', 'terminate agent-7'])
  })

  it('is extended as often as it may be, to the millisecond, and those who were asked hear of it', async () => {
    const { calls, control } = host()
    const pager = channel()
    const extend = { extend: { byMs: 500, timesMax: 2 }, afterwards: 'resume' } as const
    const tiers = [{ approvers: ['ana'], channels: ['pager'], waitMs: 60_000 }]
    await using s = await stage(
      { tiers, onExhausted: 'deny', deadlineMs: 1_000, onTimeout: extend },
      { agentControl: control, channels: { pager, desk: channel() } }
    )
    const request = await s.open()
    await s.pass(0)
    for (const [waitMs, status] of [
      [999, 'pending'],
      [1, 'pending'],
      [499, 'pending'],
      [1, 'pending'],
      [499, 'pending'],
      [1, 'timed-out']
    ] as const) {
      await s.pass(waitMs)
      expect((await s.oversight.inspect(request.id)).status).toBe(status)
    }
    expect(pager.delivered.map(({ kind }) => kind)).toEqual(['invitation', 'reminder', 'reminder'])
    expect((await s.story()).filter((line) => line.startsWith('request.extended'))).toHaveLength(2)
    expect(calls).toEqual(['resume agent-7: timed-out'])
  })

  it('counts a vote that comes at the deadline of a request that is extended then', async () => {
    const extend = { extend: { byMs: 500, timesMax: 1 }, afterwards: 'resume' } as const
    await using s = await stage({ ...policy, onTimeout: extend })
    const request = await s.open()
    await s.platform.clock.advance(1_000)
    expect(await s.oversight.decide(request.id, { approver: 'ana', decision: 'approve' })).toMatchObject({
      outcome: 'recorded',
      verdict: { outcome: 'approved' }
    })
    expect(await s.story()).toContain('request.extended by system:deadline')
  })

  it('tries a host that is away for about an hour, and then tells those who run the place', async () => {
    const { calls, control } = host(Number.POSITIVE_INFINITY)
    const alerts: string[] = []
    await using s = await stage(policy, {
      agentControl: control,
      alertOps: async ({ reason }) => void alerts.push(reason)
    })
    await s.open()
    await s.pass(1_000)
    for (let minute = 0; minute < 240; minute++) await s.pass(60_000)
    expect(calls).toEqual([])
    expect(alerts).toEqual(['agent-unreachable'])
    expect(await s.story()).toContain('agent.unreachable by system:delivery')
  })

  it('resumes the agent after every other verdict too, once', async () => {
    const { calls, control } = host(1)
    await using s = await stage(twoTiers, { agentControl: control })
    const request = await s.open()
    await s.oversight.decide(request.id, { approver: 'ana', decision: 'approve' })
    await runDuties(s.oversight)
    for (let second = 0; second < 5; second++) await s.pass(1_000)
    expect(calls).toEqual(['resume agent-7: approved'])
  })

  it('needs a host for what only a host can do', async () => {
    await expect(stage({ ...policy, onTimeout: 'terminate' })).rejects.toMatchObject({
      code: 'INVALID_OPTIONS',
      detail: { issues: [{ path: 'actions.0.policy.onTimeout' }] }
    })
    await using s = await stage(policy)
    await expect(s.oversight.open(s.raise, { ...ask, onTimeout: 'terminate' })).rejects.toMatchObject({
      code: 'INVALID_OPTIONS'
    })
  })
})

describe('a reminder', () => {
  it('goes to those of the tier who were reached and are silent, and is not made up for', async () => {
    const pager = channel(['al'])
    const tiers = [{ approvers: ['ana', 'al', 'bo'], channels: ['pager'], waitMs: 60_000, remindEveryMs: 10_000 }]
    await using s = await stage(
      { tiers, onExhausted: 'deny', strategy: 'all-approve' },
      { channels: { pager, desk: channel() } }
    )
    const request = await s.open()
    await s.pass(0)
    await s.oversight.decide(request.id, { approver: 'bo', decision: 'approve' })
    await s.pass(9_999)
    expect(pager.delivered).toHaveLength(2)
    await s.pass(1)
    expect(pager.delivered.at(-1)).toMatchObject({
      kind: 'reminder',
      approver: { id: 'ana' },
      receipt: 'receipt of ana'
    })
    await s.pass(35_000)
    expect(pager.delivered.filter(({ kind }) => kind === 'reminder')).toHaveLength(2)
    await s.pass(9_999)
    expect(pager.delivered.filter(({ kind }) => kind === 'reminder')).toHaveLength(2)
  })
})
