import type { Clock, Platform } from '@enablement/core'
import { seededRandom, testPlatform } from '@enablement/core/testing'
import { createQuotas, type Quota } from '@enablement/metering'
import { memoryQuotaStore } from '@enablement/metering/memory'
import { describe, expect, it } from 'vitest'
import { faulty, HOUR_MS, type Stage, settled, stage } from './stage.ts'

/** Asks until the lease in the background is there, as a caller does that falls back to `consume`. */
async function leased(quota: Quota, amount = 1): Promise<void> {
  quota.tryConsume(amount)
  await settled()
}

/** Spends one by one for as long as the lease gives; at most `most`. */
function drain(quota: Quota, most = 100_000): number {
  let spent = 0
  while (spent < most && quota.tryConsume() === 'consumed') spent += 1
  return spent
}

const bound = (options: Parameters<typeof stage>[0] = {}): Stage & { tokens: Quota } => {
  const all = stage(options)
  return { ...all, tokens: all.quotas.bind({ tenant: 'org', limit: 'llm-tokens' }) }
}

/** A platform whose clocks go on by themselves while no timer fires: a process whose event loop stands still. */
function stallingPlatform(): Platform & {
  stall(ms: number): void
  sleep(ms: number): void
  advance(ms: number): Promise<void>
} {
  const { clock } = testPlatform()
  let stalledMs = 0
  let sleptMs = 0
  const stalling: Clock = {
    now: () => clock.now() + stalledMs + sleptMs,
    monotonic: () => clock.monotonic() + stalledMs,
    startTimer: (delayMs, onElapsed, options) => clock.startTimer(delayMs, onElapsed, options)
  }
  return {
    clock: stalling,
    random: seededRandom(1),
    stall(ms) {
      stalledMs += ms
    },
    sleep(ms) {
      sleptMs += ms
    },
    advance: (ms) => clock.advance(ms)
  }
}

describe('a lease', () => {
  it('is begun by the first call, which asks, and spent without the store', async () => {
    const { tokens, store } = bound()
    expect(tokens.tryConsume()).toBe('ask')
    expect(tokens.tryConsume(3)).toBe('ask')
    await settled()
    const asked = store.calls.length
    expect([tokens.tryConsume(), tokens.tryConsume(2)]).toEqual(['consumed', 'consumed'])
    expect(store.calls).toHaveLength(asked)
    expect(store.calls.map(({ method }) => method)).toEqual(['read', 'hold'])
  })

  it('leaves the store before it is spent here: nothing is sold twice, and both are shown', async () => {
    const { tokens, told } = bound()
    await leased(tokens, 100)
    const [{ units }] = told('quota.leased') as unknown as [{ units: number }]
    expect(await tokens.remaining()).toMatchObject({
      remaining: 10_000,
      leased: units,
      levels: [{ used: units, held: units, remaining: 10_000 - units }]
    })
    tokens.tryConsume(7)
    expect(await tokens.remaining()).toMatchObject({ remaining: 9_993, leased: units - 7 })
  })

  it('is taken from every level, or a parent would be oversold (pitfall 4.3.7)', async () => {
    const limits = [{ name: 'llm-tokens', quantity: 1_000, period: 'lifetime', eachChild: { quantity: 900 } }] as const
    const { quotas } = stage({ limits })
    const agent = quotas.bind({ tenant: 'org', path: ['a'], limit: 'llm-tokens' })
    await leased(agent, 40)
    const inStore = await quotas.bind({ tenant: 'org', limit: 'llm-tokens' }).remaining()
    const { leased: units } = (await agent.remaining()) as { leased: number }
    expect(units).toBeGreaterThan(0)
    expect(inStore).toMatchObject({ remaining: 1_000 - units })
  })

  it('grows with the rate, up to its bound, and to a quarter of what is left', async () => {
    const { tokens, told, platform } = bound({ lease: { unitsMax: 500 } })
    await leased(tokens)
    for (let round = 0; round < 8; round++) {
      drain(tokens)
      await settled()
      await platform.clock.advance(10)
    }
    const sizes = told('quota.leased').map(({ units }) => units)
    expect(sizes[0]).toBe(50)
    expect(Math.max(...sizes)).toBe(500)
    const few = bound({ limits: [{ name: 'llm-tokens', quantity: 40, period: 'lifetime' }] })
    await leased(few.tokens, 30)
    expect(few.told('quota.leased')).toMatchObject([{ units: 10 }])
  })

  it('is no longer taken when little is left: every unit is worth asking for', async () => {
    const { tokens, told } = bound({ limits: [{ name: 'llm-tokens', quantity: 3, period: 'lifetime' }] })
    await leased(tokens)
    expect(told('quota.leased')).toEqual([])
    expect(tokens.tryConsume()).toBe('ask')
    expect(await tokens.consume(3)).toMatchObject({ outcome: 'consumed', remaining: 0 })
  })

  it('is replaced at a quarter, and what was spent is settled', async () => {
    const { tokens, told, platform, quotas } = bound()
    await leased(tokens, 8)
    const [{ units }] = told('quota.leased') as unknown as [{ units: number }]
    let spent = drain(tokens, Math.ceil(units * 0.75) + 1)
    await settled()
    expect(told('quota.lease-settled')).toMatchObject([{ units, spent }])
    expect(told('quota.leased')).toHaveLength(2)
    spent += drain(tokens, 3)
    await quotas.close()
    expect(platform.clock.pendingTimers).toBe(0)
    const after = stage({ underlying: memoryQuotaStore() })
    expect(after.events).toEqual([])
    expect(told('quota.lease-settled').reduce((sum, lease) => sum + lease.spent, 0)).toBe(spent)
  })

  it('is given back when nobody draws on it, and on close', async () => {
    const { tokens, told, platform, store } = bound()
    await leased(tokens, 20)
    tokens.tryConsume(3)
    await platform.clock.advance(6_000)
    expect(told('quota.lease-settled')).toMatchObject([{ spent: 3 }])
    expect(await tokens.remaining()).toMatchObject({ remaining: 9_997, leased: 0, levels: [{ held: 0 }] })
    expect(platform.clock.pendingTimers).toBe(0)
    expect(store.calls.filter(({ method }) => method === 'settle')).toHaveLength(1)
  })

  it('is shared by all who bind the same quota while it lasts', async () => {
    const { quotas, tokens } = bound()
    await leased(tokens, 20)
    expect(quotas.bind({ tenant: 'org', limit: 'llm-tokens' }).tryConsume()).toBe('consumed')
    expect(quotas.bind({ tenant: 'org', path: ['x'], limit: 'llm-tokens' }).tryConsume()).toBe('ask')
    expect(quotas.bind({ tenant: 'other', limit: 'llm-tokens' }).tryConsume()).toBe('ask')
  })

  it('does not make this process refuse what it has leased itself', async () => {
    const { tokens } = bound({ limits: [{ name: 'llm-tokens', quantity: 100, period: 'lifetime' }] })
    await leased(tokens, 5)
    expect(await tokens.consume(100)).toMatchObject({ outcome: 'consumed', remaining: 0 })
    const held = bound({ limits: [{ name: 'llm-tokens', quantity: 100, period: 'lifetime' }] })
    await leased(held.tokens, 5)
    expect(await held.tokens.hold(100, { ttlMs: 1_000 })).toMatchObject({ outcome: 'held' })
  })

  it('is taken again after two calls at once have had it given back', async () => {
    const { tokens } = bound({ limits: [{ name: 'llm-tokens', quantity: 100, period: 'lifetime' }] })
    await leased(tokens, 5)
    const big = await Promise.all([tokens.consume(85), tokens.consume(90)])
    expect(big.map(({ outcome }) => outcome)).toEqual(['consumed', 'refused'])
    await settled()
    await leased(tokens)
    expect(tokens.tryConsume()).toBe('consumed')
  })

  it('is one of several where a quota was bound twice before: each is given back in its time, and on close', async () => {
    const { quotas, told, platform } = bound()
    const binding = { tenant: 'org', limit: 'llm-tokens' }
    const twins = [quotas.bind(binding), quotas.bind(binding)] as const
    for (const twin of twins) await leased(twin, 20)
    await platform.clock.advance(6_000)
    expect(told('quota.lease-settled')).toHaveLength(2)
    for (const twin of twins) await leased(twin, 20)
    await quotas.close()
    expect(told('quota.lease-settled')).toHaveLength(told('quota.leased').length)
    expect(platform.clock.pendingTimers).toBe(0)
  })

  it('leaves little in the store when it has ended, however many of them a busy day has', async () => {
    const { tokens, store, platform } = bound()
    await leased(tokens, 20)
    await platform.clock.advance(6_000)
    expect(store.calls.find(({ method }) => method === 'settle')?.args[1]).toMatchObject({ keepMs: 600_000 })
  })

  it('tells a recent refusal at once, and never for longer than a moment', async () => {
    const { tokens, platform, quotas, store } = bound()
    const blocker = await quotas.bind({ tenant: 'org', limit: 'llm-tokens' }).hold(9_000, { ttlMs: 60_000 })
    expect(await tokens.consume(2_000)).toMatchObject({ outcome: 'refused' })
    const asked = store.calls.length
    expect(tokens.tryConsume(2_000)).toBe('refused')
    expect(tokens.tryConsume(2_001)).toBe('refused')
    expect(tokens.tryConsume(1)).toBe('ask')
    await settled()
    expect(store.calls.length).toBeLessThanOrEqual(asked + 2)
    if (blocker.outcome === 'held') await blocker.hold.release()
    await platform.clock.advance(251)
    expect(tokens.tryConsume(2_000)).toBe('ask')
    expect(await tokens.consume(2_000)).toMatchObject({ outcome: 'consumed' })
  })

  it('believes a refusal no longer once units of its own came back', async () => {
    const { tokens } = bound()
    const held = await tokens.hold(9_000, { ttlMs: 60_000 })
    await tokens.consume(2_000)
    expect(tokens.tryConsume(2_000)).toBe('refused')
    if (held.outcome === 'held') await held.hold.release()
    expect(tokens.tryConsume(2_000)).toBe('ask')
  })

  it('is not taken while the store fails, and says so once in a while', async () => {
    const { tokens, store, platform, told } = bound()
    store.fault = 'down'
    for (let call = 0; call < 50; call++) expect(tokens.tryConsume()).toBe('ask')
    await settled()
    expect(store.calls).toHaveLength(1)
    store.fault = 'bug'
    await platform.clock.advance(200)
    await leased(tokens)
    expect(told('quota.lease-failed')).toMatchObject([{ error: expect.any(TypeError) }])
    store.fault = 'none'
    await platform.clock.advance(200)
    await leased(tokens)
    expect(tokens.tryConsume()).toBe('consumed')
  })
})

describe('the end of a lease', () => {
  it('comes before the store’s: nothing is spent in the last tenth of its time', async () => {
    const { tokens, platform, told } = bound({ lease: { ttlMs: 10_000 } })
    await leased(tokens, 100)
    for (let ms = 0; ms < 8_900; ms += 100) {
      await platform.clock.advance(100)
      tokens.tryConsume()
    }
    expect(told('quota.leased').length).toBeGreaterThan(1)
    const quiet = bound({ lease: { ttlMs: 10_000 } })
    await leased(quiet.tokens, 100)
    quiet.platform.clock.jumpWallTo(quiet.platform.clock.now())
    quiet.store.fault = 'down'
    for (let ms = 0; ms < 8_900; ms += 100) {
      await quiet.platform.clock.advance(100)
      expect(quiet.tokens.tryConsume()).toBe('consumed')
    }
    await quiet.platform.clock.advance(100)
    expect(quiet.tokens.tryConsume()).toBe('ask')
  })

  it('is kept through a long synchronous stall, to the unit, where a lost lease is sold again', async () => {
    const platform = stallingPlatform()
    const { tokens } = bound({ platform, lease: { onLost: 'returned', ttlMs: 1_000 } } as never)
    await leased(tokens, 100)
    expect(tokens.tryConsume()).toBe('consumed')
    platform.stall(901)
    expect(tokens.tryConsume()).toBe('ask')
  })

  it('is passed by at most 32 units in a stall where a lost lease counts as spent, and none of them is sold twice', async () => {
    const platform = stallingPlatform()
    const store = memoryQuotaStore({ platform })
    const { tokens } = bound({ platform, underlying: store, lease: { ttlMs: 1_000 } })
    await leased(tokens, 400)
    expect(tokens.tryConsume()).toBe('consumed')
    platform.stall(5_000)
    const late = drain(tokens)
    expect(late).toBeLessThanOrEqual(32)
    let granted = 1 + late
    // Another process sells all that the store has to sell.
    const other = createQuotas({
      store: faulty(store),
      limits: [{ name: 'llm-tokens', quantity: 10_000, period: { everyMs: HOUR_MS } }],
      onStoreFailure: 'refuse',
      platform
    }).bind({ tenant: 'org', limit: 'llm-tokens' })
    while ((await other.consume(10)).outcome === 'consumed') granted += 10
    expect(granted).toBeLessThanOrEqual(10_000)
  })

  it('is kept by whoever comes in a later turn, however little was given out since the clock was read', async () => {
    const platform = stallingPlatform()
    const { tokens } = bound({ platform, lease: { ttlMs: 10_000 } })
    await leased(tokens, 100)
    expect(tokens.tryConsume()).toBe('consumed')
    await platform.advance(1)
    platform.stall(9_000)
    expect(tokens.tryConsume()).toBe('ask')
  })

  it('is at once when the machine has slept, or its clock was set (pitfall 4.3.3)', async () => {
    const platform = stallingPlatform()
    const { tokens, told } = bound({ platform, lease: { onLost: 'returned' } } as never)
    await leased(tokens, 100)
    expect(tokens.tryConsume(5)).toBe('consumed')
    platform.sleep(60_000)
    expect(tokens.tryConsume()).toBe('ask')
    await settled()
    expect(told('quota.lease-dropped')).toMatchObject([{ spent: 5 }])
  })

  it('is at the end of its window: its units are spent in the one they were taken from', async () => {
    const { tokens, platform, told } = bound()
    await platform.clock.advance(HOUR_MS - 1_000)
    await leased(tokens, 100)
    expect(told('quota.leased')).toMatchObject([{ usableMs: 900 }])
    tokens.tryConsume(10)
    await platform.clock.advance(1_000)
    expect(tokens.tryConsume()).toBe('ask')
    await settled()
    expect(await tokens.remaining()).toMatchObject({ remaining: 10_000 })
  })

  it('is at the end of its slice in a rolling limit, or a stretch would see more than its quantity', async () => {
    const limits = [{ name: 'llm-tokens', quantity: 100, period: { rollingMs: 60_000 } }] as const
    const platform = testPlatform()
    const underlying = memoryQuotaStore({ platform })
    const hoarder = bound({ limits, platform, underlying, lease: { ttlMs: HOUR_MS } })
    const other = bound({ limits, platform, underlying })
    await leased(hoarder.tokens, 100)
    expect(hoarder.tokens.tryConsume()).toBe('consumed')
    // What was leased has left the stretch, and the store sells as much again.
    await platform.clock.advance(62_000)
    const asked = await other.tokens.consume(100)
    expect((asked.outcome === 'consumed' ? 100 : 0) + drain(hoarder.tokens)).toBeLessThanOrEqual(100)
    await hoarder.quotas.close()
  })

  it('withholds what a dead process had leased until the window ends, and no longer', async () => {
    const { tokens, platform, told, store } = bound({ lease: { ttlMs: 1_000 } })
    await leased(tokens, 400)
    const [{ units }] = told('quota.leased') as unknown as [{ units: number }]
    // The process is gone: nobody settles any more.
    store.fault = 'down'
    const survivor = createQuotas({
      store: { ...store, ...underTheFault(store) },
      limits: [{ name: 'llm-tokens', quantity: 10_000, period: { everyMs: HOUR_MS } }],
      onStoreFailure: 'refuse',
      platform
    }).bind({ tenant: 'org', limit: 'llm-tokens' })
    await platform.clock.advance(60_000)
    expect(await survivor.remaining()).toMatchObject({ remaining: 10_000 - units })
    platform.clock.jumpWallTo(platform.clock.now() + HOUR_MS)
    expect(await survivor.remaining()).toMatchObject({ remaining: 10_000 })
  })

  it('that is reported late is booked all the same, and raised', async () => {
    const { tokens, platform, told, store } = bound({ lease: { onLost: 'returned', ttlMs: 1_000 } })
    await leased(tokens, 100)
    tokens.tryConsume(50)
    store.fault = 'down'
    await platform.clock.advance(4_000)
    store.fault = 'none'
    await platform.clock.advance(10_000)
    expect(told('quota.booked')).toMatchObject([{ amount: 50 }])
    expect(await tokens.remaining()).toMatchObject({ remaining: 9_950 })
  })
})

/** The store without its faults: another process's way to it. */
function underTheFault(store: Stage['store']): Partial<Stage['store']> {
  const around =
    (method: 'read' | 'consume') =>
    async (...args: unknown[]) => {
      const before = store.fault
      store.fault = 'none'
      try {
        return await (store[method] as (...all: unknown[]) => Promise<unknown>)(...args)
      } finally {
        store.fault = before
      }
    }
  return { read: around('read') as never, consume: around('consume') as never }
}
