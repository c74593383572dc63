import { sleep } from '@enablement/core'
import { virtualClock } from '@enablement/core/testing'
import { describe, expect, it } from 'vitest'

describe('virtual clock', () => {
  it('stands still until it is moved, and then moves both clocks together', async () => {
    const clock = virtualClock({ now: 5_000 })
    expect([clock.now(), clock.monotonic()]).toEqual([5_000, 0])
    await new Promise((resolve) => setImmediate(resolve))
    expect([clock.now(), clock.monotonic()]).toEqual([5_000, 0])
    await clock.advance(1_500)
    expect([clock.now(), clock.monotonic()]).toEqual([6_500, 1_500])
  })

  it('starts at 2026-01-01T00:00:00Z unless told otherwise', () => {
    expect(new Date(virtualClock().now()).toISOString()).toBe('2026-01-01T00:00:00.000Z')
  })

  it('tells whole milliseconds of wall time, and fractions of monotonic time', async () => {
    const clock = virtualClock({ now: 1_000 })
    await clock.advance(0.75)
    expect([clock.now(), clock.monotonic()]).toEqual([1_000, 0.75])
    await clock.advance(0.25)
    expect(clock.now()).toBe(1_001)
  })

  it('fires timers in the order of their instants, each at its own, ties in the order of their start', async () => {
    const clock = virtualClock()
    const fired: [string, number][] = []
    const start = (name: string, delayMs: number): void => {
      clock.startTimer(delayMs, () => fired.push([name, clock.monotonic()]))
    }
    start('c', 30)
    start('a', 10)
    start('b1', 20)
    start('b2', 20)
    start('z', 31)
    await clock.advance(30)
    expect(fired).toEqual([
      ['a', 10],
      ['b1', 20],
      ['b2', 20],
      ['c', 30]
    ])
    expect(clock.pendingTimers).toBe(1)
  })

  it('fires timers that are started on the way, and only those that fall due', async () => {
    const clock = virtualClock()
    const instants: number[] = []
    const again = (): void => {
      instants.push(clock.monotonic())
      clock.startTimer(40, again)
    }
    clock.startTimer(40, again)
    await clock.advance(125)
    expect(instants).toEqual([40, 80, 120])
    expect(clock.monotonic()).toBe(125)
  })

  it('lets promise chains and hand-overs through setImmediate settle between timers', async () => {
    const clock = virtualClock()
    const trace: string[] = []
    const chain = async (name: string): Promise<void> => {
      for (let step = 0; step < 5; step++) {
        await Promise.resolve()
        await new Promise((resolve) => setImmediate(resolve))
      }
      trace.push(`${name} settled at ${clock.monotonic()}`)
    }
    clock.startTimer(10, () => void chain('first'))
    clock.startTimer(20, () => void chain('second'))
    await clock.advance(20)
    expect(trace).toEqual(['first settled at 10', 'second settled at 20'])
  })

  it('lets what was called before settle first, so that its timers count from now', async () => {
    const clock = virtualClock()
    let done = false
    const work = async (): Promise<void> => {
      await new Promise((resolve) => setImmediate(resolve))
      await sleep(clock, 100)
      done = true
    }
    void work()
    await clock.advance(100)
    expect(done).toBe(true)
  })

  it('keeps durations apart from a wall clock that jumps either way', async () => {
    const clock = virtualClock({ now: 1_000_000 })
    let fired = 0
    clock.startTimer(100, () => fired++)
    clock.jumpWallTo(50_000_000)
    expect([clock.now(), clock.monotonic(), fired]).toEqual([50_000_000, 0, 0])
    await clock.advance(99)
    clock.jumpWallTo(5)
    expect([clock.now(), clock.monotonic(), fired]).toEqual([5, 99, 0])
    await clock.advance(1)
    expect([clock.now(), clock.monotonic(), fired]).toEqual([6, 100, 1])
  })

  it('forgets a cancelled timer, and cancelling one that has fired does nothing', async () => {
    const clock = virtualClock()
    let fired = 0
    const kept = clock.startTimer(10, () => fired++)
    clock.startTimer(10, () => fired++).cancel()
    expect(clock.pendingTimers).toBe(1)
    await clock.advance(10)
    kept.cancel()
    expect([fired, clock.pendingTimers]).toEqual([1, 0])
  })

  it('never fires a timer during the call that starts it, however short its delay', async () => {
    const clock = virtualClock()
    let fired = 0
    clock.startTimer(-5, () => fired++)
    expect(fired).toBe(0)
    await clock.advance(0)
    expect([fired, clock.monotonic()]).toEqual([1, 0])
  })

  it('waits 25 days and more', async () => {
    const clock = virtualClock()
    let firedAt = 0
    clock.startTimer(2 ** 31 + 5, () => {
      firedAt = clock.monotonic()
    })
    await clock.advance(2 ** 31 + 4)
    expect(firedAt).toBe(0)
    await clock.advance(1)
    expect(firedAt).toBe(2 ** 31 + 5)
  })

  it('runs overlapping advances one after the other', async () => {
    const clock = virtualClock()
    const instants: number[] = []
    clock.startTimer(10, () => instants.push(clock.monotonic()))
    clock.startTimer(15, () => instants.push(clock.monotonic()))
    await Promise.all([clock.advance(10), clock.advance(10)])
    expect([instants, clock.monotonic()]).toEqual([[10, 15], 20])
  })

  it('throws what a timer throws to whoever advances, and can be advanced again', async () => {
    const clock = virtualClock()
    clock.startTimer(10, () => {
      throw new Error('in a timer')
    })
    await expect(clock.advance(20)).rejects.toThrow('in a timer')
    await clock.advance(5)
    expect(clock.monotonic()).toBe(15)
  })

  it.each([-1, Number.NaN, Number.POSITIVE_INFINITY])('refuses to advance by %d ms', (durationMs) => {
    const clock = virtualClock()
    expect(() => clock.advance(durationMs)).toThrow(expect.objectContaining({ code: 'INVALID_DURATION' }))
    expect(clock.monotonic()).toBe(0)
  })

  it.each([-1, 0.5, Number.NaN])('refuses the instant %d', (now) => {
    expect(() => virtualClock({ now })).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }))
    expect(() => virtualClock().jumpWallTo(now)).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }))
  })

  it('refuses a timer of NaN ms', () => {
    expect(() => virtualClock().startTimer(Number.NaN, () => {})).toThrow(
      expect.objectContaining({ code: 'INVALID_DURATION' })
    )
  })
})
