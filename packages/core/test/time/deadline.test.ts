import { deadlineAfter } from '@enablement/core'
import { virtualClock } from '@enablement/core/testing'
import { describe, expect, it } from 'vitest'

describe('deadline', () => {
  it('passes at its instant and not a fraction earlier', async () => {
    const clock = virtualClock()
    const deadline = deadlineAfter(clock, 100)
    expect([deadline.remainingMs(), deadline.expired()]).toEqual([100, false])
    await clock.advance(99.5)
    expect([deadline.remainingMs(), deadline.expired()]).toEqual([0.5, false])
    await clock.advance(0.5)
    expect([deadline.remainingMs(), deadline.expired()]).toEqual([0, true])
    await clock.advance(50)
    expect([deadline.remainingMs(), deadline.expired()]).toEqual([0, true])
  })

  it('does not care where the wall clock jumps', async () => {
    const clock = virtualClock({ now: 1_000_000 })
    const deadline = deadlineAfter(clock, 100)
    clock.jumpWallTo(9_000_000)
    expect(deadline.remainingMs()).toBe(100)
    clock.jumpWallTo(0)
    await clock.advance(100)
    expect(deadline.expired()).toBe(true)
  })

  it('may be now', () => {
    expect(deadlineAfter(virtualClock(), 0).expired()).toBe(true)
  })

  it.each([-1, Number.NaN, Number.POSITIVE_INFINITY])('cannot be %d ms away', (durationMs) => {
    expect(() => deadlineAfter(virtualClock(), durationMs)).toThrow(
      expect.objectContaining({ code: 'INVALID_DURATION', detail: { count: durationMs, unit: 'milliseconds' } })
    )
  })
})
