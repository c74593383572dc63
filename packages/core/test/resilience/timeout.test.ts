import { getEventListeners } from 'node:events'
import { stat } from 'node:fs'
import { classifyError, createTimeout, isSuiteError } from '@enablement/core'
import { testPlatform } from '@enablement/core/testing'
import { describe, expect, it } from 'vitest'

const never = (): Promise<never> => new Promise(() => {})

describe('timeout', () => {
  it('gives what work gives and throws what it throws, and leaves no timer', async () => {
    const platform = testPlatform()
    const timeout = createTimeout({ timeoutMs: 100, platform })
    expect(await timeout.execute(() => 'now')).toBe('now')
    expect(await timeout.execute(() => Promise.resolve('later'))).toBe('later')
    await expect(timeout.execute(() => Promise.reject(new Error('later')))).rejects.toThrow('later')
    const threw = timeout.execute(() => {
      throw new Error('at once')
    })
    await expect(threw).rejects.toThrow('at once')
    expect(platform.clock.pendingTimers).toBe(0)
  })

  it('gives up after timeoutMs, aborts the signal of the work and leaves no timer', async () => {
    const platform = testPlatform()
    const timeout = createTimeout({ timeoutMs: 100, platform })
    let signal: AbortSignal | undefined
    const run = timeout.execute((call) => {
      signal = call.signal
      return never()
    })
    const ended = run.catch((error: unknown) => error)
    await platform.clock.advance(99)
    expect(signal?.aborted).toBe(false)
    await platform.clock.advance(1)
    const error: unknown = await ended
    expect(error).toMatchObject({ code: 'TIMED_OUT', detail: { timeoutMs: 100, lateMs: 0 } })
    expect(signal?.reason).toBe(error)
    expect(platform.clock.pendingTimers).toBe(0)
  })

  it('gives the signal aborted to work that looks at it after that', async () => {
    const platform = testPlatform()
    const looked = Promise.withResolvers<AbortSignal>()
    const run = createTimeout({ timeoutMs: 100, platform }).execute(async (call) => {
      await new Promise<void>((done) => void platform.clock.startTimer(500, done))
      looked.resolve(call.signal)
    })
    const ended = run.catch(() => {})
    await platform.clock.advance(500)
    await ended
    expect((await looked.promise).aborted).toBe(true)
  })

  it('lets a reply that has arrived beat the timer of a stalled event loop (pitfall 5)', async () => {
    const timeout = createTimeout({ timeoutMs: 20 })
    // One operation of the thread pool: done long before the loop, which stands still, gets to its timers.
    const run = timeout.execute(() => new Promise<string>((resolve) => stat('.', () => resolve('arrived'))))
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 80)
    expect(await run).toBe('arrived')
  })

  it('lets a reply in that comes in the turn after the timer has fired', async () => {
    const platform = testPlatform()
    const run = createTimeout({ timeoutMs: 100, platform }).execute(() => {
      return new Promise<string>((resolve) => {
        // Fires after the timeout's timer, at the same instant.
        platform.clock.startTimer(100, () => resolve('arrived'))
      })
    })
    await platform.clock.advance(100)
    expect(await run).toBe('arrived')
  })

  it('tells how late the timer was, and a stall is no evidence against the callee (pitfall 5)', async () => {
    const { clock, random } = testPlatform()
    let aheadMs = 0
    const platform = { random, clock: { ...clock, monotonic: () => clock.monotonic() + aheadMs } }
    const run = createTimeout({ timeoutMs: 50, platform }).execute(never)
    const ended = run.catch((error: unknown) => error)
    aheadMs = 77
    await clock.advance(50)
    const error = await ended
    expect(error).toMatchObject({ code: 'TIMED_OUT', detail: { timeoutMs: 50, lateMs: 77 } })
    expect(classifyError(error)).toBe('ignored')
  })

  it('keeps the process alive while somebody waits (pitfall 5)', async () => {
    const { clock, random } = testPlatform()
    const started: ({ readonly background?: boolean } | undefined)[] = []
    const spy: typeof clock.startTimer = (delayMs, onElapsed, options) => {
      started.push(options)
      return clock.startTimer(delayMs, onElapsed)
    }
    const timeout = createTimeout({ timeoutMs: 100, platform: { random, clock: { ...clock, startTimer: spy } } })
    const ended = timeout.execute(never).catch(() => {})
    await clock.advance(100)
    await ended
    expect(started.map((options) => options?.background ?? false)).toEqual([false, false])
  })

  it('gives each of many calls its own time, on one timer', async () => {
    const platform = testPlatform()
    const timeout = createTimeout({ timeoutMs: 100, platform })
    const ended: number[] = []
    const runs: Promise<unknown>[] = []
    for (let call = 0; call < 5; call++) {
      const run = call === 2 ? timeout.execute(() => 'soon') : timeout.execute(never)
      runs.push(run.catch(() => ended.push(platform.clock.monotonic())))
      await platform.clock.advance(10)
      expect(platform.clock.pendingTimers).toBe(1)
    }
    await platform.clock.advance(100)
    await Promise.all(runs)
    expect(ended).toEqual([100, 110, 130, 140])
    expect(platform.clock.pendingTimers).toBe(0)
  })

  it('starts new calls from within a timeout without losing any', async () => {
    const platform = testPlatform()
    const timeout = createTimeout({ timeoutMs: 100, platform })
    let inner: Promise<unknown> | undefined
    const outer = timeout.execute(({ signal }) => {
      signal.addEventListener('abort', () => {
        inner = timeout.execute(never).catch((error: unknown) => error)
      })
      return never()
    })
    const other = timeout.execute(never)
    const ended = Promise.allSettled([outer, other])
    await platform.clock.advance(100)
    await ended
    expect(platform.clock.pendingTimers).toBe(1)
    await platform.clock.advance(100)
    expect(isSuiteError(await inner, 'TIMED_OUT')).toBe(true)
    expect(platform.clock.pendingTimers).toBe(0)
  })

  it('ends with the reason of the caller, and leaves no listener on its signal however it ends (pitfall 14)', async () => {
    const platform = testPlatform()
    const timeout = createTimeout({ timeoutMs: 100, platform })
    const caller = new AbortController()
    const { signal } = caller
    await timeout.execute(() => 1, { signal })
    await timeout.execute(() => Promise.reject(new Error('no')), { signal }).catch(() => {})
    const late = timeout.execute(never, { signal }).catch(() => {})
    await platform.clock.advance(100)
    await late
    expect(getEventListeners(signal, 'abort')).toEqual([])

    let seen: unknown
    const left = timeout.execute(
      (call) => {
        call.signal.addEventListener('abort', () => {
          seen = call.signal.reason
        })
        return never()
      },
      { signal }
    )
    const reason = new Error('the user left')
    caller.abort(reason)
    await expect(left).rejects.toBe(reason)
    expect(seen).toBe(reason)
    expect(getEventListeners(signal, 'abort')).toEqual([])
    expect(platform.clock.pendingTimers).toBe(0)
    await expect(timeout.execute(() => 1, { signal })).rejects.toBe(reason)
  })

  it.each([0, -1, Number.NaN, Number.POSITIVE_INFINITY])('refuses a timeout of %s ms', (timeoutMs) => {
    expect(() => createTimeout({ timeoutMs })).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }))
  })
})
