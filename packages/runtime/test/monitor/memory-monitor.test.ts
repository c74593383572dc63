import { createMemoryMonitor, mebibytes } from '@enablement/runtime'
import { describe, expect, it } from 'vitest'

const limitBytes = mebibytes(64)

describe('a memory monitor', () => {
  it.each([
    ['one byte below 80 %', Math.ceil(limitBytes * 0.8) - 1, 'normal'],
    ['at 80 %', Math.ceil(limitBytes * 0.8), 'warning'],
    ['one byte below 95 %', Math.ceil(limitBytes * 0.95) - 1, 'warning'],
    ['at 95 %', Math.ceil(limitBytes * 0.95), 'critical'],
    ['at the limit', limitBytes, 'critical']
  ])('reads %s (%d bytes) as %s-level', (_where, usedBytes, level) => {
    expect(createMemoryMonitor(limitBytes).observe({ usedBytes, at: 0 }).level).toBe(level)
  })

  it.each([100, 1_000, 1_000_003])('counts the thresholds of a limit of %d bytes exactly', (limit) => {
    const level = (usedBytes: number) => createMemoryMonitor(limit).observe({ usedBytes, at: 0 }).level
    for (const [percent, from, to] of [
      [80, 'normal', 'warning'],
      [95, 'warning', 'critical']
    ] as const) {
      const at = Math.ceil((limit * percent) / 100)
      expect([level(at - 1), level(at)]).toEqual([from, to])
    }
  })

  it('does not flap: a level ends only below its clear ratio', () => {
    const monitor = createMemoryMonitor(1_000)
    const levels = [800, 799, 750, 749, 950, 949, 880, 879, 750, 749].map(
      (usedBytes, n) => monitor.observe({ usedBytes, at: n * 100 }).level
    )
    expect(levels).toEqual([
      'warning',
      'warning',
      'warning',
      'normal',
      'critical',
      'critical',
      'critical',
      'warning',
      'warning',
      'normal'
    ])
  })

  it('says once that a level changed, and from which', () => {
    const monitor = createMemoryMonitor(1_000)
    expect(monitor.observe({ usedBytes: 810, at: 0 }).changedFrom).toBe('normal')
    expect(monitor.observe({ usedBytes: 820, at: 100 })).not.toHaveProperty('changedFrom')
    expect(monitor.observe({ usedBytes: 960, at: 200 }).changedFrom).toBe('warning')
  })

  it('takes a failed allocation as critical and exceeded, however little is used', () => {
    const reading = createMemoryMonitor(1_000).exceeded({ usedBytes: 300, at: 0 })
    expect(reading).toMatchObject({ level: 'critical', exceeded: true, changedFrom: 'normal' })
  })

  it('looks again sooner above 70 %, and when the trend reaches the limit soon', () => {
    const monitor = createMemoryMonitor(1_000_000)
    expect(monitor.observe({ usedBytes: 100_000, at: 0 }).nextSampleMs).toBe(100)
    expect(monitor.observe({ usedBytes: 110_000, at: 1_000 }).nextSampleMs).toBe(100)
    const racing = monitor.observe({ usedBytes: 600_000, at: 1_100 })
    expect(racing.nextSampleMs).toBe(20)
    expect(racing.secondsToLimit).toBeLessThan(0.3)
    expect(monitor.observe({ usedBytes: 700_000, at: 60_000 }).nextSampleMs).toBe(20)
  })

  it('tells the trend in bytes a second, and no time to the limit while usage shrinks', () => {
    const monitor = createMemoryMonitor(1_000_000)
    monitor.observe({ usedBytes: 100_000, at: 0 })
    const growing = monitor.observe({ usedBytes: 150_000, at: 500 })
    expect(growing).toMatchObject({ trendBytesPerSecond: 100_000, secondsToLimit: 8.5 })
    const shrinking = monitor.observe({ usedBytes: 0, at: 1_000 })
    expect(shrinking.trendBytesPerSecond).toBeLessThan(0)
    expect(shrinking).not.toHaveProperty('secondsToLimit')
  })

  it('calls a sample stale when it is older than three intervals', () => {
    const monitor = createMemoryMonitor(1_000)
    expect(monitor.isStale(1e9)).toBe(false)
    monitor.observe({ usedBytes: 1, at: 1_000 })
    expect(monitor.isStale(1_300)).toBe(false)
    expect(monitor.isStale(1_301)).toBe(true)
  })
})
