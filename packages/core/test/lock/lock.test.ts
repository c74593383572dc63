import { getEventListeners } from 'node:events'
import { inspect } from 'node:util'
import { CoreError } from '@enablement/core'
import {
  type AcquiredLock,
  createLock,
  type LeaseClaim,
  type LockBusy,
  type LockEvent,
  type LockOptions,
  type LockStore,
  memoryLockStore
} from '@enablement/core/lock'
import { testPlatform } from '@enablement/core/testing'
import { describe, expect, it } from 'vitest'

const unavailable = () =>
  new CoreError('STORE_UNAVAILABLE', 'the store is down', { store: 'test', operation: 'answer' })
const unknown = () => new CoreError('COMMIT_UNKNOWN', 'the reply was lost', { store: 'test' })

/** A lock on a virtual clock, over a memory store on the same one unless `storeClock` gives it another. */
function setUp(options: Partial<LockOptions> & { readonly change?: (store: LockStore) => Partial<LockStore> } = {}) {
  const { change = () => ({}), ...lockOptions } = options
  const platform = testPlatform()
  const events: LockEvent[] = []
  const claims: LeaseClaim[] = []
  const inner = memoryLockStore({ platform })
  const changed: LockStore = { ...inner, ...change(inner) }
  const store: LockStore = {
    ...changed,
    acquire: (claim, acquireOptions) => {
      claims.push(claim)
      return changed.acquire(claim, acquireOptions)
    }
  }
  const lock = createLock({ store, platform, observe: (event) => void events.push(event), ...lockOptions })
  const takenMs = async (name = 'job'): Promise<number> => {
    const answer = await inner.acquire({ name, owner: 'onlooker', ttlMs: 50 })
    if (answer.outcome === 'busy') return answer.remainingMs
    await inner.release({ name, owner: 'onlooker' })
    return 0
  }
  return { lock, clock: platform.clock, store: inner, events, claims, takenMs }
}

function held(answer: AcquiredLock | LockBusy): AcquiredLock {
  if (answer.outcome === 'busy') throw new Error('the lock is busy')
  return answer
}

/** Work that lasts until it is told to end, and notes when its signal aborts. */
function longWork(clock: { monotonic(): number }) {
  const { promise, resolve } = Promise.withResolvers<string>()
  const noted: { abortedAt?: number; reason?: unknown } = {}
  const work = ({ signal }: { readonly signal: AbortSignal }) => {
    signal.addEventListener('abort', () =>
      Object.assign(noted, { abortedAt: clock.monotonic(), reason: signal.reason })
    )
    return promise
  }
  return { work, end: () => resolve('value'), noted }
}

describe('withLock', () => {
  it('runs the work with the lock and gives it back', async () => {
    const { lock, clock, takenMs, events } = setUp()
    const answer = await lock.withLock('job', async ({ name, fence, signal, loss, remainingMs }) => {
      expect(await takenMs()).toBe(30_000)
      expect({ name, aborted: signal.aborted, loss, remainingMs: remainingMs() }).toEqual({
        name: 'job',
        aborted: false,
        loss: undefined,
        remainingMs: 27_000
      })
      return fence
    })
    expect(answer).toEqual({ outcome: 'done', value: expect.any(Number), fence: expect.any(Number) })
    expect(answer.outcome === 'done' && answer.value === answer.fence).toBe(true)
    expect(await takenMs()).toBe(0)
    expect({ events, timers: clock.pendingTimers }).toEqual({ events: [], timers: 0 })
  })

  it('does not begin work while another has the lock, and says until when that is', async () => {
    const { lock, clock, store } = setUp()
    await store.acquire({ name: 'job', owner: 'other', ttlMs: 5_000 })
    const answer = await lock.withLock('job', () => expect.unreachable())
    expect(answer).toEqual({ outcome: 'busy', until: clock.now() + 5_000 })
  })

  it('extends the lease for as long as the work lasts', async () => {
    const { lock, clock, takenMs, events } = setUp({ ttlMs: 1_000 })
    const { work, end } = longWork(clock)
    const running = lock.withLock('job', work)
    for (let at = 0; at < 100; at++) {
      await clock.advance(100)
      expect(await takenMs()).toBeGreaterThanOrEqual(600)
    }
    end()
    expect(await running).toMatchObject({ outcome: 'done', value: 'value' })
    expect({ events, timers: clock.pendingTimers, left: await takenMs() }).toEqual({ events: [], timers: 0, left: 0 })
  })

  it('throws what the work throws, and gives the lock back', async () => {
    const { lock, clock, takenMs } = setUp()
    const failure = new Error('work failed')
    await expect(lock.withLock('job', () => Promise.reject(failure))).rejects.toBe(failure)
    const atOnce = () => {
      throw failure
    }
    await expect(lock.withLock('job', atOnce)).rejects.toBe(failure)
    expect({ left: await takenMs(), timers: clock.pendingTimers }).toEqual({ left: 0, timers: 0 })
  })

  it('aborts the signal of the work before the lease ends when the store cannot be reached', async () => {
    const { lock, clock, takenMs, events } = setUp({
      ttlMs: 1_000,
      change: () => ({ extend: async () => Promise.reject(unavailable()) })
    })
    const { work, end, noted } = longWork(clock)
    const running = lock.withLock('job', work)
    await clock.advance(899)
    expect(noted).toEqual({})
    await clock.advance(1)
    expect(noted.abortedAt).toBe(900)
    expect(await takenMs()).toBe(100)
    end()
    expect(await running).toEqual({
      outcome: 'lost',
      reason: 'expired',
      name: 'job',
      fence: expect.any(Number),
      heldMs: 900,
      work: { status: 'fulfilled', value: 'value' }
    })
    expect(events.at(0)).toMatchObject({
      type: 'lock.extension-failed',
      name: 'job',
      error: { code: 'STORE_UNAVAILABLE' }
    })
    expect(events.at(-1)).toMatchObject({ type: 'lock.lost', reason: 'expired', heldMs: 900 })
    expect(clock.pendingTimers).toBe(0)
  })

  it('aborts the signal of the work before the lease ends when the store hangs, and heeds no late answer', async () => {
    const { promise, resolve } = Promise.withResolvers<'extended'>()
    const { lock, clock } = setUp({ ttlMs: 1_000, change: () => ({ extend: () => promise }) })
    const { work, end, noted } = longWork(clock)
    const running = lock.withLock('job', work)
    await clock.advance(900)
    expect(noted.abortedAt).toBe(900)
    resolve('extended')
    await clock.advance(0)
    end()
    expect(await running).toMatchObject({ outcome: 'lost', reason: 'expired' })
  })

  it('holds on when the store answers again in time', async () => {
    let failures = 3
    const { lock, clock, events } = setUp({
      ttlMs: 1_000,
      change: (store) => ({
        extend: async (claim) => {
          failures -= 1
          if (failures >= 0) throw unavailable()
          return store.extend(claim)
        }
      })
    })
    const { work, end } = longWork(clock)
    const running = lock.withLock('job', work)
    await clock.advance(5_000)
    end()
    expect(await running).toMatchObject({ outcome: 'done' })
    expect(events.map(({ type }) => type)).toEqual(Array.from({ length: 3 }, () => 'lock.extension-failed'))
  })

  it('aborts the signal at once when the store says that the lease is gone, and leaves the new owner alone', async () => {
    const { lock, clock, store, takenMs } = setUp({ ttlMs: 1_000, change: () => ({ extend: async () => 'lost' }) })
    const { work, end, noted } = longWork(clock)
    const running = lock.withLock('job', work)
    await clock.advance(349)
    expect(noted).toEqual({})
    await clock.advance(1)
    expect(noted.abortedAt).toBe(350)
    await clock.advance(650)
    await store.acquire({ name: 'job', owner: 'other', ttlMs: 5_000 })
    end()
    expect(await running).toMatchObject({ outcome: 'lost', reason: 'disowned', heldMs: 350 })
    expect(await takenMs()).toBe(5_000)
  })

  it('says that the lock was lost when it finds out on releasing it', async () => {
    const { lock } = setUp({ change: () => ({ release: async () => 'lost' }) })
    expect(await lock.withLock('job', () => 'value')).toMatchObject({
      outcome: 'lost',
      reason: 'disowned',
      work: { status: 'fulfilled', value: 'value' }
    })
  })

  it('says how work ended that threw because the lock was lost', async () => {
    const { lock, clock } = setUp({ ttlMs: 1_000, change: () => ({ extend: async () => 'lost' }) })
    const running = lock.withLock(
      'job',
      ({ signal }) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))
    )
    await clock.advance(1_000)
    const answer = await running
    expect(answer).toMatchObject({ outcome: 'lost', work: { status: 'rejected', reason: { code: 'LOCK_LOST' } } })
  })

  it('counts from before the store was asked, however long the answer took', async () => {
    const { lock, clock } = setUp({
      ttlMs: 1_000,
      change: (store) => ({
        acquire: async (claim) => {
          const answer = await store.acquire(claim)
          await new Promise<void>((resolve) => clock.startTimer(400, resolve))
          return answer
        },
        extend: async () => Promise.reject(unavailable())
      })
    })
    const { work, end, noted } = longWork(clock)
    const running = lock.withLock('job', work)
    await clock.advance(2_000)
    expect(noted.abortedAt).toBe(900)
    end()
    await running
  })

  it('is done with a lock whose release fails: it says so, and the lease ends by itself', async () => {
    const { lock, events, clock } = setUp({ change: () => ({ release: async () => Promise.reject(unavailable()) }) })
    expect(await lock.withLock('job', () => 1)).toMatchObject({ outcome: 'done', value: 1 })
    expect(events).toMatchObject([{ type: 'lock.release-failed', name: 'job', error: { code: 'STORE_UNAVAILABLE' } }])
    expect(clock.pendingTimers).toBe(0)
  })

  it('lets go of a lock that is held for too long', async () => {
    const { lock, clock, takenMs } = setUp({ ttlMs: 1_000 })
    const { work, end, noted } = longWork(clock)
    const running = lock.withLock('job', work, { holdMaxMs: 10_000 })
    await clock.advance(20_000)
    expect(noted.abortedAt).toBeGreaterThanOrEqual(10_000)
    expect(noted.abortedAt).toBeLessThanOrEqual(10_050)
    expect(await takenMs()).toBe(0)
    end()
    expect(await running).toMatchObject({ outcome: 'lost', reason: 'held-too-long' })
  })

  it("aborts the work's signal when the caller's aborts, and waits for the work", async () => {
    const { lock, clock, takenMs } = setUp({ ttlMs: 1_000 })
    const caller = new AbortController()
    const { work, end, noted } = longWork(clock)
    const running = lock.withLock('job', work, { signal: caller.signal })
    await clock.advance(5_000)
    const reason = new Error('no longer wanted')
    caller.abort(reason)
    expect(noted).toEqual({ abortedAt: 5_000, reason })
    await clock.advance(5_000)
    expect(await takenMs()).toBeGreaterThan(0)
    end()
    expect(await running).toMatchObject({ outcome: 'done', value: 'value' })
    expect(getEventListeners(caller.signal, 'abort')).toEqual([])
    expect(await takenMs()).toBe(0)
  })
})

describe('a machine that sleeps', () => {
  const sleeping = () => {
    const platform = testPlatform()
    const awake = testPlatform()
    const store = memoryLockStore({ platform: awake })
    const lock = createLock({ store, platform, ttlMs: 10_000 })
    const sleep = async (durationMs: number) => {
      await awake.clock.advance(durationMs)
      platform.clock.jumpWallTo(platform.clock.now() + durationMs)
    }
    /** Time goes on for both, in steps: the store may be ahead by one. */
    const pass = async (durationMs: number) => {
      for (let passedMs = 0; passedMs < durationMs; passedMs += 250) {
        const stepMs = Math.min(250, durationMs - passedMs)
        await awake.clock.advance(stepMs)
        await platform.clock.advance(stepMs)
      }
    }
    return { lock, store, sleep, pass, clock: platform.clock }
  }

  it('learns within a second of waking that it has lost its lock', async () => {
    const { lock, sleep, pass, clock } = sleeping()
    const { work, end, noted } = longWork(clock)
    const running = lock.withLock('job', work)
    await pass(5_000)
    await sleep(60_000)
    expect(noted).toEqual({})
    await pass(1_000)
    expect(noted.abortedAt).toBeLessThanOrEqual(6_000)
    end()
    expect(await running).toMatchObject({ outcome: 'lost', reason: 'suspended' })
  })

  it('finds out at once where the work looks before its effect', async () => {
    const { lock, sleep } = sleeping()
    const answer = await lock.withLock('job', async ({ remainingMs, signal }) => {
      const before = remainingMs()
      await sleep(9_000)
      return [before, remainingMs(), signal.aborted]
    })
    expect(answer).toMatchObject({ reason: 'suspended', work: { value: [9_000, 0, true] } })
  })

  it('keeps a lock that outlasts its sleep', async () => {
    const { lock, sleep, pass, clock } = sleeping()
    const { work, end } = longWork(clock)
    const running = lock.withLock('job', work)
    await pass(1_000)
    await sleep(5_000)
    await pass(60_000)
    end()
    expect(await running).toMatchObject({ outcome: 'done' })
  })

  it('does not notice a wall clock that is set back', async () => {
    const { lock, pass, clock } = sleeping()
    const { work, end } = longWork(clock)
    const running = lock.withLock('job', work)
    await pass(1_000)
    clock.jumpWallTo(0)
    await pass(60_000)
    end()
    expect(await running).toMatchObject({ outcome: 'done' })
  })

  it('does not take a wall clock that was set back for more time than the monotonic clock gives', async () => {
    const { lock, pass, clock } = sleeping()
    const answer = held(await lock.acquire('job', { ttlMs: 10_000 }))
    clock.jumpWallTo(0)
    await pass(8_999)
    expect(answer.remainingMs()).toBe(1)
    await pass(1)
    expect(answer.loss).toMatchObject({ reason: 'expired', heldMs: 9_000 })
  })
})

describe('acquire', () => {
  it('gives a lock that ends unless it is extended', async () => {
    const { lock, clock, takenMs } = setUp()
    const answer = held(await lock.acquire('job', { ttlMs: 1_000 }))
    await clock.advance(800)
    expect(await answer.extend()).toEqual({ outcome: 'extended', remainingMs: 900 })
    await clock.advance(899)
    expect([answer.signal.aborted, answer.remainingMs()]).toEqual([false, 1])
    await clock.advance(1)
    expect([answer.signal.aborted, answer.remainingMs(), await takenMs()]).toEqual([true, 0, 100])
    expect(await answer.extend()).toMatchObject({ outcome: 'lost', reason: 'expired' })
    expect(await answer.release()).toMatchObject({ outcome: 'lost', reason: 'expired', heldMs: 1_700 })
    expect(clock.pendingTimers).toBe(0)
  })

  it('extends for longer, and never to an earlier end', async () => {
    const { lock, clock } = setUp()
    const answer = held(await lock.acquire('job', { ttlMs: 1_000 }))
    expect(await answer.extend({ ttlMs: 10_000 })).toEqual({ outcome: 'extended', remainingMs: 9_000 })
    await clock.advance(1_000)
    expect(await answer.extend({ ttlMs: 1_000 })).toEqual({ outcome: 'extended', remainingMs: 8_000 })
    await answer.release()
  })

  it('extends on its own for as long as it is told to', async () => {
    const { lock, clock, takenMs } = setUp()
    const answer = held(await lock.acquire('job', { ttlMs: 1_000, extendForMs: 10_000 }))
    await clock.advance(9_900)
    expect(answer.signal.aborted).toBe(false)
    await clock.advance(1_500)
    expect(answer.loss).toMatchObject({ reason: 'held-too-long' })
    expect(await takenMs()).toBe(0)
  })

  it('releases once, and answers the same again', async () => {
    const { lock, clock, store } = setUp()
    const answer = held(await lock.acquire('job', { ttlMs: 1_000 }))
    expect(await answer.release()).toEqual({ outcome: 'released' })
    expect([answer.remainingMs(), answer.signal.aborted, answer.loss]).toEqual([0, false, undefined])
    await store.acquire({ name: 'job', owner: 'other', ttlMs: 1_000 })
    expect(await answer.release()).toEqual({ outcome: 'released' })
    await expect(answer.extend()).rejects.toMatchObject({ code: 'CLOSED' })
    expect(clock.pendingTimers).toBe(0)
  })

  it('can be asked to release again when the store failed to', async () => {
    let failing = true
    const { lock, takenMs } = setUp({
      change: (store) => ({
        release: async (owned) => {
          if (failing) throw unavailable()
          return store.release(owned)
        }
      })
    })
    const answer = held(await lock.acquire('job', { ttlMs: 1_000 }))
    await expect(answer.release()).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    expect(answer.remainingMs()).toBe(0)
    failing = false
    expect(await answer.release()).toEqual({ outcome: 'released' })
    expect(await takenMs()).toBe(0)
  })

  it('is released when it is disposed of', async () => {
    const { lock, takenMs } = setUp()
    {
      await using answer = held(await lock.acquire('job', { ttlMs: 1_000 }))
      expect(answer.remainingMs()).toBe(900)
    }
    expect(await takenMs()).toBe(0)
  })

  it('keeps the lock as it was when an extension fails', async () => {
    const { lock, clock } = setUp({ change: () => ({ extend: async () => Promise.reject(unavailable()) }) })
    const answer = held(await lock.acquire('job', { ttlMs: 1_000 }))
    await clock.advance(500)
    await expect(answer.extend()).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    expect([answer.remainingMs(), answer.loss]).toEqual([400, undefined])
    await answer.release()
  })

  it('asks once more under the same owner when the reply was lost', async () => {
    let lost = 1
    const { lock, claims, takenMs } = setUp({
      change: (store) => ({
        acquire: async (claim) => {
          const answer = await store.acquire(claim)
          lost -= 1
          if (lost >= 0) throw unknown()
          return answer
        }
      })
    })
    const answer = held(await lock.acquire('job', { ttlMs: 1_000 }))
    expect(claims).toHaveLength(2)
    expect(claims[0]).toEqual(claims[1])
    await answer.release()
    expect(await takenMs()).toBe(0)
  })

  it('gives back what it may have got when the second reply is lost as well', async () => {
    const { lock, clock, takenMs } = setUp({
      change: (store) => ({
        acquire: async (claim) => {
          await store.acquire(claim)
          throw unknown()
        }
      })
    })
    await expect(lock.acquire('job', { ttlMs: 1_000 })).rejects.toMatchObject({ code: 'COMMIT_UNKNOWN' })
    await clock.advance(0)
    expect(await takenMs()).toBe(0)
  })

  it('gives back a lease that the answer took too long to bring', async () => {
    const { lock, clock, takenMs } = setUp({
      change: (store) => ({
        acquire: async (claim) => {
          const answer = await store.acquire(claim)
          await new Promise<void>((resolve) => clock.startTimer(950, resolve))
          return answer
        }
      })
    })
    const attempt = lock.acquire('job', { ttlMs: 1_000 })
    attempt.catch(() => {})
    await clock.advance(950)
    await expect(attempt).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    await expect(attempt).rejects.toThrow(/lasts 1000 ms, and the store took 950 ms/)
    expect(await takenMs()).toBe(0)
  })

  it('gives back a lease that nobody wants any more when it comes', async () => {
    const { lock, clock, takenMs } = setUp({
      change: (store) => ({
        acquire: async (claim) => {
          const answer = await store.acquire(claim)
          await new Promise<void>((resolve) => clock.startTimer(100, resolve))
          return answer
        }
      })
    })
    const caller = new AbortController()
    const reason = new Error('no longer wanted')
    const attempt = lock.acquire('job', { ttlMs: 1_000, signal: caller.signal })
    attempt.catch(() => {})
    caller.abort(reason)
    await clock.advance(100)
    await expect(attempt).rejects.toBe(reason)
    expect(await takenMs()).toBe(0)
  })

  it('tells its holder why in an error without secrets', async () => {
    const { lock, clock } = setUp()
    const answer = held(await lock.acquire('job', { ttlMs: 1_000 }))
    await clock.advance(900)
    const { reason } = answer.signal
    expect(reason).toBeInstanceOf(CoreError)
    expect(JSON.parse(JSON.stringify(reason))).toEqual({
      name: 'CoreError',
      code: 'LOCK_LOST',
      message: 'the lock job was lost after 900 ms: its lease ran out',
      detail: { lock: 'job', fence: answer.fence, heldMs: 900 }
    })
    expect(inspect(reason)).not.toMatch(/[0-9a-f]{8}-[0-9a-f]{4}/)
  })
})

describe('waiting', () => {
  it('gets the lock when its holder gives it back', async () => {
    const { lock, clock } = setUp()
    const first = held(await lock.acquire('job', { ttlMs: 60_000 }))
    const second = lock.acquire('job', { ttlMs: 60_000, waitMs: 10_000 })
    await clock.advance(1_000)
    await first.release()
    const answer = held(await second)
    expect(answer.fence).toBeGreaterThan(first.fence)
    await answer.release()
    expect(clock.pendingTimers).toBe(0)
  })

  it('gets the lock of a dead holder when its lease ends', async () => {
    const { lock, clock, store } = setUp()
    await store.acquire({ name: 'job', owner: 'dead', ttlMs: 1_000 })
    const waiting = lock.acquire('job', { ttlMs: 60_000, waitMs: 10_000 })
    let answer: AcquiredLock | undefined
    void waiting.then((granted) => {
      answer = held(granted)
    })
    await clock.advance(999)
    expect(answer).toBeUndefined()
    // The last pause was as long as the lease had left, in whole milliseconds.
    await clock.advance(2)
    expect(answer?.remainingMs()).toBeGreaterThan(53_997)
  })

  it('serves those of one process in the order they came', async () => {
    const { lock, clock } = setUp()
    const first = held(await lock.acquire('job', { ttlMs: 60_000 }))
    const order: number[] = []
    const waiting = [1, 2, 3, 4].map((turn) =>
      lock.withLock('job', () => void order.push(turn), { waitMs: 10_000, ttlMs: 60_000 })
    )
    await clock.advance(1_000)
    await first.release()
    await clock.advance(1_000)
    await Promise.all(waiting)
    expect(order).toEqual([1, 2, 3, 4])
    expect(clock.pendingTimers).toBe(0)
  })

  it('asks for the head of the queue alone', async () => {
    const { lock, clock, claims, store } = setUp()
    await store.acquire({ name: 'job', owner: 'other', ttlMs: 60_000 })
    const waiting = Array.from({ length: 50 }, () => lock.acquire('job', { ttlMs: 1_000, waitMs: 1_000 }))
    await clock.advance(999)
    expect(claims.length).toBeLessThanOrEqual(21)
    await clock.advance(1)
    expect((await Promise.all(waiting)).map(({ outcome }) => outcome)).toEqual(waiting.map(() => 'busy'))
  })

  it('gives up when its time is over, and says until when the lock is taken', async () => {
    const { lock, clock, store } = setUp()
    await store.acquire({ name: 'job', owner: 'other', ttlMs: 60_000 })
    const until = clock.now() + 60_000
    const waiting = [1_000, 500].map((waitMs) => lock.acquire('job', { ttlMs: 1_000, waitMs }))
    await clock.advance(1_000)
    expect(await Promise.all(waiting)).toEqual([
      { outcome: 'busy', until },
      { outcome: 'busy', until }
    ])
    expect(clock.pendingTimers).toBe(0)
  })

  it.each([1, 2])('ends when its signal aborts, with %d in the queue', async (length) => {
    const { lock, clock, store, takenMs } = setUp()
    await store.acquire({ name: 'job', owner: 'other', ttlMs: 60_000 })
    const caller = new AbortController()
    const waiting = Array.from({ length }, () =>
      lock.acquire('job', { ttlMs: 1_000, waitMs: 10_000, signal: caller.signal })
    )
    for (const one of waiting) one.catch(() => {})
    await clock.advance(1_000)
    const reason = new Error('no longer wanted')
    caller.abort(reason)
    for (const one of waiting) await expect(one).rejects.toBe(reason)
    expect(getEventListeners(caller.signal, 'abort')).toEqual([])
    expect({ timers: clock.pendingTimers, taken: await takenMs() }).toEqual({ timers: 0, taken: 59_000 })
  })

  it('leaves nothing on a signal that outlives it', async () => {
    const { lock, clock } = setUp()
    const { signal } = new AbortController()
    await lock.withLock('job', () => {}, { signal })
    const first = held(await lock.acquire('job', { ttlMs: 1_000, signal }))
    const waiting = [500, 5_000, 5_000].map((waitMs) => lock.withLock('job', () => {}, { waitMs, signal }))
    await clock.advance(1_000)
    await first.release()
    await clock.advance(1_000)
    expect((await Promise.all(waiting)).map(({ outcome }) => outcome)).toEqual(['busy', 'done', 'done'])
    expect(getEventListeners(signal, 'abort')).toEqual([])
    expect(clock.pendingTimers).toBe(0)
  })

  it('does not begin under a signal that has aborted', async () => {
    const { lock, claims } = setUp()
    const reason = new Error('no longer wanted')
    const signal = AbortSignal.abort(reason)
    await expect(lock.acquire('job', { ttlMs: 1_000, waitMs: 1_000, signal })).rejects.toBe(reason)
    await expect(lock.withLock('job', () => {}, { signal })).rejects.toBe(reason)
    expect(claims).toEqual([])
  })

  it('refuses the one too many', async () => {
    const { lock, clock, store } = setUp()
    await store.acquire({ name: 'job', owner: 'other', ttlMs: 60_000 })
    const waiting = Array.from({ length: 1_025 }, () => lock.acquire('job', { ttlMs: 1_000, waitMs: 100 }))
    await expect(lock.acquire('job', { ttlMs: 1_000, waitMs: 100 })).rejects.toMatchObject({ code: 'OVERLOADED' })
    await clock.advance(100)
    await Promise.all(waiting)
    expect(clock.pendingTimers).toBe(0)
  })
})

describe('a lock', () => {
  it.each([
    [{ ttlMs: 0 }, 'ttlMs'],
    [{ ttlMs: Number.NaN }, 'ttlMs'],
    [{ marginRatio: 0 }, 'marginRatio'],
    [{ marginRatio: 0.51 }, 'marginRatio'],
    [{ pollMs: 4 }, 'pollMs'],
    [{ pollMs: Number.POSITIVE_INFINITY }, 'pollMs'],
    [{ store: {} }, 'store'],
    [{ observe: 'log' }, 'observe'],
    [{ ttl: 1_000 }, 'ttl']
  ])('is not made with %j', (options, path) => {
    const make = () => createLock({ store: memoryLockStore(), ...options } as LockOptions)
    expect(make).toThrow(
      expect.objectContaining({
        code: 'INVALID_OPTIONS',
        detail: { subject: 'createLock', issues: [expect.objectContaining({ path })] }
      })
    )
  })

  it.each([
    ['', { ttlMs: 1_000 }, 'name'],
    ['x'.repeat(257), { ttlMs: 1_000 }, 'name'],
    ['\ud800', { ttlMs: 1_000 }, 'name'],
    ['job', {}, 'ttlMs'],
    ['job', { ttlMs: 49 }, 'ttlMs'],
    ['job', { ttlMs: 86_400_001 }, 'ttlMs'],
    ['job', { ttlMs: 1_000, waitMs: -1 }, 'waitMs'],
    ['job', { ttlMs: 1_000, waitMs: Number.NaN }, 'waitMs'],
    ['job', { ttlMs: 1_000, waitMs: Number.POSITIVE_INFINITY }, 'waitMs'],
    ['job', { ttlMs: 1_000, extendForMs: 0 }, 'extendForMs'],
    ['job', { ttlMs: 1_000, signal: 'abort' }, 'signal'],
    ['job', { ttlMs: 1_000, wait: 5 }, 'wait']
  ])('is not acquired as %j with %j', async (name, options, path) => {
    const { lock, claims } = setUp()
    await expect(lock.acquire(name, options as never)).rejects.toMatchObject({
      code: 'INVALID_OPTIONS',
      detail: { issues: [{ path }] }
    })
    await expect(lock.withLock(name, () => {}, { ttlMs: 1, ...options } as never)).rejects.toMatchObject({
      code: 'INVALID_OPTIONS'
    })
    expect(claims).toEqual([])
  })

  it('works on when its observer throws', async () => {
    const { lock, clock } = setUp({
      ttlMs: 1_000,
      change: () => ({ extend: async () => Promise.reject(unavailable()) }),
      observe: () => {
        throw new Error('observer failed')
      }
    })
    const { work, end } = longWork(clock)
    const running = lock.withLock('job', work)
    await clock.advance(1_000)
    end()
    expect(await running).toMatchObject({ outcome: 'lost', reason: 'expired' })
  })

  it('has holders of other names at the same time', async () => {
    const { lock } = setUp()
    const answer = await lock.withLock('one', () => lock.withLock('two', () => 'both'))
    expect(answer).toMatchObject({ outcome: 'done', value: { outcome: 'done', value: 'both' } })
  })
})
