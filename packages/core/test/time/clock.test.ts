import { systemClock } from '@enablement/core'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'

const DAY_MS = 86_400_000

// Node's own timers and clocks, simulated beneath the system clock, so that 50 days pass in a test.
beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date', 'performance'] }))
afterEach(() => void vi.useRealTimers())

describe('system clock', () => {
  it('tells whole milliseconds since the epoch, and a monotonic time that advances', () => {
    expect(Number.isInteger(systemClock.now())).toBe(true)
    const before = systemClock.monotonic()
    vi.advanceTimersByTime(5)
    expect(systemClock.monotonic()).toBe(before + 5)
  })

  it.each([0, 1, 2 ** 31 - 2, 2 ** 31 - 1, 2 ** 31, 2 ** 31 + 1, 50 * DAY_MS, 3 * 2 ** 31])(
    'fires a timer of %d ms then and not earlier',
    (delayMs) => {
      let fired = 0
      systemClock.startTimer(delayMs, () => fired++)
      expect(fired).toBe(0)
      if (delayMs > 0) vi.advanceTimersByTime(delayMs - 1)
      expect(fired).toBe(0)
      vi.advanceTimersByTime(1)
      expect(fired).toBe(1)
      vi.advanceTimersByTime(10 * DAY_MS)
      expect(fired).toBe(1)
    }
  )

  it('stops a timer that is longer than a native one can be, in any of its legs', () => {
    let fired = 0
    const timer = systemClock.startTimer(50 * DAY_MS, () => fired++)
    vi.advanceTimersByTime(30 * DAY_MS)
    timer.cancel()
    expect(vi.getTimerCount()).toBe(0)
    vi.advanceTimersByTime(60 * DAY_MS)
    timer.cancel()
    expect(fired).toBe(0)
  })

  it('waits on when the native timer fires a fraction early, as those of Node do', () => {
    const start = performance.now()
    const monotonic = vi.spyOn(performance, 'now')
    monotonic.mockReturnValue(start)
    let fired = 0
    systemClock.startTimer(10, () => fired++)
    monotonic.mockReturnValue(start + 9.4)
    vi.advanceTimersByTime(10)
    expect(fired).toBe(0)
    monotonic.mockReturnValue(start + 10)
    vi.advanceTimersByTime(1)
    expect(fired).toBe(1)
    monotonic.mockRestore()
  })

  it('never fires a timer during the call that starts it, and takes a negative delay for none', () => {
    let fired = 0
    systemClock.startTimer(-100, () => fired++)
    expect(fired).toBe(0)
    vi.advanceTimersByTime(1)
    expect(fired).toBe(1)
  })

  it('refuses a timer of NaN ms', () => {
    expect(() => systemClock.startTimer(Number.NaN, () => {})).toThrow(
      expect.objectContaining({ code: 'INVALID_DURATION' })
    )
  })

  it('keeps the process alive for an awaited timer and not for a background one', () => {
    vi.useRealTimers()
    const timeouts = (): number => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length
    const before = timeouts()
    const background = systemClock.startTimer(1_000, () => {}, { background: true })
    expect(timeouts()).toBe(before)
    const awaited = systemClock.startTimer(1_000, () => {})
    expect(timeouts()).toBe(before + 1)
    background.cancel()
    awaited.cancel()
    expect(timeouts()).toBe(before)
  })
})
