import { type ApprovalPolicy, type Channel, type Invitation, OversightError } from '@enablement/oversight'
import { describe, expect, it } from 'vitest'
import { channel, runDuties, stage, twoTiers } from '../stage.ts'

const signal = new AbortController().signal

const rateLimited = (retryAfterMs: number): OversightError =>
  new OversightError('CHANNEL_FAILED', 'the provider wants a pause', { reason: 'RATE_LIMITED', retryAfterMs })

describe('a delivery', () => {
  it('is tried again under the same id when the channel throws, then counts as unreachable', async () => {
    const seen: string[] = []
    const broken: Channel = {
      async deliver({ id }) {
        seen.push(id)
        throw new TypeError('https://hooks.example/secret-key')
      }
    }
    const [first, second] = twoTiers.tiers
    if (first === undefined || second === undefined) throw new Error('there are two tiers')
    const policy = { ...twoTiers, tiers: [{ ...first, waitMs: 60_000, skipIfUnreachable: true }, second] }
    await using s = await stage(policy, { channels: { pager: broken, desk: channel() } })
    await s.open()
    for (let second = 0; second < 30; second++) await s.pass(1_000)
    expect(seen).toHaveLength(4)
    expect(new Set(seen).size).toBe(1)
    expect(s.events.filter(({ type }) => type === 'delivery.failed')).toHaveLength(4)
    const unreachable = (await s.entries()).find(({ action }) => action === 'invitation.unreachable')
    expect(unreachable?.detail).toEqual({
      tier: 0,
      approver: 'ana',
      channel: 'pager',
      reason: '4 attempts failed, the last with TypeError'
    })
    expect((await s.story()).filter((line) => line.startsWith('tier.asked'))).toHaveLength(1)
    expect(JSON.stringify(await s.entries())).not.toContain('secret-key')
  })

  it('runs out of time, whether or not the channel heeds its signal', async () => {
    let aborted = false
    const silent: Channel = {
      deliver: (_, options) =>
        new Promise(() => {
          options.signal.addEventListener('abort', () => {
            aborted = true
          })
        })
    }
    await using s = await stage(twoTiers, { channels: { pager: silent, desk: channel() }, attemptMs: 500 })
    await s.open()
    const run = s.oversight.duties[1]?.run({ signal })
    await s.platform.clock.advance(499)
    expect(aborted).toBe(false)
    await s.platform.clock.advance(1)
    expect(await run).toMatchObject({ handled: 1 })
    expect(aborted).toBe(true)
    expect(s.events.at(-1)).toMatchObject({ type: 'delivery.failed', channel: 'pager' })
    expect(s.platform.clock.pendingTimers).toBe(0)
  })

  it('is believed when the channel knows beforehand that it cannot reach someone', async () => {
    const asleep: Channel = {
      reachability: async ({ address }) => ({ outcome: 'unreachable', reason: `${address} is off duty` }),
      deliver: () => Promise.reject(new Error('must not be called'))
    }
    await using s = await stage(twoTiers, { channels: { pager: asleep, desk: channel() } })
    await s.open()
    await s.pass(0)
    expect(s.events.at(-1)).toMatchObject({ type: 'invitation.unreachable', reason: 'ana is off duty' })
  })

  it('says when the next tier is asked and when it is too late', async () => {
    const pager = channel()
    await using s = await stage({ ...twoTiers, deadlineMs: 4_000 }, { channels: { pager, desk: channel() } })
    const openedAt = s.platform.clock.now()
    await s.open()
    await s.pass(0)
    expect(pager.delivered).toMatchObject([{ openedAt, escalatesAt: openedAt + 2_000, deadlineAt: openedAt + 4_000 }])
  })

  it('goes out again, under the same id, when the worker died before its result was committed', async () => {
    const seen: Invitation[] = []
    let lost = true
    const pager: Channel = {
      async deliver(invitation) {
        seen.push(invitation)
        if (lost) await new Promise(() => {})
        return { outcome: 'delivered' }
      }
    }
    const [first, second] = twoTiers.tiers
    if (first === undefined || second === undefined) throw new Error('there are two tiers')
    const policy = { ...twoTiers, tiers: [{ ...first, waitMs: 90_000 }, second] }
    await using s = await stage(policy, { channels: { pager, desk: channel() } })
    await s.open()
    const dead = s.another()
    void dead.duties[1]?.run({ signal })
    await s.platform.clock.advance(0)
    lost = false
    expect(await s.another().duties[1]?.run({ signal })).toMatchObject({ handled: 0 })
    // The dead worker's timers are on this clock as well, so only the store's part of the lease is moved.
    s.platform.clock.jumpWallTo(s.platform.clock.now() + 30_000)
    await runDuties(s.another())
    expect(seen).toHaveLength(2)
    expect(seen[1]?.id).toBe(seen[0]?.id)
    expect(s.events.filter(({ type }) => type === 'invitation.delivered')).toHaveLength(1)
  })

  it('is not taken from a worker by the failure of one that was slower than its lease', async () => {
    let attempts = 0
    const failures: (() => void)[] = []
    const pager: Channel = {
      deliver: () => {
        attempts += 1
        return new Promise((_, reject) => failures.push(() => reject(new Error('too late'))))
      }
    }
    const [first, second] = twoTiers.tiers
    if (first === undefined || second === undefined) throw new Error('there are two tiers')
    const policy = { ...twoTiers, tiers: [{ ...first, waitMs: 900_000 }, second] }
    await using s = await stage(policy, { channels: { pager, desk: channel() }, attemptMs: 600_000 })
    await s.open()
    const slow = s.another().duties[1]?.run({ signal })
    await s.platform.clock.advance(0)
    s.platform.clock.jumpWallTo(s.platform.clock.now() + 620_000)
    void s.another().duties[1]?.run({ signal })
    await s.platform.clock.advance(0)
    expect(attempts).toBe(2)
    failures[0]?.()
    await slow
    await s.platform.clock.advance(60_000)
    expect(attempts).toBe(2)
  })

  it('is made by one worker, however many look at the same time', async () => {
    const pager = channel()
    await using s = await stage(twoTiers, { channels: { pager, desk: channel() } })
    for (let index = 0; index < 60; index++) await s.open(`call-${index}`)
    const workers = Array.from({ length: 8 }, () => s.another({ channels: { pager, desk: channel() } }))
    await Promise.all(workers.map(runDuties))
    expect(pager.delivered).toHaveLength(60)
  })

  it('is followed by the verdict when the verdict came while it went out', async () => {
    let arrived: () => void = () => {}
    const updated: string[] = []
    const pager: Channel = {
      deliver: () =>
        new Promise((resolve) => {
          arrived = () => resolve({ outcome: 'delivered', receipt: 'message 5' })
        }),
      async update({ receipt = '', verdict }) {
        updated.push(`${receipt}: ${verdict.outcome}`)
      }
    }
    await using s = await stage(twoTiers, { channels: { pager, desk: channel() } })
    const request = await s.open()
    const sending = s.oversight.duties[1]?.run({ signal })
    await s.platform.clock.advance(0)
    await request.cancel({ by: 'agent-7', reason: 'no longer needed' })
    arrived()
    await sending
    await s.pass(0)
    expect(updated).toEqual(['message 5: cancelled'])
  })

  it('gives up on a verdict that a channel does not take, and leaves the record as it was', async () => {
    let attempts = 0
    const pager: Channel = {
      deliver: async () => ({ outcome: 'delivered' }),
      async update() {
        attempts += 1
        throw new Error('rate limited')
      }
    }
    await using s = await stage(twoTiers, { channels: { pager, desk: channel() } })
    const request = await s.open()
    await s.pass(0)
    await s.oversight.decide(request.id, { approver: 'ana', decision: 'approve' })
    const before = await s.story()
    for (let second = 0; second < 60; second++) await s.pass(1_000)
    expect(attempts).toBe(4)
    expect(await s.story()).toEqual(before)
  })

  it('brings a verdict as late as the channel asks, and does not count that as an attempt', async () => {
    const at: number[] = []
    let now = (): number => 0
    const pager: Channel = {
      deliver: async () => ({ outcome: 'delivered' }),
      async update() {
        at.push(now())
        if (at.length < 10) throw rateLimited(60_000)
      }
    }
    await using s = await stage(twoTiers, { channels: { pager, desk: channel() } })
    now = () => s.platform.clock.monotonic()
    const request = await s.open()
    await s.pass(0)
    await s.oversight.decide(request.id, { approver: 'ana', decision: 'approve' })
    for (let second = 0; second < 900; second++) await s.pass(1_000)
    expect(at).toHaveLength(10)
    for (const [index, time] of at.slice(1).entries()) {
      expect(time - (at[index] ?? 0)).toBeGreaterThanOrEqual(60_000)
      expect(time - (at[index] ?? 0)).toBeLessThan(70_000)
    }
  })

  it.for([
    [0, 1_000],
    [Number.POSITIVE_INFINITY, 3_600_000]
  ] as const)('takes a wait of %d ms that a channel asks for as %d ms', async ([asked, waited]) => {
    let updates = 0
    const pager: Channel = {
      deliver: async () => ({ outcome: 'delivered' }),
      async update() {
        updates += 1
        throw rateLimited(asked)
      }
    }
    await using s = await stage(twoTiers, { channels: { pager, desk: channel() } })
    const request = await s.open()
    await s.pass(0)
    await s.oversight.decide(request.id, { approver: 'ana', decision: 'approve' })
    await s.pass(0)
    await s.pass(waited - 1)
    expect(updates).toBe(1)
    await s.pass(1)
    expect(updates).toBe(2)
  })

  it('counts an invitation whose channel throws with a wait as an attempt, and waits as long', async () => {
    const at: number[] = []
    let now = (): number => 0
    const pager: Channel = {
      deliver() {
        at.push(now())
        throw rateLimited(20_000)
      }
    }
    const [first, second] = twoTiers.tiers
    if (first === undefined || second === undefined) throw new Error('there are two tiers')
    const policy = { ...twoTiers, tiers: [{ ...first, waitMs: 600_000, skipIfUnreachable: true }, second] }
    await using s = await stage(policy, { channels: { pager, desk: channel() } })
    now = () => s.platform.clock.monotonic()
    await s.open()
    for (let second = 0; second < 120; second++) await s.pass(1_000)
    expect(at).toHaveLength(4)
    for (const [index, time] of at.slice(1).entries()) expect(time - (at[index] ?? 0)).toBeGreaterThanOrEqual(20_000)
    expect((await s.entries()).find(({ action }) => action === 'invitation.unreachable')?.detail).toMatchObject({
      reason: '4 attempts failed, the last with CHANNEL_FAILED'
    })
  })

  it('counts as unreachable on a worker that does not know the channel', async () => {
    await using s = await stage()
    await s.open()
    const [, delivery] = s.another({ channels: { pager: channel(), desk: channel() }, actions: [s.raise] }).duties
    await delivery?.run({ signal })
    expect(s.events.at(-1)).toMatchObject({ type: 'invitation.delivered' })
    await s.open('call-2')
    const renamed: ApprovalPolicy = { ...twoTiers, tiers: [{ approvers: ['ana'], channels: ['beeper'], waitMs: 1 }] }
    const { raiseAction } = await import('../stage.ts')
    const elsewhere = s.another({ channels: { beeper: channel() }, actions: [raiseAction(renamed)] })
    await elsewhere.duties[1]?.run({ signal })
    expect(s.events.at(-1)).toMatchObject({
      type: 'invitation.unreachable',
      reason: 'this worker knows no channel pager'
    })
  })
})
