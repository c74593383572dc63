import { getEventListeners } from 'node:events'
import {
  type AttemptCall,
  createCircuitBreaker,
  createRetry,
  createRetryBudget,
  type RetryEvent,
  type RetryOptions
} from '@enablement/core'
import { testPlatform } from '@enablement/core/testing'
import { describe, expect, it } from 'vitest'

const reset = (): Error => Object.assign(new Error('reset'), { code: 'ECONNRESET' })
const refused = (): Error => Object.assign(new Error('refused'), { code: 'ECONNREFUSED' })

/** A retry whose waits are 100, 200, 400 ms, and work that ends as it is told, once an attempt. */
function bench(ends: readonly (() => unknown)[], options: Partial<RetryOptions> = {}) {
  const platform = testPlatform()
  const events: RetryEvent[] = []
  const attempts: { readonly attempt: number; readonly at: number }[] = []
  const retry = createRetry({
    effects: 'repeatable',
    attemptsMax: 4,
    backoff: { jitter: 'none', baseMs: 100, maxMs: 10_000 },
    platform,
    observe: (event) => events.push(event),
    ...options
  })
  const work = async ({ attempt }: AttemptCall): Promise<unknown> => {
    attempts.push({ attempt, at: platform.clock.monotonic() })
    const end = ends[attempt - 1]
    if (end === undefined) throw new Error('one attempt too many')
    const value = end()
    if (value instanceof Error) throw value
    return await value
  }
  const run = async (signal?: AbortSignal): Promise<unknown> => {
    const ended = retry.execute(work, { signal }).catch((error: unknown) => error)
    await platform.clock.advance(60_000)
    return await ended
  }
  return { platform, events, attempts, retry, work, run }
}

describe('retry', () => {
  it('tries failures again after growing waits, and gives the first success', async () => {
    const { run, attempts, events, platform } = bench([reset, reset, () => 'fine'])
    expect(await run()).toBe('fine')
    expect(attempts).toEqual([
      { attempt: 1, at: 0 },
      { attempt: 2, at: 100 },
      { attempt: 3, at: 300 }
    ])
    expect(events).toEqual([
      { type: 'retry.waiting', attempt: 1, delayMs: 100 },
      { type: 'retry.waiting', attempt: 2, delayMs: 200 }
    ])
    expect(platform.clock.pendingTimers).toBe(0)
  })

  it('gives the end of the last attempt when there are no more', async () => {
    const last = reset()
    const { run, events } = bench([reset, reset, reset, () => last])
    expect(await run()).toBe(last)
    expect(events.at(-1)).toEqual({ type: 'retry.given-up', attempt: 4, reason: 'attempts' })
  })

  it('gives a last response as it is', async () => {
    const responses = [503, 503, 503, 502].map((status) => () => new Response(null, { status }))
    expect(await bench(responses).run()).toMatchObject({ status: 502 })
  })

  it.each([
    ['a client error', () => Object.assign(new Error(), { status: 400 })],
    ['a bug', () => new TypeError('x is not a function')],
    ['an abort', () => new DOMException('gone', 'AbortError')]
  ])('does not try %s again', async (_, end) => {
    const { run, attempts } = bench([end])
    await run()
    expect(attempts).toHaveLength(1)
  })

  it('repeats work with effects only when there was none (pitfall 16)', async () => {
    const connection = bench([refused, () => new Response(null, { status: 429 }), reset], { effects: 'once' })
    expect(await connection.run()).toMatchObject({ code: 'ECONNRESET' })
    expect(connection.attempts).toHaveLength(3)
    expect(connection.events.at(-1)).toEqual({ type: 'retry.given-up', attempt: 3, reason: 'effects' })
  })

  it('waits as long as Retry-After asks, and then the usual wait (pitfall 16)', async () => {
    const asking = () => new Response(null, { status: 503, headers: { 'retry-after': '7' } })
    const { run, attempts } = bench([asking, () => 'fine'])
    await run()
    expect(attempts.map(({ at }) => at)).toEqual([0, 7_100])
  })

  it('reads Retry-After as a date by the wall clock, and from the response of an error', async () => {
    const at = new Date(testPlatform().clock.now() + 5_000).toUTCString()
    const asking = () => Object.assign(new Error('busy'), { response: { status: 429, headers: { 'retry-after': at } } })
    const { run, attempts } = bench([asking, () => 'fine'])
    await run()
    expect(attempts.map((attempt) => attempt.at)).toEqual([0, 5_100])
  })

  it('ends rather than come back earlier than asked when that is beyond retryAfterMaxMs', async () => {
    const asking = () => new Response(null, { status: 503, headers: { 'retry-after': '3' } })
    const { run, events } = bench([asking], { retryAfterMaxMs: 2_999 })
    expect(await run()).toMatchObject({ status: 503 })
    expect(events).toEqual([{ type: 'retry.given-up', attempt: 1, reason: 'retry-after' }])
  })

  it('shares a budget: without one left there is no retry, and first successes fill it (pitfall 16)', async () => {
    const budget = createRetryBudget({ capacity: 10, retryCost: 10, successEarns: 10 })
    const first = bench([reset, () => 'fine'], { budget })
    expect(await first.run()).toBe('fine')
    const second = bench([reset], { budget })
    expect(await second.run()).toMatchObject({ code: 'ECONNRESET' })
    expect(second.events).toEqual([{ type: 'retry.given-up', attempt: 1, reason: 'budget' }])
    await bench([() => 'fine'], { budget }).run()
    expect(budget.left).toBe(10)
  })

  it('does not begin a wait that would outlast the deadline (pitfall 16)', async () => {
    const { run, attempts, events } = bench([reset, reset], { deadlineMs: 300 })
    expect(await run()).toMatchObject({ code: 'ECONNRESET' })
    expect(attempts.map(({ at }) => at)).toEqual([0, 100])
    expect(events.at(-1)).toEqual({ type: 'retry.given-up', attempt: 2, reason: 'deadline' })
  })

  it('aborts an attempt at the deadline', async () => {
    const platform = testPlatform()
    const retry = createRetry({ effects: 'repeatable', deadlineMs: 1_000, platform })
    let signal: AbortSignal | undefined
    const ended = retry
      .execute((call) => {
        signal = call.signal
        return new Promise(() => {})
      })
      .catch((error: unknown) => error)
    await platform.clock.advance(1_000)
    expect(await ended).toMatchObject({ code: 'TIMED_OUT', detail: { timeoutMs: 1_000 } })
    expect(signal?.aborted).toBe(true)
    expect(platform.clock.pendingTimers).toBe(0)
  })

  it('ends a wait with the reason of the caller, and leaves neither timer nor listener (pitfall 14)', async () => {
    const { retry, work, platform } = bench([reset])
    const caller = new AbortController()
    const ended = retry.execute(work, { signal: caller.signal }).catch((error: unknown) => error)
    await platform.clock.advance(50)
    const reason = new Error('the user left')
    caller.abort(reason)
    expect(await ended).toBe(reason)
    expect(platform.clock.pendingTimers).toBe(0)
    expect(getEventListeners(caller.signal, 'abort')).toEqual([])
  })

  it('makes no other attempt for a caller that has given up meanwhile', async () => {
    const caller = new AbortController()
    const giveUp = (): Error => {
      caller.abort(new Error('the user left'))
      return reset()
    }
    const { run, events, attempts } = bench([giveUp])
    expect(await run(caller.signal)).toMatchObject({ code: 'ECONNRESET' })
    expect([attempts.length, events]).toEqual([1, []])
    expect(await run(caller.signal)).toMatchObject({ message: 'the user left' })
    expect(attempts).toHaveLength(1)
  })

  it('stops when a breaker inside it opens', async () => {
    const platform = testPlatform()
    const breaker = createCircuitBreaker({ name: 'inner', window: { kind: 'consecutive', failures: 2 }, platform })
    let begun = 0
    const failing = (): Promise<never> => {
      begun += 1
      return Promise.reject(reset())
    }
    const retry = createRetry({
      effects: 'repeatable',
      attemptsMax: 10,
      backoff: { jitter: 'none', baseMs: 1, maxMs: 1 },
      platform
    })
    const ended = retry.execute((call) => breaker.execute(failing, call)).catch((error: unknown) => error)
    await platform.clock.advance(100)
    expect(await ended).toMatchObject({ code: 'CIRCUIT_OPEN' })
    expect(begun).toBe(2)
  })

  it('draws its jitter from the platform, so that a seed repeats it (pitfall 16)', async () => {
    const waits = async (): Promise<number[]> => {
      const { run, attempts } = bench([reset, reset, () => 1], { backoff: { jitter: 'full', baseMs: 100, maxMs: 999 } })
      await run()
      return attempts.map(({ at }) => at)
    }
    expect(await waits()).toEqual(await waits())
  })

  it.each([
    { options: { effects: undefined }, path: 'effects' },
    { options: { attemptsMax: 1 }, path: 'attemptsMax' },
    { options: { deadlineMs: 0 }, path: 'deadlineMs' },
    { options: { deadlineMs: Number.NaN }, path: 'deadlineMs' },
    { options: { retryAfterMaxMs: -1 }, path: 'retryAfterMaxMs' },
    { options: { backoff: { jitter: 'full', baseMs: 2, maxMs: 1 } }, path: 'backoff.maxMs' },
    { options: { backoff: { jitter: 'full', baseMs: Number.POSITIVE_INFINITY, maxMs: 1 } }, path: 'backoff.baseMs' }
  ])('refuses $path', ({ options, path }) => {
    expect(() => bench([], options as object)).toThrow(
      expect.objectContaining({ detail: expect.objectContaining({ issues: [expect.objectContaining({ path })] }) })
    )
  })
})
