import { createOutbox, outboxSchema } from '@enablement/core/outbox'
import { changes, execute, migrate, rows, type SqlDatabase } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { testPlatform, withStoreClock } from '@enablement/core/testing'
import { describe, expect, it } from 'vitest'
import { outboxContract } from './outbox-contract.ts'
import { bench, runDelivery } from './receiver.ts'

const texts = (count: number, key?: string) =>
  Array.from({ length: count }, (_, at) => ({ payload: String(at), ...(key === undefined ? {} : { key }) }))

outboxContract('SQLite', () => sqliteDatabase({ path: ':memory:' }))

describe('an outbox', () => {
  it('delivers once what a unit put that the store ran again (pitfall 13)', async () => {
    await using one = await bench()
    let runs = 0
    const unit = function* () {
      yield* one.outbox.put({ payload: 'a', key: 'k' })
      runs += 1
      if (runs === 1) throw new Error('serialization failure')
    }
    await expect(one.db.run(unit)).rejects.toThrow('serialization failure')
    await one.db.run(unit)
    await one.deliverDue()
    expect(one.receiver.payloads()).toEqual(['a'])
  })

  it('puts with one statement, and counts now and then', async () => {
    await using one = await bench()
    let statements = 0
    await one.db.run(function* () {
      for (let at = 0; at < 1_000; at++) {
        const put = one.outbox.put({ payload: 'x', key: `k${at % 10}` })
        let step = put.next()
        for (; step.done !== true; statements += 1) step = put.next(yield step.value)
      }
    })
    expect(statements).toBe(1_001)
  })

  it('puts many with one statement, and none with none', async () => {
    await using one = await bench()
    const statements = await one.db.run(function* () {
      let count = 0
      for (const drafts of [texts(1_000, 'k'), texts(1_000), []]) {
        const put = one.outbox.putAll(drafts)
        let step = put.next()
        for (; step.done !== true; count += 1) step = put.next(yield step.value)
        expect(step.value).toHaveLength(drafts.length)
      }
      return count
    })
    expect(statements).toBe(3)
  })

  it('claims no more than it can begin, so that another worker can', async () => {
    await using one = await bench({ concurrency: 2, destinationConcurrency: 2 })
    await one.put(...texts(10))
    const close = new AbortController()
    const begun: string[] = []
    one.receiver.answer = (message, signal) => {
      begun.push(message.id)
      return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))
    }
    const running = one.outbox.duties[0]?.run({ signal: close.signal, cutoff: close.signal })
    await one.platform.clock.advance(0)
    expect(begun).toHaveLength(2)
    const due = await one.outbox.list({ state: 'pending' })
    expect(due.filter(({ attempts }) => attempts > 0)).toHaveLength(2)
    close.abort()
    await one.platform.clock.advance(0)
    await running
  })

  it('delivers different keys, and messages without one, at the same time, up to its concurrency', async () => {
    await using one = await bench({ concurrency: 4, destinationConcurrency: 4 })
    let [inside, most] = [0, 0]
    one.receiver.answer = async () => {
      inside += 1
      most = Math.max(most, inside)
      await new Promise((resolve) => setTimeout(resolve, 1))
      inside -= 1
      return { outcome: 'delivered' }
    }
    await one.put(...texts(10), ...Array.from({ length: 10 }, (_, at) => ({ payload: `k${at}`, key: `k${at}` })))
    await one.deliverDue()
    expect(most).toBe(4)
    expect(one.receiver.arrived).toHaveLength(20)
  })

  it('shows no payload in events, lists and errors', async () => {
    await using one = await bench({ attemptsMax: 1 })
    const secret = 'hunter2 is the password'
    one.receiver.answer = () => {
      throw Object.assign(new Error(secret), { code: secret })
    }
    await one.put({ payload: secret })
    await one.deliverDue()
    const [dead] = await one.outbox.list({ state: 'dead' })
    expect(dead?.reason).toBe('Error')
    const events = one.events.map((event) => ({ ...event, error: undefined }))
    expect(JSON.stringify([events, dead, await one.outbox.health()])).not.toContain('hunter2')
    expect(() => one.outbox.put({ payload: `${secret}\0` })).toThrow(
      expect.not.objectContaining({ message: expect.stringContaining('hunter2') })
    )
  })

  it('counts the deaths of workers over a message, and delivers it to nobody after five (pitfall 16)', async () => {
    await using one = await bench()
    await one.put({ payload: 'poison', key: 'k' }, { payload: 'after', key: 'k' }, { payload: 'other' })
    const dead: string[] = []
    for (let worker = 0; worker < 8; worker++) {
      const kill = new AbortController()
      const alive: SqlDatabase = {
        ...one.db,
        run: (work, options) => (kill.signal.aborted ? Promise.reject(new Error('dead')) : one.db.run(work, options))
      }
      const outbox = createOutbox({
        db: alive,
        name: 'mail',
        platform: one.platform,
        leaseMs: 1_000,
        async deliver({ payload }) {
          if (payload !== 'poison') return { outcome: 'delivered' }
          dead.push(String(payload))
          kill.abort()
          throw new Error('dead')
        },
        observe: (event) => one.events.push(event)
      })
      await runDelivery(one.platform, outbox).catch(() => {})
      await one.platform.clock.advance(1_000)
    }
    expect(dead).toHaveLength(5)
    expect(one.events).toContainEqual(
      expect.objectContaining({ type: 'outbox.dead-lettered', cause: 'unanswered', reason: 'UNANSWERED' })
    )
    expect(await one.outbox.health()).toMatchObject({ dead: 1, pending: 1, heldKeys: 1 })
  })
})

describe('a full outbox', () => {
  it('refuses a put before anything is written, tells how much waits, and takes it when there is room (pitfall 15)', async () => {
    await using one = await bench({ backlogMax: 10 })
    await one.put(...texts(10, 'k'))
    const put = one.db.run(function* () {
      yield* execute('create table written (x integer) strict')
      yield* one.outbox.put({ payload: 'x' })
    })
    await expect(put).rejects.toMatchObject({
      code: 'OVERLOADED',
      detail: { what: 'outbox mail', waiting: 10, limit: 10 }
    })
    await expect(one.db.run(() => rows('select * from written'))).rejects.toMatchObject({ code: 'STATEMENT_FAILED' })
    await one.deliverDue()
    await one.platform.clock.advance(100)
    expect(await one.put({ payload: 'x' })).toMatchObject([{ outcome: 'queued' }])
  })

  it('lets a unit answer that itself, and commit the rest', async () => {
    await using one = await bench({ backlogMax: 1 })
    const outcome = await one.db.run(function* () {
      yield* one.outbox.put({ payload: 'a' })
      try {
        yield* one.outbox.put({ payload: 'b' })
        return 'queued'
      } catch {
        return 'full'
      }
    })
    expect(outcome).toBe('full')
    expect(await one.outbox.health()).toMatchObject({ pending: 1 })
  })

  it('takes all of many messages or none', async () => {
    await using one = await bench({ backlogMax: 10 })
    const putAll = (count: number) => one.db.run(() => one.outbox.putAll(texts(count, 'k')))
    await putAll(4)
    await one.platform.clock.advance(100)
    await expect(putAll(7)).rejects.toMatchObject({ code: 'OVERLOADED', detail: { waiting: 4, limit: 10 } })
    expect(await one.outbox.health()).toMatchObject({ pending: 4 })
    expect(await putAll(6)).toHaveLength(6)
    await expect(putAll(1)).rejects.toMatchObject({ code: 'OVERLOADED', detail: { waiting: 10 } })
    await one.deliverDue()
    await expect(putAll(11)).rejects.toMatchObject({ code: 'OVERLOADED' })
    await one.platform.clock.advance(100)
    expect(await putAll(10)).toHaveLength(10)
  })

  it('counts the dead, and what other processes put', async () => {
    await using one = await bench({ backlogMax: 4, attemptsMax: 1, onDead: 'continue' })
    one.receiver.answer = () => ({ outcome: 'refused' })
    await one.put(...texts(2, 'k'))
    await one.deliverDue()
    const other = one.another()
    await one.db.run(() => other.put({ payload: 'x' }))
    expect(await one.put({ payload: 'y' })).toMatchObject([{ outcome: 'queued' }])
    await expect(one.put({ payload: 'y' })).rejects.toMatchObject({ code: 'OVERLOADED', detail: { waiting: 4 } })
    await expect(one.db.run(() => other.put({ payload: 'y' }))).rejects.toMatchObject({ code: 'OVERLOADED' })
  })
})

describe('what an outbox refuses', () => {
  it.each([
    [{ payload: 'x'.repeat(101) }, 'payload', 'has 101 bytes, and at most 100 are taken'],
    [{ payload: 'é'.repeat(51) }, 'payload', 'has 102 bytes, and at most 100 are taken'],
    [{ payload: new Uint8Array(101) }, 'payload', 'has 101 bytes'],
    [{ payload: 'a\0' }, 'payload', 'NUL'],
    [{ payload: '\ud800' }, 'payload', 'well-formed'],
    [{ payload: { a: 1 } }, 'payload', 'bytes, or text'],
    [{}, 'payload', 'bytes, or text'],
    [{ payload: 'x', key: '' }, 'key', ''],
    [{ payload: 'x', key: 'k'.repeat(257) }, 'key', '256'],
    [{ payload: 'x', key: 'a\0' }, 'key', 'NUL'],
    [{ payload: 'x', destination: 'd'.repeat(201) }, 'destination', '200'],
    [{ payload: 'x', idempotencyKey: '' }, 'idempotencyKey', ''],
    [{ payload: 'x', delayMs: -1 }, 'delayMs', ''],
    [{ payload: 'x', delayMs: Number.NaN }, 'delayMs', ''],
    [{ payload: 'x', delayMs: Number.POSITIVE_INFINITY }, 'delayMs', ''],
    [{ payload: 'x', delayMs: 1.5 }, 'delayMs', ''],
    [{ payload: 'x', topic: 'x' }, 'topic', 'no such option']
  ])('is the message %j', async (draft, path, message) => {
    await using one = await bench({ payloadMaxBytes: 100 })
    const put = () => one.outbox.put(draft as never)
    expect(put).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }))
    try {
      put()
    } catch (error) {
      expect((error as { detail: { issues: unknown } }).detail.issues).toEqual([
        { path, message: expect.stringContaining(message) }
      ])
    }
    expect(await one.outbox.health()).toMatchObject({ pending: 0 })
  })

  it.each([
    ['more than 1,000', texts(1_001), '1000', 'is one of 1001, and at most 1000 are taken'],
    ['a wrong one', [{ payload: 'x' }, { payload: 'x', key: '' }], '1.key', ''],
    ['an unknown option', [{ payload: 'x', topic: 'x' }], '0.topic', 'no such option'],
    ['what is no list', { payload: 'x' }, '', 'array']
  ])('is a list of messages with %s', async (_name, drafts, path, message) => {
    await using one = await bench()
    const put = () => one.outbox.putAll(drafts as never)
    expect(put).toThrow(
      expect.objectContaining({
        code: 'INVALID_OPTIONS',
        detail: { subject: 'outbox.putAll', issues: [{ path, message: expect.stringContaining(message) }] }
      })
    )
    expect(await one.outbox.health()).toMatchObject({ pending: 0 })
  })

  it('is a list of messages whose payloads exceed 16 MiB together, and not one that has just that', async () => {
    await using one = await bench({ payloadMaxBytes: 16_777_216 })
    const half = { payload: 'é'.repeat(4_194_304) }
    const full = [half, { payload: new Uint8Array(8_388_607) }, { payload: 'x' }]
    expect(await one.db.run(() => one.outbox.putAll(full))).toHaveLength(3)
    expect(() => one.outbox.putAll([...full, { payload: '' }, { payload: 'x' }])).toThrow(
      expect.objectContaining({
        detail: {
          subject: 'outbox.putAll',
          issues: [{ path: '4.payload', message: 'with those before it exceeds 16777216 bytes' }]
        }
      })
    )
  })

  it('is no option that is undefined, in one message or in many', async () => {
    await using one = await bench()
    const draft = { payload: 'x', key: undefined } as never
    const refs = await one.db.run(function* () {
      return [yield* one.outbox.put(draft), ...(yield* one.outbox.putAll([draft]))]
    })
    expect(refs).toHaveLength(2)
  })

  it.each([
    [{ name: '' }, 'name'],
    [{ deliver: 'x' }, 'deliver'],
    [{ attemptMs: 0 }, 'attemptMs'],
    [{ attemptMs: Number.NaN }, 'attemptMs'],
    [{ attemptMs: Number.POSITIVE_INFINITY }, 'attemptMs'],
    [{ attemptsMax: 0 }, 'attemptsMax'],
    [{ ageMaxMs: -1 }, 'ageMaxMs'],
    [{ leaseMs: 99 }, 'leaseMs'],
    [{ leaseMs: Number.NaN }, 'leaseMs'],
    [{ backoff: { jitter: 'decorrelated', baseMs: 1, maxMs: 2 } }, 'backoff.jitter'],
    [{ backoff: { jitter: 'full', baseMs: 3, maxMs: 2 } }, 'backoff.maxMs'],
    [{ concurrency: 0 }, 'concurrency'],
    [{ concurrency: 2, destinationConcurrency: 3 }, 'destinationConcurrency'],
    [{ backlogMax: 0 }, 'backlogMax'],
    [{ payloadMaxBytes: 0 }, 'payloadMaxBytes'],
    [{ retentionMs: -1 }, 'retentionMs'],
    [{ onDead: 'skip' }, 'onDead'],
    [{ breaker: 'on' }, 'breaker'],
    [{ breaker: { breakMs: 0 } }, 'breaker.breakMs'],
    [{ breaker: { name: 'x' } }, 'breaker.name'],
    [{ retries: 3 }, 'retries']
  ])('is the option %j', async (options, path) => {
    await using db = sqliteDatabase({ path: ':memory:' })
    const valid = { db, name: 'mail', deliver: async () => ({ outcome: 'delivered' }) as const }
    let refused: unknown
    try {
      createOutbox({ ...valid, ...options } as never)
    } catch (error) {
      refused = error
    }
    expect(refused).toMatchObject({ code: 'INVALID_OPTIONS', detail: { issues: [{ path }] } })
  })

  it.each([
    [{ state: 'lost' }, 'state'],
    [{ state: 'dead', limit: 0 }, 'limit'],
    [{ state: 'dead', limit: 1_001 }, 'limit'],
    [{ state: 'dead', after: -1 }, 'after']
  ])('is the page %j', async (page, path) => {
    await using one = await bench()
    await expect(one.outbox.list(page as never)).rejects.toMatchObject({
      code: 'INVALID_OPTIONS',
      detail: { issues: [{ path }] }
    })
  })
})

describe('the tables of an outbox', () => {
  it('reports a row of the wrong shape instead of delivering it', async () => {
    const platform = testPlatform()
    await using db = withStoreClock(sqliteDatabase({ path: ':memory:' }), platform.clock)
    await migrate(db, [outboxSchema])
    const outbox = createOutbox({ db, name: 'mail', platform, deliver: async () => ({ outcome: 'delivered' }) })
    await db.run(() => outbox.put({ payload: 'a' }))
    await db.run(() => changes('update outbox_messages set put_at = ?', 2n ** 60n))
    await expect(runDelivery(platform, outbox)).rejects.toMatchObject({ code: 'STORE_DAMAGED' })
  })
})
