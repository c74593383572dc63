import { testPlatform } from '@enablement/core/testing'
import type { Limit, Period } from '@enablement/metering'
import { memoryQuotaStore } from '@enablement/metering/memory'
import { describe, expect, it } from 'vitest'
import { HOUR_MS, stage } from './stage.ts'

const at = (iso: string): number => Date.parse(iso)

const limitOf = (period: Period): Limit[] => [{ name: 'calls', quantity: 10, period }]

describe('the windows of a quota', () => {
  const paris = { calendar: { every: { months: 1 }, timeZone: 'Europe/Paris', anchor: '2026-01-31' } } as const
  it.each<[Period, string, string]>([
    ['calendar-month-utc', '2026-02-28T23:59:59.999Z', '2026-03-01T00:00:00Z'],
    ['calendar-month-utc', '2028-02-29T12:00:00Z', '2028-03-01T00:00:00Z'],
    [{ everyMs: HOUR_MS }, '2026-02-28T23:59:59.999Z', '2026-03-01T00:00:00Z'],
    // The 31st is clamped in February and comes back in March, on the other side of daylight saving.
    [paris, '2026-02-27T22:59:59.999Z', '2026-02-27T23:00:00Z'],
    [paris, '2026-03-30T21:59:59.999Z', '2026-03-30T22:00:00Z']
  ])('of %o end between %s and %s', async (period, before, after) => {
    const platform = testPlatform({ now: at(before) })
    const { quotas } = stage({ limits: limitOf(period), platform })
    const calls = quotas.bind({ tenant: 'org', limit: 'calls' })
    expect(await calls.consume(10)).toMatchObject({ remaining: 0, resetsAt: at(after) })
    expect(await calls.consume(1)).toMatchObject({ outcome: 'refused', retryAt: at(after) })
    platform.clock.jumpWallTo(at(after))
    expect(await calls.consume(10)).toMatchObject({ remaining: 0 })
  })

  it('are the same rules to the store until they end', async () => {
    const platform = testPlatform({ now: at('2026-02-10T00:00:00Z') })
    const { quotas, store } = stage({ limits: limitOf('calendar-month-utc'), platform })
    const calls = quotas.bind({ tenant: 'org', limit: 'calls' })
    const charges = () => (store.calls.at(-1)?.args[1] as { charges: readonly unknown[] }[] | undefined)?.[0]?.charges
    await calls.consume()
    const first = charges()
    platform.clock.jumpWallTo(at('2026-02-28T23:59:59.999Z'))
    await calls.consume()
    expect(charges()).toBe(first)
    platform.clock.jumpWallTo(at('2026-03-01T00:00:00Z'))
    await calls.consume()
    expect(charges()).not.toBe(first)
  })

  it.each(['consume', 'hold', 'remaining'] as const)(
    'follow the store’s clock, when the caller’s is years off: %s asks once more, and then knows',
    async (method) => {
      const storePlatform = testPlatform({ now: at('2026-05-15T00:00:00Z') })
      const { quotas, store } = stage({
        limits: limitOf('calendar-month-utc'),
        platform: testPlatform({ now: at('2020-01-01T00:00:00Z') }),
        underlying: memoryQuotaStore({ platform: storePlatform })
      })
      const calls = quotas.bind({ tenant: 'org', limit: 'calls' })
      const ask = () =>
        method === 'consume' ? calls.consume() : method === 'hold' ? calls.hold(1, { ttlMs: 1_000 }) : calls.remaining()
      const outcome = { consume: 'consumed', hold: 'held', remaining: 'known' }[method]
      expect(await ask()).toMatchObject({ outcome })
      expect(store.calls).toHaveLength(2)
      expect(await ask()).toMatchObject({ outcome })
      expect(store.calls).toHaveLength(3)
    }
  )

  it('that the store is never in are no decision', async () => {
    const { quotas, store } = stage({ limits: limitOf('calendar-month-utc'), onStoreFailure: 'allow' })
    let year = 2030
    Object.assign(store, {
      consume: () => Promise.resolve([[{ outcome: 'elsewhere', now: Date.UTC(year++, 6) }]])
    })
    const calls = quotas.bind({ tenant: 'org', limit: 'calls' })
    expect(await calls.consume()).toEqual({ outcome: 'unavailable', allowed: true, reason: 'store-failed' })
  })

  it('roll, and fill, as the limit says', async () => {
    const platform = testPlatform()
    const rolling = stage({ limits: limitOf({ rollingMs: 60_000 }), platform })
    const calls = rolling.quotas.bind({ tenant: 'org', limit: 'calls' })
    await calls.consume(10)
    await platform.clock.advance(59_000)
    expect(await calls.consume(1)).toMatchObject({ outcome: 'refused' })
    await platform.clock.advance(2_000)
    expect(await calls.consume(10)).toMatchObject({ outcome: 'consumed' })
    const bucket = stage({ limits: limitOf({ refill: 2, perMs: 1_000 }), platform })
    const steady = bucket.quotas.bind({ tenant: 'org', limit: 'calls' })
    await steady.consume(10)
    await platform.clock.advance(1_500)
    expect(await steady.consume(4)).toMatchObject({ outcome: 'refused', remaining: 3 })
    expect(await steady.consume(3)).toMatchObject({ outcome: 'consumed', remaining: 0 })
  })

  it('of a concurrent limit are none: what is held comes back whole', async () => {
    const { quotas } = stage()
    const parallel = quotas.bind({ tenant: 'org', limit: 'parallel' })
    const a = await parallel.hold(1, { ttlMs: 1_000 })
    await parallel.hold(1, { ttlMs: 1_000 })
    expect(await parallel.hold(1, { ttlMs: 1_000 })).toMatchObject({ outcome: 'refused', remaining: 0, retryAt: null })
    if (a.outcome !== 'held') throw new Error(a.outcome)
    await a.hold.commit(1)
    expect(await parallel.hold(1, { ttlMs: 1_000 })).toMatchObject({ outcome: 'held' })
  })
})
