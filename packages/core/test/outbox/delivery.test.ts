import { CoreError } from '@enablement/core'
import type { OutboxMessage } from '@enablement/core/outbox'
import { startWorker } from '@enablement/core/schedule'
import { changes, type SqlDatabase } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { crashPoints, withStoreClock } from '@enablement/core/testing'
import { describe, expect, it } from 'vitest'
import { bench, deliveryOf, hang, open, runDelivery } from './receiver.ts'

const many = (count: number, destination: string) =>
  Array.from({ length: count }, (_, at) => ({ payload: `${destination}${at}`, destination }))

const none = { jitter: 'none', baseMs: 1_000, maxMs: 1_000 } as const

describe('a receiver that hangs', () => {
  it('is given up after the time limit, by its signal and as an attempt that failed', async () => {
    await using one = await bench({ attemptMs: 5_000, backoff: none })
    const reasons: unknown[] = []
    one.receiver.answer = (message, signal) => {
      signal.addEventListener('abort', () => reasons.push(signal.reason))
      return hang(message, signal)
    }
    await one.put({ payload: 'a' })
    expect(await one.deliverDue()).toMatchObject({ handled: 1 })
    expect(one.platform.clock.monotonic()).toBeLessThan(5_200)
    expect(reasons).toEqual([expect.objectContaining({ code: 'TIMED_OUT' })])
    expect(one.events).toEqual([expect.objectContaining({ type: 'outbox.attempt-failed', reason: 'TIMED_OUT' })])
  })

  it('is not waited for when it does not heed its signal', async () => {
    await using one = await bench({ attemptMs: 5_000, backoff: none })
    one.receiver.answer = () => new Promise(() => {})
    await one.put({ payload: 'a' })
    expect(await one.deliverDue()).toMatchObject({ handled: 1 })
  })

  it('leaves the others their slots, those that were put meanwhile too', async () => {
    await using one = await bench({ attemptMs: 60_000, concurrency: 4, leaseMs: 30_000 })
    one.receiver.answer = (message, signal) =>
      message.destination === 'hangs' ? hang(message, signal) : { outcome: 'delivered' }
    await one.put(...many(50, 'hangs'), ...many(20, 'well'))
    const running = one.outbox.duties[0]?.run({ signal: open })
    await one.platform.clock.advance(2_000)
    const arrived = (destination: string) =>
      one.receiver.arrived.filter((message) => message.destination === destination).length
    expect([arrived('hangs'), arrived('well')]).toEqual([2, 20])
    await one.put(...many(5, 'new'))
    await one.platform.clock.advance(1_100)
    expect(arrived('new')).toBe(5)
    await one.put(...many(5, 'woken'))
    one.outbox.duties[0]?.wake?.()
    await one.platform.clock.advance(0)
    one.receiver.answer = () => ({ outcome: 'delivered' })
    await one.platform.clock.advance(70_000)
    await running
    expect([arrived('woken'), arrived('hangs')]).toEqual([5, 50])
  })

  it('opens its breaker: its messages wait without attempts, the others go on, and one probe finds out', async () => {
    await using one = await bench({
      breaker: { window: { kind: 'consecutive', failures: 3 }, breakMs: 10_000 },
      backoff: none
    })
    one.receiver.answer = ({ destination }) =>
      destination === 'down' ? { outcome: 'failed' } : { outcome: 'delivered' }
    await one.put(...many(3, 'down'))
    await one.deliverDue()
    await one.put(...many(10, 'down'), ...many(2, 'well'))
    expect((await one.outbox.health()).brokenDestinations).toEqual(['down'])
    const run = await one.deliverDue()
    expect(run.handled).toBe(2)
    expect(run.nextDueInMs).toBeLessThanOrEqual(10_000)
    expect(one.receiver.arrived).toHaveLength(5)
    expect((await one.outbox.list({ state: 'pending' })).filter(({ attempts }) => attempts > 0)).toHaveLength(3)
    one.receiver.answer = () => ({ outcome: 'delivered' })
    for (let round = 0; round < 30; round++) {
      await one.platform.clock.advance(1_000)
      await one.deliverDue()
    }
    expect(await one.outbox.health()).toMatchObject({ pending: 0, dead: 0, brokenDestinations: [] })
    expect(one.events.map(({ type }) => type)).toContain('breaker.half-opened')
  })
})

describe('a retry (pitfall 16)', () => {
  it('waits for as long as the receiver asks, and then the usual time', async () => {
    await using one = await bench({ backoff: none })
    one.receiver.answer = ({ attempt }) =>
      attempt === 1 ? { outcome: 'failed', reason: 'HTTP_429', retryAfterMs: 30_000 } : { outcome: 'delivered' }
    await one.put({ payload: 'a' })
    expect(await one.deliverDue()).toEqual({ handled: 1, nextDueInMs: 31_000 })
  })

  it('heeds a Retry-After in what was thrown', async () => {
    await using one = await bench({ backoff: none })
    one.receiver.answer = () => {
      throw Object.assign(new Error('busy'), { response: { status: 503, headers: { 'retry-after': '7' } } })
    }
    await one.put({ payload: 'a' })
    expect(await one.deliverDue()).toEqual({ handled: 1, nextDueInMs: 8_000 })
    expect(one.events[0]).toMatchObject({ reason: 'HTTP_503' })
  })

  it.each([-1, Number.NaN, Number.POSITIVE_INFINITY, '5' as never])(
    'takes %d ms for nothing that a receiver can ask',
    async (retryAfterMs) => {
      await using one = await bench({ backoff: none })
      one.receiver.answer = () => ({ outcome: 'failed', retryAfterMs })
      await one.put({ payload: 'a' })
      expect(await one.deliverDue()).toEqual({ handled: 1, nextDueInMs: 1_000 })
    }
  )

  it('is not made when the receiver asks to wait longer than the message lives', async () => {
    await using one = await bench({ backoff: none, ageMaxMs: 60_000 })
    one.receiver.answer = () => ({ outcome: 'failed', reason: 'HTTP_429', retryAfterMs: 3_600_000 })
    await one.put({ payload: 'a' })
    await one.deliverDue()
    expect(one.events).toEqual([
      expect.objectContaining({ type: 'outbox.dead-lettered', cause: 'age', reason: 'HTTP_429' })
    ])
  })

  it.each([
    [
      'an error',
      () =>
        Promise.reject({
          get code() {
            throw new Error('no code')
          }
        })
    ],
    [
      'headers',
      () =>
        Promise.reject({
          headers: {
            get() {
              throw new Error('no headers')
            }
          }
        })
    ],
    [
      'an answer',
      () =>
        ({
          get outcome() {
            throw new Error('no outcome')
          }
        }) as never
    ]
  ])('is made after %s that cannot be read', async (_name, answer) => {
    await using one = await bench({ backoff: none })
    one.receiver.answer = answer
    await one.put({ payload: 'a' })
    expect(await one.deliverDue()).toEqual({ handled: 1, nextDueInMs: 1_000 })
    expect(one.events).toMatchObject([{ type: 'outbox.attempt-failed', reason: 'UNSPECIFIED' }])
  })

  it('is spread by jitter, so that those who failed together do not come back together', async () => {
    await using one = await bench({ backoff: { jitter: 'equal', baseMs: 10_000, maxMs: 10_000 } })
    one.receiver.answer = () => ({ outcome: 'failed' })
    await one.put(...many(30, 'x'))
    await one.deliverDue()
    const waits = one.events.flatMap((event) => (event.type === 'outbox.attempt-failed' ? [event.retryInMs] : []))
    expect(waits.every((waitMs) => waitMs >= 5_000 && waitMs <= 10_000)).toBe(true)
    expect(new Set(waits).size).toBeGreaterThan(20)
  })

  it.each([undefined, null, 'delivered', { outcome: 'ok' }, {}])(
    'is made after an answer that is none: %j',
    async (answer) => {
      await using one = await bench({ backoff: none })
      one.receiver.answer = () => answer as never
      await one.put({ payload: 'a' })
      await one.deliverDue()
      expect(one.events).toEqual([expect.objectContaining({ type: 'outbox.attempt-failed', reason: 'UNSPECIFIED' })])
    }
  )
})

describe('the lease of a delivery', () => {
  it('is extended while it runs, so that nobody else takes the message', async () => {
    await using one = await bench({ attemptMs: 20_000, leaseMs: 1_000 })
    let finish: (() => void) | undefined
    one.receiver.answer = () => new Promise((resolve) => (finish = () => resolve({ outcome: 'delivered' })))
    await one.put({ payload: 'a' })
    const running = one.outbox.duties[0]?.run({ signal: open })
    for (let passed = 0; passed < 10; passed++) {
      await one.platform.clock.advance(1_000)
      expect(await one.deliverDue(one.another())).toMatchObject({ handled: 0 })
    }
    finish?.()
    await one.platform.clock.advance(0)
    expect(await running).toMatchObject({ handled: 1 })
    expect(one.receiver.arrived).toHaveLength(1)
  })

  it('ends for its holder before it ends for the store, when the store cannot be reached', async () => {
    await using one = await bench()
    let down = false
    const db: SqlDatabase = {
      ...one.db,
      run: (work, options) =>
        down
          ? Promise.reject(new CoreError('STORE_UNAVAILABLE', 'down', { store: 'test', operation: 'run' }))
          : one.db.run(work, options)
    }
    const outbox = one.another({ db, leaseMs: 10_000, attemptMs: 60_000 })
    let lostAt = 0
    one.receiver.answer = (message, signal) => {
      signal.addEventListener('abort', () => (lostAt = one.platform.clock.monotonic()))
      return hang(message, signal)
    }
    await one.put({ payload: 'a' })
    const running = outbox.duties[0]?.run({ signal: open })
    await one.platform.clock.advance(0)
    down = true
    running?.catch(() => {})
    await one.platform.clock.advance(12_000)
    expect(lostAt).toBeGreaterThan(8_000)
    expect(lostAt).toBeLessThan(10_000)
    await expect(running).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    const types = new Set(one.events.map(({ type }) => type))
    expect(types).toEqual(new Set(['outbox.store-failed', 'outbox.lease-lost']))
    one.receiver.answer = () => ({ outcome: 'delivered' })
    expect(await one.deliverDue()).toMatchObject({ handled: 1 })
  })

  it('is lost to the machine that slept through it', async () => {
    await using one = await bench({ leaseMs: 10_000, attemptMs: 60_000 })
    one.receiver.answer = (message, signal) =>
      one.receiver.arrived.length === 1 ? hang(message, signal) : { outcome: 'delivered' }
    await one.put({ payload: 'a' })
    const running = one.outbox.duties[0]?.run({ signal: open })
    await one.platform.clock.advance(0)
    one.platform.clock.jumpWallTo(one.platform.clock.now() + 3_600_000)
    await one.platform.clock.advance(1_000)
    expect(one.events.map(({ type }) => type)).toEqual(['outbox.lease-lost', 'outbox.delivered'])
    expect(await running).toMatchObject({ handled: 1 })
  })

  it('is fenced: what a worker says that has lost the message changes nothing', async () => {
    await using one = await bench({ leaseMs: 10_000, attemptMs: 60_000, backoff: none })
    let storeAheadMs = 0
    await using disk = sqliteDatabase({ path: ':memory:' })
    const { clock } = one.platform
    await using two = await bench({ on: disk })
    const db = withStoreClock(disk, { ...clock, now: () => clock.now() + storeAheadMs })
    const ends: ((outcome: 'delivered' | 'failed') => void)[] = []
    const deliver = (_message: OutboxMessage) =>
      new Promise<{ outcome: 'delivered' | 'failed' }>((resolve) => ends.push((outcome) => resolve({ outcome })))
    const first = one.another({ db, deliver })
    const second = one.another({ db, deliver })
    await db.run(() => first.put({ payload: 'a', key: 'k' }))
    const running = [deliveryOf(first).run({ signal: open })]
    await clock.advance(0)
    storeAheadMs = 60_000
    running.push(deliveryOf(second).run({ signal: open }))
    await clock.advance(0)
    expect(ends).toHaveLength(2)
    ends[0]?.('failed')
    await clock.advance(1_500)
    expect(one.events).toEqual([expect.objectContaining({ type: 'outbox.overtaken' })])
    expect(await first.list({ state: 'pending' })).toMatchObject([{ attempts: 2 }])
    ends[1]?.('delivered')
    await clock.advance(0)
    await Promise.all(running)
    expect(one.events.at(-1)).toMatchObject({ type: 'outbox.delivered', attempt: 2 })
    expect(ends).toHaveLength(2)
    void two
  })
})

describe('a delivery whose message its own worker claims again, since the clock of the store was set forward', () => {
  it('is told to stop, and the new one keeps its lease and is waited for', async () => {
    await using one = await bench()
    await using disk = sqliteDatabase({ path: ':memory:' })
    await using two = await bench({ on: disk })
    const { clock } = one.platform
    let storeAheadMs = 0
    const db = withStoreClock(disk, { ...clock, now: () => clock.now() + storeAheadMs })
    const reasons: unknown[] = []
    let finish: (() => void) | undefined
    const outbox = one.another({
      db,
      leaseMs: 10_000,
      attemptMs: 60_000,
      deliver: (_message, { signal }) => {
        signal.addEventListener('abort', () => reasons.push(signal.reason))
        return new Promise((resolve) => (finish = () => resolve({ outcome: 'delivered' })))
      }
    })
    await db.run(() => outbox.put({ payload: 'a', key: 'k' }))
    const running = deliveryOf(outbox).run({ signal: open })
    await clock.advance(0)
    storeAheadMs = 60_000
    for (let passed = 0; passed < 20; passed++) await clock.advance(1_000)
    expect(reasons).toEqual([expect.objectContaining({ code: 'LOCK_LOST' })])
    finish?.()
    await clock.advance(0)
    expect(await running).toMatchObject({ handled: 1 })
    expect(one.events).toMatchObject([{ type: 'outbox.lease-lost' }, { type: 'outbox.delivered', attempt: 2 }])
    void two
  })
})

describe('a worker of an outbox', () => {
  it('brings to an end what is under way when it closes, and takes nothing more on', async () => {
    await using one = await bench({ concurrency: 2, destinationConcurrency: 2 })
    const close = new AbortController()
    let finish: (() => void)[] = []
    one.receiver.answer = () => new Promise((resolve) => finish.push(() => resolve({ outcome: 'delivered' })))
    await one.put(...many(6, 'x'))
    const running = one.outbox.duties[0]?.run({ signal: close.signal })
    await one.platform.clock.advance(0)
    close.abort()
    await one.platform.clock.advance(0)
    for (const end of finish) end()
    finish = []
    await one.platform.clock.advance(0)
    expect(await running).toEqual({ handled: 2 })
    expect(one.receiver.arrived).toHaveLength(2)
    expect(one.platform.clock.pendingTimers).toBe(0)
  })

  it('gives back at the cutoff what is not at an end, uncounted and due at once', async () => {
    await using one = await bench()
    const [close, cutoff] = [new AbortController(), new AbortController()]
    one.receiver.answer = hang
    await one.put(...many(2, 'x'))
    const running = one.outbox.duties[0]?.run({ signal: close.signal, cutoff: cutoff.signal })
    await one.platform.clock.advance(0)
    close.abort()
    await one.platform.clock.advance(1_000)
    cutoff.abort(new Error('time is up'))
    await one.platform.clock.advance(0)
    expect(await running).toEqual({ handled: 0 })
    one.receiver.answer = () => ({ outcome: 'delivered' })
    expect(await one.deliverDue()).toMatchObject({ handled: 2 })
    expect(one.receiver.arrived.map(({ attempt }) => attempt)).toEqual([1, 1, 1, 1])
  })

  it('delivers what was put when it is woken, and when the next message falls due', async () => {
    await using one = await bench()
    const { platform, outbox } = one
    await using worker = startWorker({ duties: outbox.duties, platform, pollMs: 3_600_000 })
    await platform.clock.advance(0)
    await one.put({ payload: 'now' }, { payload: 'later', delayMs: 60_000 })
    worker.wake()
    await platform.clock.advance(59_999)
    expect(one.receiver.payloads()).toEqual(['now'])
    await platform.clock.advance(1)
    expect(one.receiver.payloads()).toEqual(['now', 'later'])
  })

  it('delivers again under the same id when the reply to its answer was lost and the answer too', async () => {
    await using one = await bench({ leaseMs: 1_000 })
    await one.put({ payload: 'a' })
    // Of the run's points: those of its claim, and the end of the unit that answers.
    for (let at = 0; at < 40 && one.receiver.arrived.length === 0; at++) {
      await runDelivery(one.platform, one.another({ db: crashPoints(one.db, { at }) })).catch(() => {})
      await one.platform.clock.advance(1_000)
    }
    await one.platform.clock.advance(1_000)
    await one.deliverDue()
    expect(new Set(one.receiver.arrived.map(({ id }) => id)).size).toBe(1)
    expect(await one.outbox.health()).toMatchObject({ pending: 0 })
  })

  it('repeats an answer whose reply was lost, which changes nothing', async () => {
    await using one = await bench()
    let losing = 0
    const db: SqlDatabase = {
      ...one.db,
      async run(work, options) {
        const value = await one.db.run(work, options)
        losing -= 1
        if (losing === 0) throw new CoreError('COMMIT_UNKNOWN', 'lost', { store: 'test' })
        return value
      }
    }
    const outbox = one.another({ db })
    await one.put({ payload: 'a', key: 'k' }, { payload: 'b', key: 'k' })
    losing = 2
    expect(await runDelivery(one.platform, outbox)).toMatchObject({ handled: 1 })
    await one.platform.clock.advance(40_000)
    await runDelivery(one.platform, outbox)
    expect(one.receiver.payloads()).toEqual(['a', 'b'])
    expect(one.events.map(({ type }) => type)).toEqual(['outbox.store-failed', 'outbox.overtaken', 'outbox.delivered'])
  })

  it('leaves no timer and no listener behind', async () => {
    await using one = await bench()
    const { signal } = new AbortController()
    let listeners = 0
    const counted = new Proxy(signal, {
      get(target, name) {
        if (name === 'addEventListener')
          return (...given: Parameters<AbortSignal['addEventListener']>) => {
            listeners += 1
            target.addEventListener(...given)
          }
        if (name === 'removeEventListener')
          return (...given: Parameters<AbortSignal['removeEventListener']>) => {
            listeners -= 1
            target.removeEventListener(...given)
          }
        return Reflect.get(target, name, target) as unknown
      }
    })
    await one.put(...many(10, 'x'))
    await one.deliverDue()
    await runDelivery(one.platform, one.outbox, { signal: counted, cutoff: counted })
    expect(listeners).toBe(0)
    expect(one.platform.clock.pendingTimers).toBe(0)
    await one.db.run(() => changes('delete from outbox_messages'))
  })
})
