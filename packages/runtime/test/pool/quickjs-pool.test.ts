import { createWarmPool, mebibytes } from '@enablement/runtime'
import { describe, expect, it } from 'vitest'
import { runtimeKit, until } from '../fakes/runtime-kit.ts'

describe('a pool of QuickJS sandboxes', () => {
  it('hands out sandboxes that have run their set-up, each once, and fills up again', async () => {
    await using kit = runtimeKit()
    const { runtime } = kit
    const image = await runtime.prepareImage({
      memoryLimitBytes: mebibytes(8),
      code: 'const greet = (who) => `hello ${who}`'
    })
    const template = { memoryLimitBytes: mebibytes(8), image, hostFunctions: ['ask'] }
    await using pool = createWarmPool({ runtime, template, idle: { min: 2, max: 3 } })
    await pool.warm()
    const seen = new Set<string>()
    for (const agent of ['a', 'b', 'c', 'd']) {
      await pool.warm()
      const claimed = await pool.claim({ tenant: 'acme', agent, hostFunctions: { ask: () => agent } })
      if (claimed.outcome !== 'claimed') throw new Error(claimed.reason)
      await using claim = claimed.claim
      expect(
        await claimed.sandbox.evaluate('globalThis.seen ??= 0; seen += 1; greet(await host.ask()) + seen')
      ).toEqual({
        outcome: 'completed',
        value: `hello ${agent}1`
      })
      seen.add(claimed.sandbox.id)
      expect(claim.fence).toBe(claimed.fence)
    }
    expect(seen.size).toBe(4)
    await until(() => pool.metrics().sizes.ready === 2)
    expect(pool.metrics()).toMatchObject({ sizes: { claimed: 0 }, claimed: { warm: 4, cold: 0 } })
  })

  it('saves one in the middle of what it does for a claim of higher priority, and carries it on afterwards', async () => {
    await using kit = runtimeKit()
    const { runtime } = kit
    const template = { memoryLimitBytes: mebibytes(8) }
    await using pool = createWarmPool({ runtime, template, idle: { min: 1, max: 1 } })
    const low = await pool.claim({ tenant: 'acme', agent: 'low', priority: 'low', requeue: true })
    if (low.outcome !== 'claimed') throw new Error(low.reason)
    const running = low.sandbox.evaluate(
      'let sum = 0; for (let n = 1; n <= 300; n += 1) { sum += n; await safepoint() } sum'
    )
    const high = await pool.claim({ tenant: 'acme', agent: 'high', priority: 'high' })
    if (high.outcome !== 'claimed') throw new Error(high.reason)
    expect(await high.sandbox.evaluate('typeof sum')).toEqual({ outcome: 'completed', value: 'undefined' })
    expect(await running).toMatchObject({ outcome: 'terminated', record: { reason: 'preempted' } })
    const ended = await low.claim.ended
    if (ended.outcome !== 'preempted') throw new Error(ended.outcome)
    expect(high.fence).toBeGreaterThan(low.fence)
    await high.claim.release()
    const again = await ended.requeued
    if (again?.outcome !== 'claimed') throw new Error(again?.reason)
    expect(again).toMatchObject({ from: 'checkpoint' })
    expect(await again.sandbox.continue()).toEqual({ outcome: 'completed', value: 45_150 })
    await again.claim.release()
  })
})
