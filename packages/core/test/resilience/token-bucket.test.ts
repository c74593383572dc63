import { getEventListeners } from 'node:events'
import { type BucketReservation, createTokenBucket, type TokenBucket } from '@enablement/core'
import { testPlatform } from '@enablement/core/testing'
import { fc, test } from '@fast-check/vitest'
import { describe, expect, it } from 'vitest'

/** The tables of `golang.org/x/time/rate` count in steps of this. */
const STEP_MS = 100

/** A bucket on a clock that is set by hand, also back. */
function bench(perSecond: number, burst: number) {
  let now = 0
  const { clock, random } = testPlatform()
  const platform = { random, clock: { ...clock, monotonic: () => now } }
  const bucket = createTokenBucket({ perSecond, burst, platform })
  const at = (step: number): TokenBucket => {
    now = step * STEP_MS
    return bucket
  }
  /** Reserves `tokens` at a step, and expects them to be usable from another, or never. */
  const reserve = (step: number, tokens: number, usable: number | undefined, waitMaxMs?: number): BucketReservation => {
    const reserved = at(step).reserve(tokens, waitMaxMs === undefined ? {} : { waitMaxMs })
    if (reserved.outcome !== 'reserved') {
      expect(usable).toBeUndefined()
      return { outcome: 'reserved', waitMs: 0, cancel: () => 0 }
    }
    expect(Math.round(step + reserved.waitMs / STEP_MS)).toBe(usable)
    return reserved
  }
  const take = (table: readonly (readonly [step: number, tokens: number, ok: boolean])[]): void => {
    for (const [row, [step, tokens, ok]] of table.entries()) {
      expect([row, at(step).take(tokens).outcome === 'taken']).toEqual([row, ok])
    }
  }
  return { bucket, at, reserve, take, setNow: (ms: number) => (now = ms) }
}

describe('token bucket: the tables of golang.org/x/time/rate', () => {
  it('TestLimiterBurst1', () => {
    bench(10, 1).take([
      [0, 1, true],
      [0, 1, false],
      [0, 1, false],
      [1, 1, true],
      [1, 1, false],
      [1, 1, false],
      [2, 2, false],
      [2, 1, true],
      [2, 1, false]
    ])
  })

  it('TestLimiterBurst3', () => {
    bench(10, 3).take([
      [0, 2, true],
      [0, 2, false],
      [0, 1, true],
      [0, 1, false],
      [1, 4, false],
      [2, 1, true],
      [3, 1, true],
      [4, 1, true],
      [4, 1, true],
      [4, 1, false],
      [4, 1, false],
      [9, 3, true],
      [9, 0, true]
    ])
  })

  it('TestLimiterJumpBackwards (pitfall 4)', () => {
    bench(10, 3).take([
      [1, 1, true],
      [0, 1, true],
      [0, 1, true],
      [0, 1, false],
      [0, 1, false],
      [1, 1, true],
      [1, 1, false],
      [1, 1, false],
      [2, 1, true],
      [2, 1, false],
      [2, 1, false]
    ])
  })

  it('TestLimiter_noTruncationErrors', () => {
    expect(bench(0.7692307692307693, 1).bucket.take()).toEqual({ outcome: 'taken' })
  })

  it('TestSimultaneousRequests', () => {
    const { bucket } = bench(1, 5)
    const taken = Array.from({ length: 15 }, () => bucket.take()).filter(({ outcome }) => outcome === 'taken')
    expect(taken).toHaveLength(5)
  })

  it('TestSimpleReserve', () => {
    const { reserve } = bench(10, 2)
    reserve(0, 2, 0)
    reserve(0, 2, 2)
    reserve(3, 2, 4)
  })

  it('TestMix', () => {
    const { reserve, take } = bench(10, 2)
    reserve(0, 3, undefined)
    reserve(0, 2, 0)
    take([[1, 2, false]])
    reserve(1, 2, 2)
    take([[1, 1, false]])
    take([[3, 1, true]])
  })

  it('TestCancelInvalid, TestCancelLast, TestCancelTooLate', () => {
    const invalid = bench(10, 2)
    invalid.reserve(0, 2, 0)
    invalid.reserve(0, 3, undefined)
    invalid.reserve(0, 2, 2)

    const last = bench(10, 2)
    last.reserve(0, 2, 0)
    const reserved = last.reserve(0, 2, 2)
    last.at(1)
    reserved.cancel()
    last.reserve(1, 2, 2)

    const tooLate = bench(10, 2)
    tooLate.reserve(0, 2, 0)
    const past = tooLate.reserve(0, 2, 2)
    tooLate.at(3)
    past.cancel()
    tooLate.reserve(3, 2, 4)
  })

  it('TestCancel0Tokens, TestCancel1Token', () => {
    const none = bench(10, 2)
    none.reserve(0, 2, 0)
    const first = none.reserve(0, 1, 1)
    none.reserve(0, 1, 2)
    first.cancel()
    none.reserve(0, 1, 3)

    const one = bench(10, 2)
    one.reserve(0, 2, 0)
    const second = one.reserve(0, 2, 2)
    one.reserve(0, 1, 3)
    one.at(2)
    second.cancel()
    one.reserve(2, 2, 4)
  })

  it('TestCancelMulti', () => {
    const { reserve, at } = bench(10, 4)
    reserve(0, 4, 0)
    const first = reserve(0, 3, 3)
    reserve(0, 1, 4)
    const third = reserve(0, 1, 5)
    at(1)
    third.cancel()
    first.cancel()
    reserve(1, 3, 5)
  })

  it('TestReserveJumpBack, TestReserveJumpBackCancel', () => {
    const back = bench(10, 2)
    back.reserve(1, 2, 1)
    back.reserve(0, 1, 1)
    back.reserve(2, 2, 3)

    const { reserve, at } = bench(10, 2)
    reserve(1, 2, 1)
    const second = reserve(1, 2, 3)
    reserve(1, 1, 4)
    at(0)
    second.cancel()
    reserve(1, 2, 4)
  })

  it('TestReserveSetLimit, TestReserveSetBurst, TestReserveSetLimitCancel', () => {
    const limit = bench(5, 2)
    limit.reserve(0, 2, 0)
    limit.reserve(0, 2, 4)
    limit.at(2).adjust({ perSecond: 10 })
    limit.reserve(2, 1, 4)

    const burst = bench(5, 2)
    burst.reserve(0, 2, 0)
    burst.reserve(0, 2, 4)
    burst.at(3).adjust({ burst: 4 })
    burst.reserve(0, 4, 9)

    const cancelled = bench(5, 2)
    cancelled.reserve(0, 2, 0)
    const second = cancelled.reserve(0, 2, 4)
    cancelled.at(2).adjust({ perSecond: 10 })
    second.cancel()
    cancelled.reserve(2, 2, 3)
  })

  it('TestReserveMax', () => {
    const { reserve } = bench(10, 2)
    reserve(0, 2, 0, STEP_MS)
    reserve(0, 1, 1, STEP_MS)
    reserve(0, 1, undefined, STEP_MS)
  })
})

describe('token bucket', () => {
  it('tells when there will be enough, and when there never will be, and takes nothing', () => {
    const { bucket } = bench(4, 8)
    bucket.take(8)
    expect(bucket.take(2)).toEqual({ outcome: 'throttled', retryAfterMs: 500 })
    expect(bucket.take(9)).toEqual({ outcome: 'exceeds-burst', burst: 8 })
    expect(bucket.reserve(9)).toEqual({ outcome: 'exceeds-burst', burst: 8 })
    expect(bucket.tokens).toBe(0)
  })

  it('gives nothing while it pauses, and then comes in at the rate, without a burst', () => {
    const { bucket, at } = bench(10, 2)
    bucket.pause(1_000)
    bucket.pause(100)
    expect(bucket.take()).toEqual({ outcome: 'throttled', retryAfterMs: 1_000 })
    expect(at(9).take().outcome).toBe('throttled')
    expect(at(10).take(2).outcome).toBe('throttled')
    expect(at(10).take()).toEqual({ outcome: 'taken' })
    expect(at(10).take().outcome).toBe('throttled')
  })

  it('puts nothing back into a pause of what was reserved before', () => {
    const { bucket } = bench(10, 2)
    bucket.take(2)
    const before = [1, 2, 3, 4].map(() => bucket.reserve(2) as BucketReservation)
    bucket.pause(1_000)
    const within = bucket.reserve(1) as BucketReservation
    expect([within.waitMs, within.cancel(), before.at(-1)?.cancel()]).toEqual([1_000, 1, 0])
    expect(bucket.take()).toEqual({ outcome: 'throttled', retryAfterMs: 1_000 })
  })

  it.each([-1, Number.NaN, 86_400_001])('refuses to pause for %s ms, and goes on', (durationMs) => {
    const { bucket } = bench(10, 2)
    expect(() => bucket.pause(durationMs)).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }))
    expect(bucket.take(2)).toEqual({ outcome: 'taken' })
  })

  it('puts a reservation back once', () => {
    const { bucket } = bench(10, 2)
    bucket.take(2)
    const reserved = bucket.reserve(2) as BucketReservation
    reserved.cancel()
    reserved.cancel()
    expect(bucket.tokens).toBe(0)
  })

  test.prop([
    fc.double({ min: 0.001, max: 1_000_000, noNaN: true }),
    fc.integer({ min: 1, max: 1_000 }),
    fc.double({ min: 0, max: 3.2e10, noNaN: true }),
    fc.array(fc.integer({ min: 1, max: 1_000 }), { minLength: 1, maxLength: 20, size: 'max' })
  ])(
    'serves whoever comes back after exactly retryAfterMs, at any rate and uptime',
    (perSecond, burst, uptime, wanted) => {
      const { bucket, setNow } = bench(perSecond, burst)
      let now = uptime
      setNow(now)
      for (const tokens of wanted) {
        const refused = bucket.take(Math.min(tokens, burst))
        if (refused.outcome !== 'throttled') continue
        now += refused.retryAfterMs
        setNow(now)
        expect(bucket.take(Math.min(tokens, burst))).toEqual({ outcome: 'taken' })
      }
    }
  )

  test.prop([
    fc.integer({ min: 1, max: 50 }),
    fc.integer({ min: 1, max: 20 }),
    fc.array(fc.record({ afterMs: fc.nat(300), tokens: fc.integer({ min: 1, max: 5 }) }), {
      maxLength: 100,
      size: 'max'
    })
  ])('never gives more than the burst and the rate, over any stretch of time', (perSecond, burst, calls) => {
    const { bucket, setNow } = bench(perSecond, burst)
    let now = 0
    const taken: { at: number; tokens: number }[] = []
    for (const { afterMs, tokens } of calls) {
      now += afterMs
      setNow(now)
      if (bucket.take(tokens).outcome === 'taken') taken.push({ at: now, tokens })
    }
    let mostTooMany = 0
    for (const [from, first] of taken.entries()) {
      let sum = 0
      for (const { at, tokens } of taken.slice(from)) {
        sum += tokens
        mostTooMany = Math.max(mostTooMany, sum - burst - ((at - first.at) / 1_000) * perSecond)
      }
    }
    expect(mostTooMany).toBeLessThanOrEqual(1e-6)
  })

  test.prop([
    fc.array(
      fc.record({
        call: fc.constantFrom('reserve', 'reserve', 'cancel', 'adjust'),
        tokens: fc.integer({ min: 0, max: 10 }),
        perSecond: fc.integer({ min: 1, max: 20 }),
        passedMs: fc.integer({ min: -50, max: 100 })
      }),
      { maxLength: 40, size: 'max' }
    )
  ])('puts back no more than a reservation took, in whatever order and wherever the clock goes', (calls) => {
    const { bucket, setNow } = bench(1, 10)
    let now = 0
    const reserved: { readonly tokens: number; cancel(): number }[] = []
    for (const { call, tokens, perSecond, passedMs } of calls) {
      now += passedMs
      setNow(now)
      if (call === 'adjust') bucket.adjust({ perSecond })
      else if (call === 'reserve') {
        const answer = bucket.reserve(tokens)
        if (answer.outcome === 'reserved') reserved.push({ tokens, cancel: answer.cancel })
      } else if (reserved.length > 0) {
        const [one] = reserved.splice(tokens % reserved.length, 1)
        expect(one?.cancel()).toBeLessThanOrEqual(one?.tokens ?? 0)
      }
    }
  })

  it('runs work when a token is there, waits for one up to waitMaxMs, and throws beyond', async () => {
    const platform = testPlatform()
    const bucket = createTokenBucket({ perSecond: 10, burst: 1, waitMaxMs: 100, platform })
    expect(await bucket.execute(() => 'first')).toBe('first')
    const second = bucket.execute(() => platform.clock.monotonic())
    const third = await bucket.execute(() => 'third').catch((error: unknown) => error)
    expect(third).toMatchObject({ code: 'THROTTLED', detail: { retryAfterMs: 100 } })
    await platform.clock.advance(100)
    expect(await second).toBe(100)
  })

  it('puts the token of a caller back that gives up, and leaves neither timer nor listener', async () => {
    const platform = testPlatform()
    const bucket = createTokenBucket({ perSecond: 10, burst: 1, waitMaxMs: 1_000, platform })
    await bucket.execute(() => 1)
    const caller = new AbortController()
    const left = bucket.execute(() => 2, { signal: caller.signal })
    caller.abort(new Error('the user left'))
    await expect(left).rejects.toThrow('the user left')
    expect([bucket.tokens, platform.clock.pendingTimers]).toEqual([0, 0])
    expect(getEventListeners(caller.signal, 'abort')).toEqual([])
  })

  it.each([{ perSecond: 0 }, { perSecond: Number.NaN }, { burst: 0 }, { burst: 1.5 }, { waitMaxMs: -1 }])(
    'refuses %j',
    (options) => {
      expect(() => createTokenBucket({ perSecond: 1, burst: 1, ...options })).toThrow(
        expect.objectContaining({ code: 'INVALID_OPTIONS' })
      )
    }
  )

  it.each([-1, 1.5, Number.NaN])('refuses to take %s tokens, and takes nothing', (tokens) => {
    const { bucket } = bench(1, 5)
    expect(() => bucket.take(tokens)).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }))
    expect(() => bucket.reserve(tokens)).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }))
    expect(bucket.tokens).toBe(5)
  })

  it('changes nothing when it refuses an adjustment', () => {
    const { bucket } = bench(1, 5)
    expect(() => bucket.adjust({ burst: 3, perSecond: -1 })).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTIONS' })
    )
    expect(bucket.tokens).toBe(5)
  })
})
