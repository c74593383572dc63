import { createRollingWindow } from '@enablement/core'
import { testPlatform } from '@enablement/core/testing'
import { fc, test } from '@fast-check/vitest'
import { describe, expect, it } from 'vitest'

describe('rolling window: the tables of resilience4j', () => {
  it('SlidingTimeWindowMetricsTest.testSlidingTimeWindowMetrics', async () => {
    const platform = testPlatform()
    const window = createRollingWindow({ kind: 'time', samplingMs: 5_000, slices: 5, platform })
    const table = [
      { afterMs: 0, failed: true, calls: 1, failures: 1 },
      { afterMs: 100, failed: false, calls: 2, failures: 1 },
      { afterMs: 100, failed: false, calls: 3, failures: 1 },
      { afterMs: 1_000, failed: false, calls: 4, failures: 1 },
      { afterMs: 1_000, failed: false, calls: 5, failures: 1 },
      { afterMs: 1_000, failed: true, calls: 6, failures: 2 },
      { afterMs: 1_000, failed: false, calls: 7, failures: 2 },
      { afterMs: 1_000, failed: false, calls: 5, failures: 1 },
      { afterMs: 1_000, failed: false, calls: 5, failures: 1 },
      { afterMs: 5_000, failed: false, calls: 1, failures: 0 }
    ]
    for (const { afterMs, failed, calls, failures } of table) {
      await platform.clock.advance(afterMs)
      window.record({ failed })
      expect(window.totals()).toEqual({ calls, failures, slow: 0 })
    }
  })

  it('SlidingTimeWindowMetricsTest.shouldClearSlidingTimeWindowMetrics: time alone clears it', async () => {
    const platform = testPlatform()
    const window = createRollingWindow({ kind: 'time', samplingMs: 5_000, slices: 5, platform })
    window.record({ failed: true })
    await platform.clock.advance(100)
    window.record({ failed: false })
    await platform.clock.advance(700)
    window.record({ failed: false })
    await platform.clock.advance(4_000)
    expect(window.totals()).toEqual({ calls: 3, failures: 1, slow: 0 })
    await platform.clock.advance(1_000)
    expect(window.totals()).toEqual({ calls: 0, failures: 0, slow: 0 })
  })

  it('FixedSizeSlidingWindowMetricsTest.testSlidingWindowMetricsWithSlowCalls', () => {
    const window = createRollingWindow({ kind: 'count', size: 2 })
    const table = [
      { failed: true, slow: true, totals: { calls: 1, failures: 1, slow: 1 } },
      { failed: false, slow: true, totals: { calls: 2, failures: 1, slow: 2 } },
      { failed: false, slow: false, totals: { calls: 2, failures: 0, slow: 1 } },
      { failed: false, slow: false, totals: { calls: 2, failures: 0, slow: 0 } },
      { failed: false, slow: false, totals: { calls: 2, failures: 0, slow: 0 } }
    ]
    for (const { totals, ...call } of table) {
      window.record(call)
      expect(window.totals()).toEqual(totals)
    }
  })
})

describe('rolling window', () => {
  test.prop([
    fc.integer({ min: 1, max: 7 }),
    fc.array(fc.record({ afterMs: fc.nat(400), failed: fc.boolean(), slow: fc.boolean() }), {
      maxLength: 60,
      size: 'max'
    })
  ])('holds what a list of all calls gives, by count and by time', (size, calls) => {
    let now = 0
    const { clock, random } = testPlatform()
    const platform = { random, clock: { ...clock, monotonic: () => now } }
    const byCount = createRollingWindow({ kind: 'count', size })
    const byTime = createRollingWindow({ kind: 'time', samplingMs: 100 * size, slices: size, platform })
    const all: { at: number; failed: boolean; slow: boolean }[] = []
    const sum = (recent: typeof all) => ({
      calls: recent.length,
      failures: recent.filter((call) => call.failed).length,
      slow: recent.filter((call) => call.slow).length
    })
    for (const { afterMs, ...call } of calls) {
      now += afterMs
      all.push({ at: now, ...call })
      byCount.record(call)
      byTime.record(call)
      expect(byCount.totals()).toEqual(sum(all.slice(-size)))
      expect(byTime.totals()).toEqual(sum(all.filter(({ at }) => Math.floor(now / 100) - Math.floor(at / 100) < size)))
    }
    byTime.clear()
    expect(byTime.totals()).toEqual({ calls: 0, failures: 0, slow: 0 })
  })

  it.each([
    { kind: 'count', size: 0 },
    { kind: 'count', size: 10_001 },
    { kind: 'time', samplingMs: Number.NaN },
    { kind: 'time', samplingMs: 0 },
    { kind: 'time', samplingMs: 1_000, slices: 101 }
  ] as const)('refuses %j', (options) => {
    expect(() => createRollingWindow(options)).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }))
  })
})
