import { getEventListeners } from 'node:events'
import { sleep } from '@enablement/core'
import { virtualClock } from '@enablement/core/testing'
import { describe, expect, it } from 'vitest'

describe('sleep', () => {
  it('ends after its delay of monotonic time, whatever the wall clock does', async () => {
    const clock = virtualClock()
    let woke = false
    const slept = sleep(clock, 100).then(() => {
      woke = true
    })
    clock.jumpWallTo(clock.now() + 1_000_000)
    await clock.advance(99)
    expect(woke).toBe(false)
    await clock.advance(1)
    await slept
  })

  it('ends with the reason of a signal that aborts, and leaves neither timer nor listener', async () => {
    const clock = virtualClock()
    const abort = new AbortController()
    const slept = sleep(clock, 100, { signal: abort.signal })
    abort.abort(new Error('enough'))
    await expect(slept).rejects.toThrow('enough')
    expect(clock.pendingTimers).toBe(0)
    expect(getEventListeners(abort.signal, 'abort')).toEqual([])
  })

  it('leaves no listener when it ends by itself', async () => {
    const clock = virtualClock()
    const abort = new AbortController()
    const slept = sleep(clock, 100, { signal: abort.signal })
    expect(getEventListeners(abort.signal, 'abort')).toHaveLength(1)
    await clock.advance(100)
    await slept
    expect(getEventListeners(abort.signal, 'abort')).toEqual([])
    abort.abort()
  })

  it('does not begin when the signal has aborted before', async () => {
    const clock = virtualClock()
    await expect(sleep(clock, 100, { signal: AbortSignal.abort(new Error('enough')) })).rejects.toThrow('enough')
    expect(clock.pendingTimers).toBe(0)
  })

  it('rejects a delay of NaN', async () => {
    await expect(sleep(virtualClock(), Number.NaN)).rejects.toMatchObject({ code: 'INVALID_DURATION' })
  })
})
