import { CoreError } from '@enablement/core'
import type { OutboxEvent, OutboxOptions, Settlement } from '@enablement/core/outbox'
import { execute, rows, type SqlDatabase } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { describe, expect, it } from 'vitest'
import { bench, runDelivery } from './receiver.ts'

const backoff = { jitter: 'none', baseMs: 1_000, maxMs: 1_000 } as const

/** A bench whose hook writes what it hears of; `check` may throw before that. */
async function recording(
  options: Partial<OutboxOptions> & { readonly on?: SqlDatabase } = {},
  check: (settlements: readonly Settlement[]) => void = () => {}
) {
  const heard: (readonly Settlement[])[] = []
  const one = await bench({
    backoff,
    ...options,
    *settled(settlements) {
      heard.push(settlements)
      check(settlements)
      for (const { message, end } of settlements) {
        yield* execute(
          'insert into heard(id, payload, ended) values (?, ?, ?)',
          message.id,
          String(message.payload),
          end
        )
      }
    }
  })
  await one.db.run(() => execute('create table heard (id text, payload text not null, ended text not null) strict'))
  return {
    ...one,
    heard,
    async record() {
      const found = await one.db.run(() => rows('select payload, ended from heard order by payload, ended'))
      return found.map(({ payload, ended }) => [payload, ended].join(' '))
    },
    [Symbol.asyncDispose]: () => one[Symbol.asyncDispose]()
  }
}

const failures = (events: readonly OutboxEvent[]) =>
  events.flatMap((event) => (event.type === 'outbox.settlements-failed' ? [event] : []))

const throwing = (settlements: readonly Settlement[]): void => {
  if (settlements.some(({ message }) => message.payload === 'bad')) throw new RangeError('no place for it')
}

describe('what hangs on a settlement', () => {
  it('hears of each end with what the deliverer said, and of no attempt that will be repeated', async () => {
    await using one = await recording({ attemptsMax: 2 })
    one.receiver.answer = ({ payload }) => {
      if (payload === 'a') return { outcome: 'delivered', receipt: 'C1/17.2' }
      if (payload === 'b') return { outcome: 'refused', reason: 'GONE', detail: 'the mailbox of Ana is closed' }
      return { outcome: 'failed', reason: 'HTTP_503' }
    }
    const [a, b, c] = await one.put(
      { payload: 'a', key: 'k', destination: 'slack' },
      { payload: 'b' },
      { payload: Uint8Array.of(1) }
    )
    await one.deliverDue()
    await one.platform.clock.advance(1_000)
    await one.deliverDue()
    expect(one.heard.flat()).toEqual([
      {
        message: { id: a?.id, key: 'k', destination: 'slack', payload: 'a', attempt: 1 },
        end: 'delivered',
        receipt: 'C1/17.2'
      },
      {
        message: { id: b?.id, key: undefined, destination: 'mail', payload: 'b', attempt: 1 },
        end: 'dead',
        reason: 'GONE',
        detail: 'the mailbox of Ana is closed'
      },
      {
        message: { id: c?.id, key: undefined, destination: 'mail', payload: Uint8Array.of(1), attempt: 2 },
        end: 'dead',
        reason: 'HTTP_503'
      }
    ])
    expect(JSON.stringify(one.events)).not.toContain('Ana')
  })

  it('takes receipts of 4,096 characters and no others, and cuts a detail at 500', async () => {
    await using one = await recording()
    const receipts: unknown[] = ['r'.repeat(4_096), 'r'.repeat(4_097), '\ud800', 'a\0b', 7, '']
    one.receiver.answer = ({ payload }) => {
      const at = Number(payload)
      if (at < receipts.length) return { outcome: 'delivered', receipt: receipts[at] as string }
      return { outcome: 'refused', detail: `a\0b${'😀'.repeat(300)}` }
    }
    await one.put(...Array.from({ length: receipts.length + 1 }, (_, at) => ({ payload: String(at) })))
    await one.deliverDue()
    const heard = one.heard.flat().sort((a, b) => Number(a.message.payload) - Number(b.message.payload))
    expect(heard.map(({ receipt }) => receipt)).toEqual([receipts[0], ...Array(4).fill(undefined), '', undefined])
    expect(heard.at(-1)?.detail).toBe(`a\ufffdb${'😀'.repeat(248)}\ufffd`)
  })

  it('is committed with the settlement or not at all', async () => {
    const inner = sqliteDatabase({ path: ':memory:' })
    let failures = 2
    const on: SqlDatabase = {
      ...inner,
      run: (work, options) =>
        inner.run(function* () {
          const unit = work()
          let step = unit.next()
          while (step.done !== true) {
            if (step.value.text.startsWith('insert into heard') && failures-- > 0) {
              throw new CoreError('STORE_UNAVAILABLE', 'it went away', { store: 'sqlite', operation: 'run' })
            }
            step = unit.next(yield step.value)
          }
          return step.value
        }, options)
    }
    await using one = await recording({ on })
    await one.put({ payload: 'a' })
    await one.deliverDue()
    expect(await one.record()).toEqual(['a delivered'])
    expect(one.heard).toHaveLength(3)
    expect(one.events.map(({ type }) => type)).toEqual([
      'outbox.store-failed',
      'outbox.store-failed',
      'outbox.delivered'
    ])
    expect(one.receiver.arrived).toHaveLength(1)
    expect(await one.outbox.health()).toMatchObject({ pending: 0, dead: 0 })
  })

  it('is not repeated when the reply to the commit was lost', async () => {
    const inner = sqliteDatabase({ path: ':memory:' })
    let lose = false
    const on: SqlDatabase = {
      ...inner,
      async run(work, options) {
        const value = await inner.run(work, options)
        if (!lose) return value
        lose = false
        throw new CoreError('COMMIT_UNKNOWN', 'the reply was lost', { store: 'sqlite' })
      }
    }
    await using one = await recording({ on })
    one.receiver.answer = () => {
      lose = true
      return { outcome: 'delivered' }
    }
    await one.put({ payload: 'a' })
    await one.deliverDue()
    expect(await one.record()).toEqual(['a delivered'])
    expect(one.heard).toHaveLength(1)
    expect(one.receiver.arrived).toHaveLength(1)
    expect(failures(one.events)).toEqual([])
  })

  it('hears nothing from a worker that has lost the message', async () => {
    await using one = await recording()
    one.receiver.answer = async () => {
      await one.db.run(() => execute('update outbox_messages set fence = fence + 1'))
      return { outcome: 'delivered' }
    }
    await one.put({ payload: 'a' })
    await one.deliverDue()
    expect(one.heard).toEqual([])
    expect(one.events.map(({ type }) => type)).toEqual(['outbox.overtaken'])
  })

  it('hears of what workers died over', async () => {
    await using one = await recording({ attemptsMax: 1, leaseMs: 1_000 })
    await one.put({ payload: 'a' })
    await one.db.run(() => execute('update outbox_messages set attempts = 1, unanswered = 1'))
    await one.deliverDue()
    expect(one.heard.flat()).toEqual([expect.objectContaining({ end: 'dead', reason: 'UNANSWERED' })])
    expect(await one.record()).toEqual(['a dead'])
  })
})

describe('a settlement that the hook throws for', () => {
  const twenty = Array.from({ length: 20 }, (_, at) => ({ payload: at === 7 ? 'bad' : `good${at}` }))

  it('holds up no other one, and is dead-lettered after some seconds, delivered once', async () => {
    await using one = await recording({}, throwing)
    await one.put(...twenty)
    const from = one.platform.clock.monotonic()
    await one.deliverDue()
    expect(await one.record()).toHaveLength(19)
    expect(one.platform.clock.monotonic() - from).toBeLessThan(6_000)
    expect(one.receiver.arrived).toHaveLength(20)
    const told = failures(one.events)
    expect(told.map(({ ids }) => ids.length)).toEqual([expect.any(Number), 1, 1, 1, 1, 1])
    const waits = told.map(({ retryInMs }) => retryInMs ?? Number.NaN)
    for (const [at, base] of [0, 250, 500, 1_000, 2_000].entries()) {
      expect(waits[at]).toBeGreaterThanOrEqual(base / 2)
      expect(waits[at]).toBeLessThanOrEqual(base)
    }
    expect(waits.at(-1)).toBeNaN()
    expect(told.at(-1)?.error).toBeInstanceOf(RangeError)
    const dead = await one.outbox.list({ state: 'dead' })
    expect(dead).toEqual([expect.objectContaining({ reason: 'RangeError' })])
    expect(one.events.filter(({ type }) => type === 'outbox.dead-lettered')).toEqual([
      expect.objectContaining({ cause: 'unsettled', reason: 'RangeError', id: dead[0]?.id })
    ])
  })

  it('is settled when the hook thinks better of it', async () => {
    let left = 3
    await using one = await recording({}, (settlements) => {
      if (left-- > 0) throwing(settlements)
    })
    await one.put(...twenty)
    await one.deliverDue()
    expect(await one.record()).toHaveLength(20)
    expect(one.receiver.arrived).toHaveLength(20)
    expect(await one.outbox.health()).toMatchObject({ pending: 0, dead: 0 })
  })

  it('is delivered again, and told of, when an operator revives it', async () => {
    let broken = true
    await using one = await recording({}, (settlements) => {
      if (broken) throwing(settlements)
    })
    const [ref] = await one.put({ payload: 'bad' })
    await one.deliverDue()
    broken = false
    await one.db.run(() => one.outbox.revive(ref?.id ?? ''))
    await one.deliverDue()
    expect(await one.record()).toEqual(['bad delivered'])
    expect(one.receiver.arrived.map(({ id }) => id)).toEqual([ref?.id, ref?.id])
  })

  it('stays what it was when it is the end of a dead message', async () => {
    await using one = await recording({}, throwing)
    one.receiver.answer = () => ({ outcome: 'refused', reason: 'GONE' })
    await one.put({ payload: 'bad' })
    await one.deliverDue()
    expect(await one.outbox.list({ state: 'dead' })).toEqual([expect.objectContaining({ reason: 'GONE' })])
    expect(one.events.at(-1)).toMatchObject({ type: 'outbox.dead-lettered', cause: 'refused', reason: 'GONE' })
  })

  it('keeps its place before the later ones of its key', async () => {
    await using one = await recording({}, throwing)
    await one.put({ payload: 'bad', key: 'k' }, { payload: 'good', key: 'k' })
    await one.deliverDue()
    expect(one.receiver.payloads()).toEqual(['bad'])
    expect(await one.outbox.health()).toMatchObject({ pending: 1, dead: 1, heldKeys: 1 })
  })

  it('lets attempts that failed count, and takes no more on than there is room for', async () => {
    await using one = await recording({ concurrency: 4, destinationConcurrency: 4 }, throwing)
    one.receiver.answer = ({ payload }) => ({ outcome: payload === 'again' ? 'failed' : 'delivered' })
    await one.put({ payload: 'again' }, ...Array.from({ length: 6 }, () => ({ payload: 'bad' })))
    const running = runDelivery(one.platform, one.outbox)
    await one.platform.clock.advance(10)
    expect(one.receiver.arrived).toHaveLength(5)
    expect(one.events).toContainEqual(expect.objectContaining({ type: 'outbox.attempt-failed' }))
    await running
    expect(one.receiver.payloads().filter((payload) => payload === 'bad')).toHaveLength(6)
  })

  it('is left to its lease when the worker has no more time, and is then delivered again', async () => {
    await using one = await recording({ leaseMs: 10_000 }, throwing)
    const [closing, cutoff] = [new AbortController(), new AbortController()]
    await one.put({ payload: 'bad' })
    const duty = one.outbox.duties[0]
    const running = duty?.run({ signal: closing.signal, cutoff: cutoff.signal })
    await one.platform.clock.advance(50)
    closing.abort()
    cutoff.abort()
    await one.platform.clock.advance(10)
    expect(await running).toEqual({ handled: 0 })
    expect(await one.outbox.health()).toMatchObject({ pending: 1, dead: 0 })
    await one.platform.clock.advance(10_000)
    await one.deliverDue()
    expect(one.receiver.arrived.map(({ attempt }) => attempt)).toEqual([1, 2])
  })

  it('is found out by a statement of the hook that fails as well', async () => {
    await using one = await bench({
      *settled() {
        yield* execute('insert into nowhere values (1)')
      }
    })
    await one.put({ payload: 'a' })
    await one.deliverDue()
    expect(await one.outbox.list({ state: 'dead' })).toEqual([expect.objectContaining({ reason: 'STATEMENT_FAILED' })])
  })

  it('is a fault of the hook when that is no unit at all', async () => {
    await using one = await bench({ settled: (() => undefined) as unknown as NonNullable<OutboxOptions['settled']> })
    await one.put({ payload: 'a' })
    await one.deliverDue()
    expect(await one.outbox.list({ state: 'dead' })).toEqual([expect.objectContaining({ reason: 'TypeError' })])
    const settled = 7 as unknown as NonNullable<OutboxOptions['settled']>
    await expect(bench({ settled })).rejects.toMatchObject({ code: 'INVALID_OPTIONS' })
  })
})

describe('a message that the deliverer postpones', () => {
  it('is handed over again after that time, as the same attempt, and nothing is said of it', async () => {
    await using one = await recording({ attemptsMax: 1 })
    let left = 3
    one.receiver.answer = () =>
      left-- > 0 ? { outcome: 'postponed', delayMs: 7_000, reason: 'RATE_LIMIT' } : { outcome: 'delivered' }
    await one.put({ payload: 'a' })
    expect(await one.deliverDue()).toEqual({ handled: 1, nextDueInMs: 7_000 })
    expect(one.events).toEqual([
      expect.objectContaining({ type: 'outbox.postponed', attempt: 1, reason: 'RATE_LIMIT', retryInMs: 7_000 })
    ])
    for (let round = 0; round < 3; round++) {
      await one.platform.clock.advance(7_000)
      await one.deliverDue()
    }
    expect(one.receiver.arrived.map(({ attempt }) => attempt)).toEqual([1, 1, 1, 1])
    expect(one.heard.flat()).toEqual([expect.objectContaining({ end: 'delivered' })])
    const fences = one.receiver.arrived.map(({ fence }) => fence)
    expect(fences).toEqual([...new Set(fences)].sort((a, b) => a - b))
  })

  it.each([
    [0, 100],
    [-5, 100],
    [0.5, 100],
    [101.2, 102],
    [3_600_000, 3_600_000],
    [3_600_001, 3_600_000],
    [Number.POSITIVE_INFINITY, 3_600_000]
  ])('for %d ms waits %d ms', async (delayMs, waits) => {
    await using one = await bench({ backoff })
    one.receiver.answer = () => ({ outcome: 'postponed', delayMs })
    await one.put({ payload: 'a' })
    expect(await one.deliverDue()).toEqual({ handled: 1, nextDueInMs: waits })
  })

  it.each([Number.NaN, '5', undefined])('for %s has failed', async (delayMs) => {
    await using one = await bench({ backoff })
    one.receiver.answer = () => ({ outcome: 'postponed', delayMs: delayMs as number })
    await one.put({ payload: 'a' })
    expect(await one.deliverDue()).toEqual({ handled: 1, nextDueInMs: 1_000 })
    expect((await one.outbox.list({ state: 'pending' }))[0]?.attempts).toBe(1)
  })

  it('dies when it would come after its time', async () => {
    await using one = await recording({ ageMaxMs: 10_000 })
    one.receiver.answer = () => ({ outcome: 'postponed', delayMs: 4_000, reason: 'RATE_LIMIT' })
    await one.put({ payload: 'a' })
    for (let round = 0; round < 4; round++) {
      await one.deliverDue()
      await one.platform.clock.advance(4_000)
    }
    expect(one.receiver.arrived).toHaveLength(3)
    expect(one.events.at(-1)).toMatchObject({ type: 'outbox.dead-lettered', cause: 'age', reason: 'RATE_LIMIT' })
    expect(await one.record()).toEqual(['a dead'])
  })

  it('is no evidence against its destination, and keeps its place in its key', async () => {
    await using one = await bench({ breaker: { window: { kind: 'consecutive', failures: 2 }, breakMs: 10_000 } })
    one.receiver.answer = () => ({ outcome: 'postponed', delayMs: 1_000 })
    await one.put(...Array.from({ length: 5 }, () => ({ payload: 'a' })), { payload: 'k1', key: 'k' })
    await one.put({ payload: 'k2', key: 'k' })
    await one.deliverDue()
    expect(one.receiver.arrived).toHaveLength(6)
    expect((await one.outbox.health()).brokenDestinations).toEqual([])
    one.receiver.answer = () => ({ outcome: 'delivered' })
    await one.platform.clock.advance(1_000)
    await one.deliverDue()
    expect(one.receiver.payloads().slice(-2).concat('k1')).toContain('k2')
    expect(one.receiver.payloads().filter((payload) => String(payload).startsWith('k'))).toEqual(['k1', 'k1', 'k2'])
  })

  it('lets a probe say nothing, so that the next one is asked', async () => {
    await using one = await bench({
      breaker: { window: { kind: 'consecutive', failures: 1 }, breakMs: 5_000 },
      backoff
    })
    one.receiver.answer = () => ({ outcome: 'failed' })
    await one.put({ payload: 'a' })
    await one.deliverDue()
    one.receiver.answer = () => ({ outcome: 'postponed', delayMs: 1_000 })
    await one.platform.clock.advance(5_100)
    await one.deliverDue()
    expect((await one.outbox.health()).brokenDestinations).toEqual(['mail'])
    one.receiver.answer = () => ({ outcome: 'delivered' })
    await one.platform.clock.advance(5_100)
    await one.deliverDue()
    expect(await one.outbox.health()).toMatchObject({ pending: 0, brokenDestinations: [] })
  })
})
