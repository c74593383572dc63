import { CoreError, minutes, seconds, sleep } from '@enablement/core'
import { createSchedule, every, type RunningTask, startWorker } from '@enablement/core/schedule'
import { execute, type SqlDatabase } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { testPlatform, withStoreClock } from '@enablement/core/testing'
import { describe, expect, it } from 'vitest'
import { type Scene, START_AT, scene } from './schedule-kit.ts'

/** A database that fails on demand, as when its server cannot be reached. */
function faulty(db: SqlDatabase): SqlDatabase & { down: boolean; units: number } {
  const link = {
    ...db,
    down: false,
    units: 0,
    run: (...args: Parameters<SqlDatabase['run']>) => {
      link.units += 1
      if (!link.down) return db.run(...args)
      const detail = { store: 'sqlite', operation: 'write' }
      return Promise.reject(new CoreError('STORE_UNAVAILABLE', 'the store is down', detail))
    }
  }
  return link as never
}

/** A second process on the same store, with a database link of its own. */
function another(
  test: Scene<'work'>,
  link: SqlDatabase,
  run: (due: RunningTask) => Promise<void> | void,
  leaseMs = 10_000
) {
  const schedule = createSchedule({
    db: link,
    platform: test.platform,
    leaseMs,
    name: 'another',
    observe: (event) => test.events.push(event),
    tasks: { work: { timeoutMs: minutes(60), run } }
  })
  return startWorker({ duties: schedule.duties, platform: test.platform, drainMs: 0 })
}

describe('the lease of a task', () => {
  it('is extended while the task runs, so that nobody else gets it', async () => {
    const begun: string[] = []
    await using test = await scene({
      leaseMs: 10_000,
      tasks: {
        work: {
          timeoutMs: minutes(60),
          run: async ({ id, signal }) => {
            begun.push(id)
            await sleep(test.platform.clock, minutes(5), { signal })
          }
        }
      }
    })
    const other = another(test, test.db, ({ id }) => void begun.push(id))
    await test.unit(() => test.schedule.put({ task: 'work', id: '1', dueAt: START_AT + 2_000 }))
    await test.advance(minutes(6))
    expect(begun).toHaveLength(1)
    expect(await test.rows()).toEqual([])
    expect(test.events).toEqual([])
    const closed = other.close()
    await test.advance(0)
    await closed
  })

  it('is lost before anybody else gets it: the task is told first (research 5, durable timers)', async () => {
    const log: [string, number][] = []
    await using test = await scene({ leaseMs: 10_000, tasks: { work: { run: () => {} } } })
    const closing = test.worker.close()
    await test.advance(0)
    await closing
    const link = faulty(test.db)
    const at = (): number => test.platform.clock.now() - START_AT
    const cutOff = another(test, link, ({ signal }) => {
      log.push(['begun', at()])
      return new Promise((_, reject) => {
        signal.addEventListener('abort', () => {
          log.push(['told', at()])
          reject(signal.reason as Error)
        })
      })
    })
    await test.unit(() => test.schedule.put({ task: 'work', id: '1', dueAt: START_AT }))
    cutOff.wake()
    await test.advance(0)
    link.down = true
    const other = another(test, test.db, () => void log.push(['begun by another', at()]))
    await test.advance(seconds(30))
    expect(log.map(([what]) => what)).toEqual(['begun', 'told', 'begun by another'])
    expect(log[1]?.[1]).toBeLessThan(10_000)
    expect(log[2]?.[1]).toBeGreaterThanOrEqual(10_000)
    expect(test.events).toContainEqual(expect.objectContaining({ type: 'task.lost', reason: 'expired' }))
    for (const worker of [cutOff, other]) {
      const closed = worker.close()
      await test.advance(seconds(10))
      await closed
    }
  })

  it('survives a store that fails for less than it lasts; the answer is repeated until it is taken', async () => {
    let done = 0
    await using test = await scene({ leaseMs: 10_000, tasks: { work: { run: () => {} } } })
    const closing = test.worker.close()
    await test.advance(0)
    await closing
    const link = faulty(test.db)
    const worker = another(test, link, async ({ signal }) => {
      await sleep(test.platform.clock, 1_000, { signal })
      done += 1
    })
    await test.unit(() => test.schedule.put({ task: 'work', id: '1', dueAt: START_AT }))
    worker.wake()
    await test.advance(500)
    link.down = true
    await test.advance(5_000)
    link.down = false
    await test.advance(seconds(60))
    expect(done).toBe(1)
    expect(await test.rows()).toEqual([])
    expect(test.events.map(({ type }) => type)).toContain('schedule.failed')
    expect(test.events.map(({ type }) => type)).not.toContain('task.lost')
    const closed = worker.close()
    await test.advance(0)
    await closed
  })

  it('is lost when the machine sleeps longer than it lasts: the task is told on waking (pitfall 4; research 5: suspend)', async () => {
    const reasons: unknown[] = []
    await using test = await scene({
      leaseMs: 10_000,
      tasks: {
        work: {
          run: ({ signal }) =>
            new Promise((_, reject) => {
              signal.addEventListener('abort', () => {
                reasons.push((signal.reason as CoreError).code)
                reject(signal.reason as Error)
              })
            })
        }
      }
    })
    await test.unit(() => test.schedule.put({ task: 'work', id: '1', dueAt: START_AT }))
    await test.advance(1_000)
    const { clock } = test.platform
    // Asleep, monotonic time stands and wall time, the store's too, goes on.
    clock.jumpWallTo(clock.now() + minutes(3))
    await test.advance(1_000)
    expect(reasons).toEqual(['LOCK_LOST'])
    expect(test.events).toContainEqual(expect.objectContaining({ type: 'task.lost', reason: 'suspended' }))
  })

  it('may come back to the same process after it was lost: then only the later claim has a say', async () => {
    const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    let begun = 0
    await using test = await scene({
      leaseMs: 10_000,
      tasks: {
        tick: {
          recurrence: every(minutes(1)),
          misfire: { policy: 'once', graceMs: 1_000 },
          run: async () => {
            begun += 1
            await gates[begun - 1]?.promise
          }
        }
      }
    })
    await test.advance(minutes(1) + 500)
    const { clock } = test.platform
    clock.jumpWallTo(clock.now() + minutes(5))
    await test.advance(5_000)
    expect(begun).toBe(2)
    gates[1]?.resolve()
    gates[0]?.resolve()
    await test.advance(0)
    const next = START_AT + minutes(7)
    expect(await test.rows()).toMatchObject([{ due_at: next, next_due_at: next, unanswered: 0 }])
    expect(test.events).toMatchObject([{ type: 'task.lost', reason: 'suspended' }])
  })

  it('is given back unused when the store took so long to grant it that it is used up', async () => {
    const begun: { attempt: number; late: boolean }[] = []
    await using test = await scene({ tasks: { work: { run: () => {} } } })
    const closing = test.worker.close()
    await test.advance(0)
    await closing
    let slow = true
    const link = {
      ...test.db,
      async run(...args: Parameters<SqlDatabase['run']>) {
        const answer = await test.db.run(...args)
        const held = (await test.rows()).some(({ unanswered }) => unanswered === 1)
        if (held && slow) {
          slow = false
          await sleep(test.platform.clock, 9_500)
        }
        return answer
      }
    }
    const tasks = ['1', '2'].map((id) => ({ task: 'work', id, dueAt: START_AT }) as const)
    await test.unit(() => test.schedule.putAll(tasks))
    const worker = another(
      test,
      link as SqlDatabase,
      ({ attempt, claimedAt }) => void begun.push({ attempt, late: claimedAt >= START_AT + 9_000 })
    )
    await test.advance(9_600)
    expect(slow).toBe(false)
    await test.advance(seconds(2))
    expect(begun).toEqual([
      { attempt: 1, late: true },
      { attempt: 1, late: true }
    ])
    const closed = worker.close()
    await test.advance(0)
    await closed
  })

  it('is not called lost when a unit has ended it that was not answered yet', async () => {
    const platform = testPlatform()
    const { clock } = platform
    const disk = sqliteDatabase({ path: ':memory:' })
    const store = withStoreClock(disk, clock)
    // The first unit is answered after 5 s and the second after 1 s more; what is asked from 3 s on, as are extensions,
    // reaches the store between the two.
    const replyMs = [5_000, 1_000]
    const db: SqlDatabase = {
      ...store,
      async run(work, options) {
        const sinceMs = clock.now() - START_AT
        if (sinceMs >= 3_000 && sinceMs < 5_000) await sleep(clock, 5_500 - sinceMs)
        let ended = 0
        const answer = await store.run(function* () {
          ended = 0
          const unit = work()
          let step = unit.next()
          while (step.done !== true) {
            const result = yield step.value
            if (step.value.text.startsWith('delete')) ended += result.rows.length
            step = unit.next(result)
          }
          return step.value
        }, options)
        if (ended > 0) await sleep(clock, replyMs.shift() ?? 0)
        return answer
      }
    }
    const units: string[] = []
    const task = (name: string) => ({
      *unit() {
        yield* execute('select 1')
        units.push(name)
      }
    })
    {
      await using test = await scene({ db, platform, leaseMs: 9_000, tasks: { a: task('a'), b: task('b') } })
      await test.unit(() =>
        test.schedule.putAll((['a', 'b'] as const).map((name) => ({ task: name, id: '1', dueAt: START_AT })))
      )
      await test.advance(8_000)
      expect(units).toEqual(['a', 'b'])
      expect(test.events).toEqual([])
      expect(await test.rows()).toEqual([])
    }
    await disk.close()
  })

  it('is given back at once, uncounted, by a worker that cuts its tasks off when it closes', async () => {
    const attempts: number[] = []
    await using test = await scene({
      tasks: {
        work: {
          run: ({ attempt, signal }) => {
            attempts.push(attempt)
            return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))
          }
        }
      }
    })
    await test.unit(() => test.schedule.put({ task: 'work', id: '1', dueAt: START_AT }))
    await test.advance(1_000)
    await test.sleepFor(0)
    await test.advance(10)
    expect(attempts).toEqual([1, 1])
    expect(test.events).toEqual([])
  })

  it('outlives the close of a worker that waits for its tasks, and they end in peace', async () => {
    let aborted = false
    await using test = await scene({ tasks: { work: { run: () => {} } } })
    const closing = test.worker.close()
    await test.advance(0)
    await closing
    const schedule = createSchedule({
      db: test.db,
      platform: test.platform,
      name: 'patient',
      leaseMs: 10_000,
      tasks: {
        work: {
          run: async ({ signal }) => {
            signal.addEventListener('abort', () => {
              aborted = true
            })
            await sleep(test.platform.clock, 25_000)
          }
        }
      }
    })
    const worker = startWorker({ duties: schedule.duties, platform: test.platform })
    const tasks = ['1', '2'].map((id) => ({ task: 'work', id, dueAt: START_AT + Number(id) * 1_000 }) as const)
    await test.unit(() => test.schedule.putAll(tasks))
    await test.advance(1_500)
    const ended = worker.close()
    await test.advance(seconds(26))
    expect(await ended).toEqual({ outcome: 'drained' })
    expect(aborted).toBe(false)
    // The second fell due while the worker was closing, and was left to others.
    expect(await test.rows()).toMatchObject([{ key: 'work/2', attempts: 0 }])
  })
})

describe('the back-pressure of a schedule', () => {
  it('claims no more than it can begin: what is beyond that is left to others (pitfall 15)', async () => {
    let most = 0
    let under = 0
    await using test = await scene({
      concurrency: 3,
      tasks: {
        work: {
          run: async () => {
            under += 1
            most = Math.max(most, under)
            await sleep(test.platform.clock, 500)
            under -= 1
          }
        }
      }
    })
    const tasks = Array.from({ length: 20 }, (_, at) => ({ task: 'work' as const, id: String(at), dueAt: START_AT }))
    await test.unit(() => test.schedule.putAll(tasks))
    await test.advance(1_200)
    expect((await test.rows()).filter(({ unanswered }) => unanswered === 1)).toHaveLength(3)
    await test.advance(seconds(5))
    expect(most).toBe(3)
    expect(await test.rows()).toEqual([])
  })

  it('spreads what has gathered during a downtime: no storm, and nothing is lost', async () => {
    const begun: number[] = []
    await using test = await scene({
      startsPerSecondMax: 10,
      tasks: { work: { run: () => void begun.push(test.platform.clock.now() - START_AT) } }
    })
    const tasks = Array.from({ length: 100 }, (_, at) => ({ task: 'work' as const, id: String(at), dueAt: START_AT }))
    await test.unit(() => test.schedule.putAll(tasks))
    await test.sleepFor(minutes(60))
    begun.length = 0
    await test.unit(() => test.schedule.putAll(tasks))
    await test.advance(seconds(15))
    expect(begun).toHaveLength(100)
    for (const at of begun) {
      const within = begun.filter((other) => other >= at && other < at + 1_000)
      // A burst of ten, and what comes in meanwhile.
      expect(within.length).toBeLessThanOrEqual(20)
    }
  })

  it('begins no more in all than it may in a second, of effects, units and what others died over together', async () => {
    let begun = 0
    await using test = await scene({
      startsPerSecondMax: 1,
      tasks: {
        work: {
          run: () => {
            begun += 1
          }
        },
        tell: {
          *unit(dues) {
            yield* execute('select 1')
            begun += dues.length
          }
        }
      }
    })
    const tasks = Array.from({ length: 60 }, (_, at) => ({
      task: at % 2 === 0 ? ('work' as const) : ('tell' as const),
      id: String(at),
      dueAt: START_AT
    }))
    await test.unit(() => test.schedule.putAll(tasks))
    await test.unit(() => execute('update schedule_tasks set unanswered = 1, attempts = 1 where substr(key, -1) < 4'))
    await test.advance(seconds(20))
    expect(begun).toBeGreaterThanOrEqual(19)
    // Of the first look each lane may have begun one.
    expect(begun).toBeLessThanOrEqual(23)
  })

  it('runs units and effects side by side, and neither starves the other', async () => {
    const done: string[] = []
    await using test = await scene({
      concurrency: 1,
      tasks: {
        work: {
          run: async () => {
            await sleep(test.platform.clock, 10_000)
            done.push('effect')
          }
        },
        tell: {
          *unit(dues) {
            yield* execute('select 1')
            for (const _ of dues) done.push('unit')
          }
        }
      }
    })
    await test.unit(() =>
      test.schedule.putAll([
        { task: 'work', id: '1', dueAt: START_AT },
        { task: 'work', id: '2', dueAt: START_AT },
        { task: 'tell', id: '1', dueAt: START_AT + 2_000 },
        { task: 'tell', id: '2', dueAt: START_AT + 3_000 }
      ])
    )
    await test.advance(seconds(30))
    expect(done).toEqual(['unit', 'unit', 'effect', 'effect'])
  })

  it('finds what others died over, and says how far behind it is, however much there is to do', async () => {
    const begun: string[] = []
    await using test = await scene({
      concurrency: 2,
      tasks: {
        work: {
          run: async ({ id }) => {
            begun.push(id)
            await sleep(test.platform.clock, 100)
          }
        }
      }
    })
    const tasks = Array.from({ length: 200 }, (_, at) => ({
      task: 'work' as const,
      id: String(at),
      dueAt: START_AT + 1_000
    }))
    await test.unit(() => test.schedule.putAll(tasks))
    await test.unit(() => execute("update schedule_tasks set unanswered = 1, attempts = 1 where key = 'work/150'"))
    await test.advance(4_000)
    expect(begun.length).toBeLessThan(80)
    expect(begun).toContain(`work/150@${START_AT + 1_000}`)
    expect(test.worker.health().duties[0]?.status?.lagMs).toBeGreaterThanOrEqual(1_900)
    await test.advance(seconds(10))
    expect(begun).toHaveLength(200)
    expect(test.worker.health().duties[0]?.status?.lagMs).toBe(0)
  })

  it.each([1, 2, 3])(
    'finds what others died over although fresh tasks take %i slots as they become free',
    async (concurrency) => {
      const begun: string[] = []
      await using test = await scene({
        concurrency,
        tasks: {
          work: {
            run: async ({ id }) => {
              begun.push(id)
              await sleep(test.platform.clock, 90 + 7 * (begun.length % 5))
            }
          }
        }
      })
      const tasks = Array.from({ length: 200 }, (_, at) => ({
        task: 'work' as const,
        id: String(at),
        dueAt: START_AT + at
      }))
      await test.unit(() => test.schedule.putAll(tasks))
      await test.unit(() => execute("update schedule_tasks set unanswered = 1, attempts = 1 where key = 'work/199'"))
      await test.advance(4_000)
      expect(begun.length).toBeLessThan(150)
      expect(begun).toContain(`work/199@${START_AT + 199}`)
    }
  )

  it('leaves tasks alone that it does not know', async () => {
    const done: string[] = []
    await using test = await scene({
      tasks: { work: { run: ({ id }) => void done.push(id) }, other: { run: () => {} } }
    })
    const closing = test.worker.close()
    await test.advance(0)
    await closing
    await test.unit(() => test.schedule.put({ task: 'other', id: '1', dueAt: START_AT }))
    await test.unit(() => test.schedule.put({ task: 'work', id: '1', dueAt: START_AT }))
    const worker = another(test, test.db, ({ id }) => void done.push(id))
    await test.advance(seconds(5))
    expect(done).toEqual([`work/1@${START_AT}`])
    expect(await test.unit(() => test.schedule.status())).toEqual([
      { task: 'other', waiting: 1, held: 0, setAside: 0, lagMs: 5_000 }
    ])
    const closed = worker.close()
    await test.advance(0)
    await closed
  })

  it('asks the store nothing while nothing is due but once every poll, and at the instant itself (pitfall 5)', async () => {
    await using test = await scene({ pollMs: 60_000, tasks: { work: { run: () => {} } } })
    const closing = test.worker.close()
    await test.advance(0)
    await closing
    const link = faulty(test.db)
    const worker = startWorker({
      platform: test.platform,
      pollMs: 60_000,
      duties: createSchedule({ db: link, platform: test.platform, tasks: { work: { run: () => {} } } }).duties
    })
    await test.unit(() => test.schedule.put({ task: 'work', id: '1', dueAt: START_AT + minutes(10) }))
    await test.advance(minutes(9))
    const before = link.units
    expect(before).toBeLessThanOrEqual(11)
    await test.advance(minutes(1))
    expect(await test.rows()).toEqual([])
    // The look that finds it, its answer, and one that finds no more.
    expect(link.units - before).toBeLessThanOrEqual(4)
    expect(test.platform.clock.pendingTimers).toBe(1)
    const closed = worker.close()
    await test.advance(0)
    await closed
    expect(test.platform.clock.pendingTimers).toBe(0)
  })
})
