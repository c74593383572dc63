import { describe, expect, it } from 'vitest'
import { stage, twoTiers } from '../stage.ts'

describe('an executor that was given up', () => {
  it('is believed when it reports that it has done it, and it is not done again', async () => {
    await using s = await stage(twoTiers, { executionLeaseMs: 1_000 })
    const request = await s.open()
    await s.oversight.decide(request.id, { approver: 'ana', decision: 'approve' })
    let end = (): void => {}
    const paused = new Promise<void>((resolve) => {
      end = resolve
    })
    // The process is stopped: nothing renews its lease.
    const zombie = s.another({
      platform: { ...s.platform, clock: { ...s.platform.clock, startTimer: () => ({ cancel: () => {} }) } }
    })
    const first = zombie.request(s.raise, request.id).execute(async () => {
      await paused
      return 'done'
    })
    await s.platform.clock.advance(0)
    await s.pass(1_000)
    expect((await s.oversight.inspect(request.id)).execution.state).toBe('in-doubt')
    // Somebody looks too early, and is wrong.
    await s.oversight.resolve(request.id, { by: 'olga', reason: 'nothing there', outcome: 'not-executed' })
    end()
    await first
    expect(await request.execute(async () => 'again')).toMatchObject({ outcome: 'replayed', result: 'done' })
  })

  it('leaves it on record when somebody else has taken over since', async () => {
    await using s = await stage(twoTiers, { executionLeaseMs: 1_000 })
    const request = await s.open()
    await s.oversight.decide(request.id, { approver: 'ana', decision: 'approve' })
    let end = (): void => {}
    const paused = new Promise<void>((resolve) => {
      end = resolve
    })
    const zombie = s.another({
      platform: { ...s.platform, clock: { ...s.platform.clock, startTimer: () => ({ cancel: () => {} }) } }
    })
    const first = zombie.request(s.raise, request.id).execute(async () => {
      await paused
      return 'done'
    })
    await s.platform.clock.advance(0)
    await s.pass(1_000)
    await s.oversight.resolve(request.id, { by: 'olga', reason: 'nothing there', outcome: 'not-executed' })
    expect(await request.execute(async () => 'again')).toMatchObject({ outcome: 'executed' })
    end()
    await first
    expect(await s.story()).toContain('execution.overtaken by system:execution')
  })
})
