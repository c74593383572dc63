import { hours, minutes, seconds } from '@enablement/core'
import { every, type Misfire, type Recurrence } from '@enablement/core/schedule'
import { fc, test } from '@fast-check/vitest'
import { Cron } from 'croner'
import { describe, expect, it } from 'vitest'
import { START_AT, scene } from './schedule-kit.ts'

/** How a cron library is plugged in. */
const cron = (pattern: string, timezone: string): Recurrence => {
  const job = new Cron(pattern, { timezone })
  return { rule: `${pattern} ${timezone}`, next: (after) => job.nextRun(new Date(after))?.getTime() }
}

/** A task that notes when it was fired, and for which instant; both in milliseconds since the start. */
async function noted(options: {
  readonly recurrence?: Recurrence
  readonly misfire?: Misfire
  readonly jitterMs?: number
  readonly pollMs?: number
  readonly now?: number
}) {
  const { recurrence = every(minutes(1)), misfire = { policy: 'skip', graceMs: seconds(5) } } = options
  const fired: [at: number, dueAt: number][] = []
  const test = await scene({
    pollMs: options.pollMs ?? 60_000,
    ...(options.now === undefined ? {} : { now: options.now }),
    tasks: {
      tick: {
        recurrence,
        misfire,
        jitterMs: options.jitterMs ?? 0,
        run: ({ dueAt }) => void fired.push([test.platform.clock.now() - START_AT, dueAt - START_AT])
      }
    }
  })
  return {
    test,
    fired,
    async [Symbol.asyncDispose]() {
      await test[Symbol.asyncDispose]()
    }
  }
}

describe('every', () => {
  test.prop([
    fc.integer({ min: 10, max: 3_155_760_000_000 }),
    fc.float({ min: 0, max: Math.fround(0.999), noNaN: true }),
    fc.integer({ min: 0, max: 8_000_000_000_000 })
  ])('gives the first instant after, on a grid that all processes share', (periodMs, offsetRatio, after) => {
    const offsetMs = Math.floor(periodMs * offsetRatio)
    const next = every(periodMs, { offsetMs }).next(after) as number
    expect(next).toBeGreaterThan(after)
    expect(next - after).toBeLessThanOrEqual(periodMs)
    expect((next - offsetMs) % periodMs).toBe(0)
  })
})

describe('a recurrence', () => {
  it('is fired at each of its instants, however long each takes to find', async () => {
    await using bench = await noted({})
    await bench.test.advance(minutes(3))
    expect(bench.fired).toEqual([1, 2, 3].map((minute) => [minutes(minute), minutes(minute)]))
  })

  it('is put once, however many processes have it, and fired once for each instant', async () => {
    await using bench = await noted({})
    const { test } = bench
    const { createSchedule, startWorker } = await import('@enablement/core/schedule')
    const others: number[] = []
    const twin = createSchedule({
      db: test.db,
      platform: test.platform,
      name: 'twin',
      tasks: {
        tick: {
          recurrence: every(minutes(1)),
          misfire: { policy: 'skip', graceMs: seconds(5) },
          run: ({ dueAt }) => void others.push(dueAt - START_AT)
        }
      }
    })
    const worker = startWorker({ duties: twin.duties, platform: test.platform })
    await test.advance(minutes(5))
    const all = [...bench.fired.map(([, dueAt]) => dueAt), ...others].sort((one, other) => one - other)
    expect(all).toEqual([1, 2, 3, 4, 5].map(minutes))
    const closed = worker.close()
    await test.advance(0)
    await closed
  })

  it('is over when its rule gives no instant any more', async () => {
    const recurrence = {
      rule: 'twice',
      next: (after: number) =>
        after < START_AT + 2_000 ? START_AT + (after < START_AT + 1_000 ? 1_000 : 2_000) : undefined
    }
    await using bench = await noted({ recurrence })
    await bench.test.advance(minutes(1))
    expect(bench.fired.map(([, dueAt]) => dueAt)).toEqual([1_000, 2_000])
    expect(await bench.test.rows()).toEqual([])
  })

  it('waits for an instant any number of days away (pitfall 5; research 5: above 24.8 days)', async () => {
    await using bench = await noted({ recurrence: every(hours(24 * 40)), pollMs: 86_400_000 })
    const first = every(hours(24 * 40)).next(START_AT) as number
    await bench.test.advance(first - START_AT - 1)
    expect(bench.fired).toEqual([])
    await bench.test.advance(1)
    expect(bench.fired).toEqual([[first - START_AT, first - START_AT]])
  })

  it('starts afresh from now on when its rule changes', async () => {
    await using bench = await noted({ recurrence: every(hours(24)) })
    const { test } = bench
    await test.advance(0)
    const { createSchedule, startWorker } = await import('@enablement/core/schedule')
    const fired: number[] = []
    const changed = createSchedule({
      db: test.db,
      platform: test.platform,
      name: 'changed',
      tasks: {
        tick: {
          recurrence: every(minutes(2)),
          misfire: { policy: 'skip', graceMs: seconds(5) },
          run: ({ dueAt }) => void fired.push(dueAt - START_AT)
        }
      }
    })
    const done = test.worker.close()
    await test.advance(0)
    await done
    const worker = startWorker({ duties: changed.duties, platform: test.platform })
    await test.advance(minutes(4))
    expect(fired).toEqual([minutes(2), minutes(4)])
    const closed = worker.close()
    await test.advance(0)
    await closed
  })

  it('follows a cron library through time zones and daylight saving (research 5, durable timers)', async () => {
    // Berlin puts its clocks ahead on 2026-03-29 at 01:00 UTC, and back on 2026-10-25.
    const rule = cron('30 2 * * *', 'Europe/Berlin')
    const days = (from: number, count: number): string[] => {
      const instants: string[] = []
      for (let at = from; instants.length < count; ) {
        at = rule.next(at) as number
        instants.push(new Date(at).toISOString())
      }
      return instants
    }
    await using bench = await noted({ recurrence: rule, pollMs: 86_400_000, now: Date.UTC(2026, 2, 27) })
    await bench.test.advance(hours(4 * 24))
    const march = bench.fired
    expect(march.map(([, dueAt]) => new Date(START_AT + dueAt).toISOString())).toEqual(
      days(Date.UTC(2026, 2, 27), march.length)
    )
    // There is no half past two on the 29th: the rule gives three o'clock, and from then on local time is an hour nearer.
    expect(march.map(([, dueAt]) => new Date(START_AT + dueAt).toISOString())).toEqual([
      '2026-03-27T01:30:00.000Z',
      '2026-03-28T01:30:00.000Z',
      '2026-03-29T01:00:00.000Z',
      '2026-03-30T00:30:00.000Z'
    ])
  })

  it.each([
    ['NaN', Number.NaN],
    ['the same instant', START_AT],
    ['an instant that has passed', 5],
    ['a fraction', START_AT + 0.5],
    ['an instant no date can show', 8_640_000_000_000_001],
    ['a date', new Date(START_AT + 1)]
  ])('is not fired by a rule that answers %s: the duty fails and says so', async (_what, answer) => {
    await using bench = await noted({ recurrence: { rule: 'broken', next: () => answer as number } })
    await bench.test.advance(minutes(1))
    expect(bench.fired).toEqual([])
    expect(bench.test.worker.health().duties[0]).toMatchObject({ state: 'backing-off' })
  })

  it('is set aside when its rule breaks later, without having been fired, and revived by another rule', async () => {
    let broken = false
    const recurrence = {
      rule: 'fragile',
      next: (after: number) => (broken ? Number.NaN : every(minutes(1)).next(after))
    }
    await using bench = await noted({ recurrence })
    await bench.test.advance(minutes(1))
    broken = true
    await bench.test.advance(minutes(60))
    expect(bench.fired).toHaveLength(1)
    const aside = await bench.test.unit(() => bench.test.schedule.setAside())
    expect(aside).toMatchObject([{ task: 'tick', id: undefined, reason: 'failed', error: 'CoreError INVALID_OPTIONS' }])
    broken = false
    expect(await bench.test.unit(() => bench.test.schedule.revive({ task: 'tick' }))).toEqual({ outcome: 'revived' })
    await bench.test.advance(minutes(3))
    expect(bench.fired.length).toBeGreaterThan(2)
  })

  it('is put off by jitter (research 5), never beyond it, and differently each time; its instants stay', async () => {
    await using bench = await noted({ jitterMs: 20_000, misfire: { policy: 'skip', graceMs: 1_000 }, pollMs: 60_000 })
    await bench.test.advance(hours(1))
    const delays = bench.fired.map(([at, dueAt]) => at - dueAt)
    expect(bench.fired.map(([, dueAt]) => dueAt % minutes(1)).every((rest) => rest === 0)).toBe(true)
    expect(bench.fired.length).toBeGreaterThanOrEqual(59)
    expect(Math.max(...delays)).toBeLessThanOrEqual(20_000)
    expect(new Set(delays).size).toBeGreaterThan(20)
    expect(bench.test.events).toEqual([])
  })
})

describe('an instant that nobody was there for (research 5: misfire policy)', () => {
  const downMs = minutes(10) + seconds(3)

  it.each<[string, Misfire, number[]]>([
    // Down from 0 to 10:03: ten instants were missed, of which the last is 3 s late.
    ['is not fired under skip, but for one within its grace', { policy: 'skip', graceMs: seconds(5) }, [10, 11]],
    ['is not fired under skip when its grace is over', { policy: 'skip', graceMs: seconds(2) }, [11]],
    ['is fired to the millisecond of its grace', { policy: 'skip', graceMs: seconds(3) }, [10, 11]],
    ['is fired once under once, as the first that was missed', { policy: 'once', graceMs: seconds(5) }, [1, 11]],
    [
      'is fired under all, each on its own',
      { policy: 'all', catchUpMs: hours(1) },
      [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    ],
    [
      'is fired under all as far back as it catches up',
      { policy: 'all', catchUpMs: minutes(3) + seconds(3) },
      [7, 8, 9, 10, 11]
    ]
  ])('%s', async (_name, misfire, expected) => {
    await using bench = await noted({ misfire })
    await bench.test.advance(0)
    await bench.test.sleepFor(downMs)
    await bench.test.advance(0)
    await bench.test.advance(minutes(1))
    expect(bench.fired.map(([, dueAt]) => dueAt / minutes(1))).toEqual(expected)
  })

  it('is told of as missed, from where to where', async () => {
    await using bench = await noted({ misfire: { policy: 'skip', graceMs: seconds(5) } })
    await bench.test.advance(0)
    await bench.test.sleepFor(downMs)
    await bench.test.advance(0)
    expect(bench.test.events).toEqual([
      { type: 'task.missed', task: 'tick', dueAt: START_AT + minutes(1), nextAt: START_AT + minutes(10) }
    ])
  })

  it('keeps its id from attempt to attempt, however late it becomes, once it was begun', async () => {
    const ids: string[] = []
    await using test = await scene({
      tasks: {
        tick: {
          recurrence: every(minutes(1)),
          misfire: { policy: 'skip', graceMs: seconds(1) },
          backoff: { jitter: 'none', baseMs: minutes(3), maxMs: minutes(3) },
          run: ({ id, attempt }) => {
            ids.push(id)
            if (attempt === 1 && ids.length === 1) throw new Error('no')
          }
        }
      }
    })
    await test.advance(minutes(5))
    expect(ids.slice(0, 2)).toEqual([`tick@${START_AT + minutes(1)}`, `tick@${START_AT + minutes(1)}`])
  })
})

describe('the clock of the store', () => {
  it('fires no instant twice when it is set back, and catches up by the policy when it is set ahead (pitfall 4)', async () => {
    await using bench = await noted({ misfire: { policy: 'skip', graceMs: seconds(5) }, pollMs: 5_000 })
    const { clock } = bench.test.platform
    await bench.test.advance(minutes(3))
    clock.jumpWallTo(clock.now() - minutes(2))
    await bench.test.advance(minutes(3))
    expect(bench.fired.map(([, dueAt]) => dueAt)).toEqual([1, 2, 3, 4].map(minutes))
    clock.jumpWallTo(clock.now() + hours(5))
    await bench.test.advance(minutes(2))
    const [, , , , ...later] = bench.fired.map(([, dueAt]) => dueAt)
    expect(later).toEqual([4, 5, 6].map((minute) => hours(5) + minutes(minute)))
    expect(new Set(bench.fired.map(([, dueAt]) => dueAt)).size).toBe(bench.fired.length)
  })

  it('is what tasks are due by, and not the clock of the process (pitfall 17: the server’s time; research 5: skew)', async () => {
    await using bench = await noted({})
    const { testPlatform } = await import('@enablement/core/testing')
    const { createSchedule } = await import('@enablement/core/schedule')
    // Its wall clock is two hours ahead.
    const skewed = testPlatform({ now: START_AT + hours(2) })
    const fired: number[] = []
    const schedule = createSchedule({
      db: bench.test.db,
      platform: skewed,
      tasks: { once: { run: ({ dueAt }) => void fired.push(dueAt) } }
    })
    await bench.test.unit(() => schedule.put({ task: 'once', id: '1', dueAt: START_AT + hours(1) }))
    const [duty] = schedule.duties
    const { handled } = (await duty?.run({ signal: new AbortController().signal })) ?? { handled: -1 }
    expect([handled, fired]).toEqual([0, []])
  })

  it('is read when a task is looked for: a jump needs no timer to be seen (pitfall 18)', async () => {
    await using bench = await noted({ pollMs: 60_000 })
    const { clock } = bench.test.platform
    await bench.test.advance(0)
    clock.jumpWallTo(START_AT + minutes(1))
    bench.test.worker.wake()
    await bench.test.advance(0)
    expect(bench.fired).toEqual([[minutes(1), minutes(1)]])
  })
})
