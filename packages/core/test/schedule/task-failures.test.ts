import { hours, minutes, seconds } from '@enablement/core'
import { createSchedule, every } from '@enablement/core/schedule'
import { execute } from '@enablement/core/sql'
import { describe, expect, it } from 'vitest'
import { START_AT, scene } from './schedule-kit.ts'

describe('a task that fails', () => {
  it('is tried again after a pause that grows, under the same id and a higher fence', async () => {
    const tries: { at: number; id: string; attempt: number; fence: number }[] = []
    await using test = await scene({
      pollMs: 60_000,
      tasks: {
        call: {
          backoff: { jitter: 'none', baseMs: 1_000, maxMs: 60_000 },
          run: ({ id, attempt, fence }) => {
            tries.push({ at: test.platform.clock.now() - START_AT, id, attempt, fence })
            if (attempt < 4) throw new Error('no')
          }
        }
      }
    })
    await test.unit(() => test.schedule.put({ task: 'call', id: '1', dueAt: START_AT }))
    await test.advance(minutes(1))
    expect(tries.map(({ at, attempt }) => [at, attempt])).toEqual([
      [0, 1],
      [1_000, 2],
      [3_000, 3],
      [7_000, 4]
    ])
    expect(new Set(tries.map(({ id }) => id))).toEqual(new Set([`call/1@${START_AT}`]))
    const fences = tries.map(({ fence }) => fence)
    expect(fences).toEqual(fences.toSorted((one, other) => one - other))
    expect(new Set(fences).size).toBe(4)
    expect(test.events.map((event) => event.type === 'task.failed' && event.retryInMs)).toEqual([1_000, 2_000, 4_000])
    expect(await test.rows()).toEqual([])
  })

  it('is set aside visibly after its last attempt, and can be revived or dropped', async () => {
    let works = false
    const ids: string[] = []
    await using test = await scene({
      pollMs: 60_000,
      tasks: {
        call: {
          attemptsMax: 3,
          backoff: { jitter: 'none', baseMs: 1_000, maxMs: 60_000 },
          run: ({ id }) => {
            ids.push(id)
            if (!works) throw new RangeError('a secret')
          }
        }
      }
    })
    const { schedule } = test
    await test.unit(() => schedule.putAll(['1', '2'].map((id) => ({ task: 'call', id, dueAt: START_AT }) as const)))
    await test.advance(minutes(2))
    expect(ids).toHaveLength(6)
    expect(await test.unit(() => schedule.setAside())).toEqual(
      ['1', '2'].map((id) => ({
        task: 'call',
        id,
        dueAt: START_AT,
        setAsideAt: expect.any(Number),
        attempts: 3,
        reason: 'failed',
        error: 'RangeError'
      }))
    )
    expect(await test.unit(() => schedule.setAside({ limit: 1 }))).toHaveLength(1)
    expect(await test.unit(() => schedule.status())).toEqual([
      { task: 'call', waiting: 0, held: 0, setAside: 2, lagMs: 0 }
    ])
    expect(test.worker.health().duties[0]?.status).toEqual({ lagMs: 0, setAside: 2 })
    expect(JSON.stringify(await test.rows())).not.toContain('secret')
    expect(test.events.filter(({ type }) => type === 'task.set-aside')).toHaveLength(2)

    works = true
    expect(await test.unit(() => schedule.put({ task: 'call', id: '1', dueAt: START_AT }))).toEqual({
      outcome: 'exists'
    })
    expect(await test.unit(() => schedule.revive({ task: 'call', id: '1' }))).toEqual({ outcome: 'revived' })
    expect(await test.unit(() => schedule.revive({ task: 'call', id: '3' }))).toEqual({ outcome: 'absent' })
    expect(await test.unit(() => schedule.drop({ task: 'call', id: '2' }))).toEqual({ outcome: 'dropped' })
    expect(await test.unit(() => schedule.drop({ task: 'call', id: '2' }))).toEqual({ outcome: 'absent' })
    await test.advance(minutes(2))
    expect(ids.slice(6)).toEqual([`call/1@${START_AT}`])
    expect(await test.rows()).toEqual([])
    expect(test.worker.health().duties[0]?.status).toEqual({ lagMs: 0, setAside: 0 })
  })

  it('does not stop its recurrence: the instant is set aside, the next one is fired', async () => {
    const fired: number[] = []
    await using test = await scene({
      pollMs: 60_000,
      tasks: {
        report: {
          recurrence: every(minutes(10)),
          misfire: { policy: 'skip', graceMs: seconds(5) },
          attemptsMax: 2,
          run: ({ dueAt }) => {
            fired.push((dueAt - START_AT) / minutes(1))
            if (fired.length <= 2) throw new Error('no')
          }
        }
      }
    })
    const { schedule } = test
    await test.advance(minutes(21))
    expect(fired).toEqual([10, 10, 20])
    expect(await test.unit(() => schedule.setAside())).toMatchObject([
      { task: 'report', id: undefined, dueAt: START_AT + minutes(10) }
    ])
    // Revived, the instant is fired again, and the recurrence goes on where it was.
    expect(await test.unit(() => schedule.revive({ task: 'report' }))).toEqual({ outcome: 'revived' })
    await test.advance(minutes(20))
    expect(fired.slice(3)).toContain(30)
    expect(await test.unit(() => schedule.setAside())).toEqual([])
    expect(await test.unit(() => schedule.drop({ task: 'report' }))).toEqual({ outcome: 'absent' })
  })

  it.each([
    ['skip', { policy: 'skip', graceMs: minutes(30) }],
    ['skip, long after', { policy: 'skip', graceMs: seconds(5) }],
    ['once', { policy: 'once', graceMs: seconds(5) }],
    ['all', { policy: 'all', catchUpMs: hours(24) }]
  ] as const)(
    'is fired again when it is revived, and nothing else of its recurrence under %s',
    async (_name, misfire) => {
      const fired: number[] = []
      await using test = await scene({
        pollMs: 60_000,
        tasks: {
          report: {
            recurrence: every(minutes(10)),
            misfire,
            attemptsMax: 1,
            run: ({ dueAt }) => {
              fired.push((dueAt - START_AT) / minutes(1))
              if (fired.length <= 1) throw new Error('no')
            }
          }
        }
      })
      await test.advance(minutes(41))
      expect(fired).toEqual([10, 20, 30, 40])
      expect(await test.unit(() => test.schedule.revive({ task: 'report' }))).toEqual({ outcome: 'revived' })
      await test.advance(minutes(30))
      expect(fired).toEqual([10, 20, 30, 40, 10, 50, 60, 70])
      expect(test.events.filter(({ type }) => type === 'task.missed')).toEqual([])
    }
  )

  it('is fired again when it is revived, although it was the last of its recurrence', async () => {
    const fired: number[] = []
    const last = START_AT + minutes(10)
    await using test = await scene({
      tasks: {
        report: {
          recurrence: { rule: 'once', next: (after) => (after < last ? last : undefined) },
          misfire: { policy: 'skip', graceMs: seconds(5) },
          attemptsMax: 1,
          run: ({ dueAt }) => {
            fired.push(dueAt)
            if (fired.length <= 1) throw new Error('no')
          }
        }
      }
    })
    await test.advance(minutes(20))
    expect(await test.unit(() => test.schedule.revive({ task: 'report' }))).toEqual({ outcome: 'revived' })
    await test.advance(minutes(1))
    expect(fired).toEqual([last, last])
    expect(await test.rows()).toEqual([])
  })

  it('holds nobody else up', async () => {
    const done: string[] = []
    await using test = await scene({
      concurrency: 2,
      tasks: {
        call: {
          run: ({ payload, id }) => {
            if (payload === 'bad') throw new Error('no')
            done.push(id)
          }
        }
      }
    })
    const tasks = Array.from({ length: 40 }, (_, at) => ({
      task: 'call' as const,
      id: String(at),
      dueAt: START_AT + at,
      payload: at % 3 === 0 ? 'bad' : 'good'
    }))
    await test.unit(() => test.schedule.putAll(tasks))
    await test.advance(seconds(1))
    await test.advance(0)
    expect(done).toHaveLength(26)
  })

  it('is told that its time is over, and fails with that', async () => {
    const reasons: unknown[] = []
    await using test = await scene({
      tasks: {
        call: {
          timeoutMs: 5_000,
          attemptsMax: 1,
          run: ({ signal }) =>
            new Promise((_, reject) => {
              signal.addEventListener('abort', () => {
                reasons.push(test.platform.clock.now() - START_AT)
                reject(signal.reason as Error)
              })
            })
        }
      }
    })
    await test.unit(() => test.schedule.put({ task: 'call', id: '1', dueAt: START_AT }))
    await test.advance(seconds(10))
    expect(reasons).toEqual([5_000])
    expect(await test.unit(() => test.schedule.setAside())).toMatchObject([{ error: 'CoreError TIMED_OUT' }])
  })

  it('never ends: its lease runs out, and after its attempts it is set aside as what kills or hangs its workers', async () => {
    let begun = 0
    await using test = await scene({
      leaseMs: 10_000,
      concurrency: 8,
      tasks: {
        call: {
          timeoutMs: 1_000,
          attemptsMax: 3,
          run: () => {
            begun += 1
            return new Promise<void>(() => {})
          }
        }
      }
    })
    await test.unit(() => test.schedule.put({ task: 'call', id: '1', dueAt: START_AT }))
    await test.advance(seconds(60))
    expect(begun).toBe(3)
    expect(test.events.filter((event) => event.type === 'task.lost' && event.reason === 'expired')).toHaveLength(3)
    expect(await test.unit(() => test.schedule.setAside())).toMatchObject([
      { reason: 'died', attempts: 3, error: undefined }
    ])
  })
})

describe('a task that kills its worker', () => {
  /** A process that dies over some tasks: its runs never end, and what it held is left to the leases. */
  it('is set aside after its attempts, and takes no innocent one with it', async () => {
    const done = new Set<string>()
    const deaths: string[] = []
    let dead = false
    const definition = {
      attemptsMax: 3,
      backoff: { jitter: 'none', baseMs: 1_000, maxMs: 1_000 } as const,
      run: ({ payload, id }: { payload: unknown; id: string }): Promise<void> | void => {
        if (dead) return new Promise<void>(() => {})
        if (payload === 'killer') {
          dead = true
          deaths.push(id)
          return new Promise<void>(() => {})
        }
        // Ends a little later, so that it is under way when a killer strikes.
        return Promise.resolve().then(async () => {
          await new Promise((resolve) => setImmediate(resolve))
          if (dead) await new Promise<void>(() => {})
          done.add(id)
        })
      }
    }
    const { scheduleSchema } = await import('@enablement/core/schedule')
    const { migrate } = await import('@enablement/core/sql')
    const { sqliteDatabase } = await import('@enablement/core/sqlite')
    const { crashPoints, testPlatform, withStoreClock } = await import('@enablement/core/testing')
    const platform = testPlatform()
    await using disk = sqliteDatabase({ path: ':memory:' })
    const store = withStoreClock(disk, platform.clock)
    await migrate(store, [scheduleSchema])
    const put = createSchedule({ db: store, platform, tasks: { call: definition } })
    const tasks = Array.from({ length: 40 }, (_, at) => ({
      task: 'call' as const,
      id: String(at),
      dueAt: START_AT,
      payload: at === 5 || at === 23 ? 'killer' : 'good'
    }))
    await store.run(() => put.putAll(tasks))
    let processes = 0
    for (; processes < 40; processes += 1) {
      dead = false
      // Its database hears nothing more of a process that is dead.
      const link = crashPoints(store, { at: Number.MAX_SAFE_INTEGER })
      const schedule = createSchedule({
        db: { ...link, run: (work, options) => (dead ? new Promise(() => {}) : link.run(work, options)) },
        platform,
        leaseMs: 10_000,
        tasks: { call: definition }
      })
      const stop = new AbortController()
      void schedule.duties[0]?.run({ signal: stop.signal })
      await platform.clock.advance(3_000)
      stop.abort()
      await platform.clock.advance(12_000)
      const left = await store.run(() => put.status())
      if (left.every(({ waiting, held }) => waiting + held === 0)) break
    }
    expect(done.size).toBe(38)
    const aside = await store.run(() => put.setAside())
    expect(aside.map(({ id, reason }) => `${id} ${reason}`).toSorted()).toEqual(['23 died', '5 died'])
    expect(deaths).toHaveLength(6)
    expect(processes).toBeLessThan(12)
  })

  it('is a suspect from then on, as are its neighbours: of those a process does one at a time', async () => {
    const begun: string[] = []
    await using test = await scene({
      leaseMs: 10_000,
      tasks: {
        call: {
          run: ({ id, attempt }) => {
            if (attempt > 1 || id.startsWith('call/fresh')) begun.push(id)
            return new Promise<void>(() => {})
          },
          timeoutMs: minutes(10)
        }
      }
    })
    const dead = createSchedule({
      db: test.db,
      platform: test.platform,
      leaseMs: 10_000,
      tasks: { call: { run: () => new Promise<void>(() => {}) } }
    })
    const closing = test.worker.close()
    await test.advance(0)
    await closing
    await test.unit(() => dead.putAll(['1', '2', '3'].map((id) => ({ task: 'call', id, dueAt: START_AT }) as const)))
    await test.unit(() =>
      execute('update schedule_tasks set next_due_at = ?, fence = 1, attempts = 1, unanswered = 1', START_AT + 10_000)
    )
    await test.sleepFor(seconds(10))
    await test.unit(() => dead.put({ task: 'call', id: 'fresh', dueAt: START_AT }))
    await test.advance(seconds(60))
    expect(begun).toHaveLength(2)
    expect(begun).toContain(`call/fresh@${START_AT}`)
  })

  it('is found by its deaths although a backlog is cleared without claims', async () => {
    const { scheduleSchema } = await import('@enablement/core/schedule')
    const { migrate, rows, integerOf } = await import('@enablement/core/sql')
    const { sqliteDatabase } = await import('@enablement/core/sqlite')
    const { testPlatform, withStoreClock } = await import('@enablement/core/testing')
    const platform = testPlatform()
    await using disk = sqliteDatabase({ path: ':memory:' })
    const store = withStoreClock(disk, platform.clock)
    await migrate(store, [scheduleSchema])
    await store.run(() => execute('create table done (id text primary key) strict'))
    /** Thrown out of a unit in place of the death of its process: the unit is rolled back, and nothing follows. */
    const death = new Error('dead')
    const make = () => {
      let dead = false
      const schedule = createSchedule({
        db: {
          ...store,
          run: (work, options) =>
            dead
              ? new Promise(() => {})
              : store.run(work, options).catch((error: unknown) => {
                  if (error !== death) throw error
                  dead = true
                  return new Promise(() => {})
                })
        },
        platform,
        leaseMs: 10_000,
        tasks: {
          tell: {
            attemptsMax: 2,
            *unit(dues) {
              for (const { id, payload } of dues) {
                if (payload === 'killer') throw death
                yield* execute('insert into done(id) values (?)', id)
              }
            }
          }
        }
      })
      return schedule
    }
    const tasks = Array.from({ length: 2_500 }, (_, at) => ({
      task: 'tell' as const,
      id: String(at),
      dueAt: START_AT + at,
      payload: at === 1_300 ? 'killer' : 'good'
    }))
    await store.run(() => make().putAll(tasks))
    await platform.clock.advance(3_000)
    let processes = 0
    for (; processes < 20; processes += 1) {
      const stop = new AbortController()
      void make().duties[0]?.run({ signal: stop.signal })
      await platform.clock.advance(3_000)
      stop.abort()
      await platform.clock.advance(12_000)
      const left = await store.run(() => make().status())
      if (left.every(({ waiting, held }) => waiting + held === 0)) break
    }
    const [count] = await store.run(() => rows('select count(*) as n from done'))
    expect(integerOf(count ?? {}, 'n')).toBe(2_499)
    expect(await store.run(() => make().setAside())).toMatchObject([{ id: '1300', reason: 'died', attempts: 2 }])
    expect(processes).toBeLessThan(10)
  })
})
