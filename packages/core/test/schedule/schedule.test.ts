import { type CoreError, minutes, seconds } from '@enablement/core'
import {
  createSchedule,
  type DueTask,
  every,
  type RunningTask,
  type ScheduleOptions,
  scheduleSchema
} from '@enablement/core/schedule'
import { execute, integerOf, migrate, rows, type Sql } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { testPlatform, withStoreClock } from '@enablement/core/testing'
import { describe, expect, it } from 'vitest'
import { rewritten } from './broken-due-claims.ts'
import { START_AT, scene } from './schedule-kit.ts'

describe('a single run', () => {
  it('is begun at its instant, with an id that names the instant, and is gone when it has ended', async () => {
    const runs: { due: Omit<RunningTask, 'signal'>; at: number }[] = []
    await using test = await scene({
      pollMs: 60_000,
      tasks: {
        remind: {
          run: ({ signal, ...due }) => {
            expect(signal.aborted).toBe(false)
            runs.push({ due, at: test.platform.clock.now() - START_AT })
          }
        }
      }
    })
    const { schedule } = test
    const task = { task: 'remind', id: 'r 17/a', dueAt: START_AT + 90_500, payload: { to: 'ana' } } as const
    expect(await test.unit(() => schedule.put(task))).toEqual({ outcome: 'scheduled' })
    expect(await test.unit(() => schedule.put(task))).toEqual({ outcome: 'exists' })
    await test.advance(90_499)
    expect(runs).toEqual([])
    await test.advance(1)
    const dueAt = START_AT + 90_500
    expect(runs).toEqual([
      {
        at: 90_500,
        due: {
          id: `remind/r 17/a@${dueAt}`,
          task: 'remind',
          dueAt,
          claimedAt: dueAt,
          attempt: 1,
          fence: dueAt * 1_000,
          payload: { to: 'ana' }
        }
      }
    ])
    expect(await test.rows()).toEqual([])
    expect(test.events).toEqual([])
  })

  it('does not exist when the unit that put it was rolled back', async () => {
    await using test = await scene({ tasks: { remind: { run: () => {} } } })
    const failing = test.unit(function* () {
      yield* test.schedule.put({ task: 'remind', id: '1', dueAt: START_AT })
      throw new Error('no')
    })
    await expect(failing).rejects.toThrow('no')
    expect(await test.rows()).toEqual([])
  })

  it('is put with many others in one statement; of two of one id the first is put', async () => {
    const payloads: unknown[] = []
    await using test = await scene({ tasks: { remind: { run: ({ payload }) => void payloads.push(payload) } } })
    const put = (ids: string[]) =>
      test.unit(() =>
        test.schedule.putAll(ids.map((id, at) => ({ task: 'remind', id, dueAt: START_AT, payload: `${id}${at}` })))
      )
    expect((await put(['a', 'b', 'a', 'c'])).map(({ outcome }) => outcome)).toEqual([
      'scheduled',
      'scheduled',
      'exists',
      'scheduled'
    ])
    expect((await put(['c', 'd'])).map(({ outcome }) => outcome)).toEqual(['exists', 'scheduled'])
    expect(await put([])).toEqual([])
    await test.advance(1_000)
    expect(payloads.map(String).toSorted()).toEqual(['a0', 'b1', 'c3', 'd1'])
  })

  it('waits any length of time (pitfall 5: a delay above 2^31 - 1 ms)', async () => {
    const at: number[] = []
    await using test = await scene({
      pollMs: 86_400_000,
      tasks: { remind: { run: () => void at.push(test.platform.clock.now()) } }
    })
    const dueAt = START_AT + 2 ** 31 + 5
    await test.unit(() => test.schedule.put({ task: 'remind', id: '1', dueAt }))
    await test.unit(() => test.schedule.put({ task: 'remind', id: '2', dueAt: 8_640_000_000_000_000 }))
    await test.advance(2 ** 31 + 4)
    expect(at).toEqual([])
    await test.advance(1)
    expect(at).toEqual([dueAt])
    expect(await test.rows()).toMatchObject([{ key: 'remind/2' }])
  })

  it('is due at once when its instant has passed', async () => {
    const ids: string[] = []
    await using test = await scene({ tasks: { remind: { run: ({ id }) => void ids.push(id) } } })
    await test.unit(() => test.schedule.put({ task: 'remind', id: '1', dueAt: 5 }))
    test.worker.wake()
    await test.advance(0)
    expect(ids).toEqual(['remind/1@5'])
  })

  it('can be cancelled, and says whether it had been begun; its end then changes nothing', async () => {
    const gate = Promise.withResolvers<void>()
    await using test = await scene({ tasks: { remind: { run: () => gate.promise } } })
    const { schedule } = test
    await test.unit(() => schedule.put({ task: 'remind', id: '1', dueAt: START_AT }))
    await test.unit(() => schedule.put({ task: 'remind', id: '2', dueAt: START_AT + 5_000 }))
    await test.advance(1_000)
    const cancel = (id: string) => test.unit(() => schedule.cancel({ task: 'remind', id }))
    expect(await cancel('1')).toEqual({ outcome: 'cancelled', begun: true })
    expect(await cancel('2')).toEqual({ outcome: 'cancelled', begun: false })
    expect(await cancel('2')).toEqual({ outcome: 'absent' })
    // Put again under its id: what ends now is another one.
    await test.unit(() => schedule.put({ task: 'remind', id: '1', dueAt: START_AT + 500_000 }))
    gate.resolve()
    await test.advance(1_000)
    expect(test.events).toMatchObject([{ type: 'task.lost', reason: 'taken', id: `remind/1@${START_AT}` }])
    expect(await test.rows()).toMatchObject([{ key: 'remind/1', due_at: START_AT + 500_000 }])
  })

  it('had been begun, says its cancellation, although it was given up or given back by a worker that closed', async () => {
    await using test = await scene({
      tasks: {
        fail: {
          attemptsMax: 1,
          run: () => {
            throw new Error('no')
          }
        },
        hang: {
          run: ({ signal }) =>
            new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))
        }
      }
    })
    const { schedule } = test
    const refs = (['fail', 'hang'] as const).map((task) => ({ task, id: '1' }))
    await test.unit(() => schedule.putAll(refs.map((ref) => ({ ...ref, dueAt: START_AT }))))
    await test.advance(1_000)
    const closed = test.worker.close()
    await test.advance(0)
    await closed
    expect(await test.rows()).toMatchObject([{ attempts: 0, aside_attempts: 1 }, { attempts: 0 }])
    for (const ref of refs) {
      expect(await test.unit(() => schedule.cancel(ref))).toEqual({ outcome: 'cancelled', begun: true })
    }
  })

  it('is told by its signal that it was cancelled, when its lease would be extended', async () => {
    const reasons: unknown[] = []
    await using test = await scene({
      leaseMs: 10_000,
      tasks: {
        remind: {
          run: ({ signal }) =>
            new Promise((resolve) => {
              signal.addEventListener('abort', () => {
                reasons.push((signal.reason as CoreError).code)
                resolve()
              })
            })
        }
      }
    })
    await test.unit(() => test.schedule.put({ task: 'remind', id: '1', dueAt: START_AT }))
    await test.advance(1_000)
    await test.unit(() => test.schedule.cancel({ task: 'remind', id: '1' }))
    await test.advance(5_000)
    expect(reasons).toEqual(['LOCK_LOST'])
    expect(await test.rows()).toEqual([])
  })

  it('is refused with the path of what is wrong, and nothing is put', async () => {
    await using test = await scene({ tasks: { remind: { run: () => {} } } })
    const dueAt = START_AT
    for (const [task, path] of [
      [{ task: 'remind', id: '', dueAt }, '0.id'],
      [{ task: 'remind', id: 'x'.repeat(129), dueAt }, '0.id'],
      [{ task: 'remind', id: 'a\0', dueAt }, '0.id'],
      [{ task: 'remind', id: '\ud800', dueAt }, '0.id'],
      [{ task: 'remind', id: '1', dueAt: Number.NaN }, '0.dueAt'],
      [{ task: 'remind', id: '1', dueAt: Number.POSITIVE_INFINITY }, '0.dueAt'],
      [{ task: 'remind', id: '1', dueAt: -1 }, '0.dueAt'],
      [{ task: 'remind', id: '1', dueAt: 1.5 }, '0.dueAt'],
      [{ task: 'remind', id: '1', dueAt: 8_640_000_000_000_001 }, '0.dueAt'],
      [{ task: 'remind', id: '1', dueAT: 1 }, '0.dueAt'],
      [{ task: 'unknown', id: '1', dueAt }, 'task'],
      [{ task: 'a/b', id: '1', dueAt }, '0.task']
    ] as const) {
      await expect(test.unit(() => test.schedule.put(task as never))).rejects.toMatchObject({
        code: 'INVALID_OPTIONS',
        detail: { issues: expect.arrayContaining([expect.objectContaining({ path })]) }
      })
    }
    const payload = 'x'.repeat(65_536)
    await expect(test.unit(() => test.schedule.put({ task: 'remind', id: '1', dueAt, payload }))).rejects.toMatchObject(
      { code: 'NOT_JSON' }
    )
    expect(await test.rows()).toEqual([])
  })
})

describe('a task whose effect is a unit', () => {
  const outbox = 'create table outbox (id text primary key, body text) strict'

  it('is done and ended in one unit, all that fell due together at once and the longest due first', async () => {
    const batches: string[][] = []
    await using test = await scene({
      tasks: {
        tell: {
          *unit(dues) {
            batches.push(dues.map(({ dueAt }) => String(dueAt - START_AT)))
            for (const { id } of dues) yield* execute('insert into outbox(id) values (?)', id)
          }
        }
      }
    })
    await test.unit(() => execute(outbox))
    const tasks = [30, 10, 20].map((ms) => ({ task: 'tell', id: String(ms), dueAt: START_AT + ms }) as const)
    await test.unit(() => test.schedule.putAll(tasks))
    await test.sleepFor(5_000)
    await test.advance(0)
    expect(batches).toEqual([['10', '20', '30']])
    expect((await test.unit(() => rows('select id from outbox'))).length).toBe(3)
    expect(await test.rows()).toEqual([])
  })

  it('fails alone: the others of its batch are done, and nothing of its own unit is left', async () => {
    await using test = await scene({
      tasks: {
        tell: {
          attemptsMax: 2,
          *unit(dues) {
            for (const { id } of dues) {
              yield* execute('insert into outbox(id) values (?)', id)
              if (id.startsWith('tell/bad')) throw new TypeError('secret')
            }
          }
        }
      }
    })
    await test.unit(() => execute(outbox))
    const tasks = ['a', 'bad', 'c'].map((id) => ({ task: 'tell', id, dueAt: START_AT }) as const)
    await test.unit(() => test.schedule.putAll(tasks))
    test.worker.wake()
    await test.advance(0)
    const done = (await test.unit(() => rows('select id from outbox order by id'))).map(({ id }) => id)
    expect(done).toEqual([`tell/a@${START_AT}`, `tell/c@${START_AT}`])
    await test.advance(minutes(1))
    expect(test.events.map((event) => 'id' in event && event.id)).toEqual(
      Array.from({ length: 3 }, () => `tell/bad@${START_AT}`)
    )
    expect(await test.unit(() => test.schedule.setAside())).toMatchObject([
      { task: 'tell', id: 'bad', attempts: 2, reason: 'failed', error: 'TypeError' }
    ])
  })

  it('does nothing for one that was cancelled after it was claimed, and does the others', async () => {
    const told: string[] = []
    await using test = await scene({ tasks: { tell: { run: () => {} } } })
    const closing = test.worker.close()
    await test.advance(0)
    await closing
    let claimed = false
    const schedule = createSchedule({
      db: {
        ...test.db,
        async run(work, options) {
          const answer = await test.db.run(work, options)
          const [held] = await test.db.run(() => rows('select count(*) as n from schedule_tasks where unanswered > 0'))
          if (!claimed && held?.['n'] === 2) {
            claimed = true
            await test.db.run(() => test.schedule.cancel({ task: 'tell', id: '1' }))
          }
          return answer
        }
      },
      platform: test.platform,
      observe: (event) => test.events.push(event),
      tasks: {
        tell: {
          *unit(dues) {
            for (const { id } of dues) told.push(id)
            yield* execute('select 1')
          }
        }
      }
    })
    await test.unit(() => schedule.putAll(['1', '2'].map((id) => ({ task: 'tell', id, dueAt: START_AT }) as const)))
    await schedule.duties[0]?.run({ signal: new AbortController().signal })
    expect(claimed).toBe(true)
    expect(told).toEqual([`tell/2@${START_AT}`])
    expect(test.events).toMatchObject([{ type: 'task.lost', reason: 'taken', id: `tell/1@${START_AT}` }])
  })

  it('takes thousands that are due, in batches, most of them without a claim, and none twice', async () => {
    const platform = testPlatform()
    await using disk = sqliteDatabase({ path: ':memory:' })
    const store = withStoreClock(disk, platform.clock)
    let takes = 0
    const db = rewritten(store, (text) => {
      if (/^delete.* limit/s.test(text)) takes += 1
      return text
    })
    await migrate(db, [scheduleSchema])
    await db.run(() => execute(outbox))
    let largest = 0
    function* note(dues: readonly DueTask[]): Sql<void> {
      largest = Math.max(largest, dues.length)
      const ids = JSON.stringify(dues.map(({ id }) => [id]))
      yield* execute('insert into outbox(id) select value ->> 0 from json_each(?)', ids)
    }
    const schedule = createSchedule({
      db,
      platform,
      tasks: {
        tell: { unit: note },
        tick: { unit: note, recurrence: every(minutes(1)), misfire: { policy: 'once', graceMs: 0 } }
      }
    })
    const run = () => schedule.duties[0]?.run({ signal: new AbortController().signal })
    await run()
    // The recurrence falls due in the middle of a backlog.
    const tasks = Array.from({ length: 4_000 }, (_, at) => ({
      task: 'tell' as const,
      id: String(at),
      dueAt: START_AT + minutes(at < 2_000 ? 0 : 1) + 1
    }))
    await db.run(() => schedule.putAll(tasks))
    await platform.clock.advance(minutes(2) + 5)
    expect(await run()).toEqual({ handled: 4_001, nextDueInMs: minutes(1) - 5 })
    const [count] = await db.run(() => rows('select count(*) as n from outbox'))
    expect(integerOf(count ?? {}, 'n')).toBe(4_001)
    expect(largest).toBe(512)
    expect(takes).toBeGreaterThan(4)
    expect(await db.run(() => rows('select key, due_at from schedule_tasks'))).toEqual([
      { key: 'tick', due_at: START_AT + minutes(3) }
    ])
  })

  it('is done apart from the others when a worker died over it', async () => {
    const batches: string[][] = []
    await using test = await scene({
      tasks: {
        tell: {
          *unit(dues) {
            batches.push(dues.map(({ id }) => id))
            yield* execute('select 1')
          }
        }
      }
    })
    const tasks = ['1', '2', '3'].map((id) => ({ task: 'tell', id, dueAt: START_AT + 2_000 }) as const)
    await test.unit(() => test.schedule.putAll(tasks))
    await test.unit(() => execute("update schedule_tasks set unanswered = 1, attempts = 1 where key = 'tell/2'"))
    await test.advance(3_000)
    expect(batches.map((batch) => String(batch.length)).toSorted()).toEqual(['1', '2'])
    expect(batches).toContainEqual([`tell/2@${START_AT + 2_000}`])
  })
})

describe('a row that is damaged', () => {
  it('is set aside like a task that fails, and holds nobody else up', async () => {
    const done: string[] = []
    await using test = await scene({
      tasks: { call: { attemptsMax: 2, run: ({ id }) => void done.push(id) } }
    })
    await test.unit(function* () {
      yield* test.schedule.putAll(['1', '2', '3'].map((id) => ({ task: 'call', id, dueAt: START_AT + 2_000 }) as const))
      yield* execute("update schedule_tasks set payload = '{' where key = 'call/2'")
    })
    await test.advance(minutes(1))
    expect(done).toEqual([`call/1@${START_AT + 2_000}`, `call/3@${START_AT + 2_000}`])
    expect(await test.unit(() => test.schedule.setAside())).toMatchObject([
      { id: '2', reason: 'failed', error: 'SyntaxError' }
    ])
  })
})

describe('the options of a schedule', () => {
  const run = (): void => {}
  const recurrence = every(seconds(1))
  const misfire = { policy: 'skip', graceMs: 1_000 } as const
  it.each([
    ['no task', { tasks: {} }, 'tasks'],
    ['a task that does nothing', { tasks: { a: {} } }, 'tasks.a.run'],
    ['a task that does two things', { tasks: { a: { run, unit: run } } }, 'tasks.a.run'],
    ['a name with a slash', { tasks: { 'a/b': { run } } }, 'tasks.a/b'],
    ['a name with an at sign', { tasks: { 'a@b': { run } } }, 'tasks.a@b'],
    ['a recurrence without a misfire policy', { tasks: { a: { run, recurrence } } }, 'tasks.a.misfire'],
    ['a misfire policy without a recurrence', { tasks: { a: { run, misfire } } }, 'tasks.a.misfire'],
    [
      'a misfire policy without its grace',
      { tasks: { a: { run, recurrence, misfire: { policy: 'skip' } } } },
      'tasks.a.misfire.graceMs'
    ],
    [
      'a grace of NaN',
      { tasks: { a: { run, recurrence, misfire: { policy: 'once', graceMs: Number.NaN } } } },
      'tasks.a.misfire.graceMs'
    ],
    [
      'an unknown policy',
      { tasks: { a: { run, recurrence, misfire: { policy: 'both', graceMs: 1 } } } },
      'tasks.a.misfire.policy'
    ],
    ['a recurrence that is a number', { tasks: { a: { run, recurrence: 5, misfire } } }, 'tasks.a.recurrence'],
    ['jitter without a recurrence', { tasks: { a: { run, jitterMs: 5 } } }, 'tasks.a.jitterMs'],
    ['negative jitter', { tasks: { a: { run, recurrence, misfire, jitterMs: -1 } } }, 'tasks.a.jitterMs'],
    ['a timeout of 0', { tasks: { a: { run, timeoutMs: 0 } } }, 'tasks.a.timeoutMs'],
    ['a timeout of a unit', { tasks: { a: { unit: run, timeoutMs: 5 } } }, 'tasks.a.timeoutMs'],
    ['no attempt', { tasks: { a: { run, attemptsMax: 0 } } }, 'tasks.a.attemptsMax'],
    ['no concurrency', { tasks: { a: { run } }, concurrency: 0 }, 'concurrency'],
    ['an infinite lease', { tasks: { a: { run } }, leaseMs: Number.POSITIVE_INFINITY }, 'leaseMs'],
    ['a lease too short to extend', { tasks: { a: { run } }, leaseMs: 199 }, 'leaseMs'],
    ['no start in a second', { tasks: { a: { run } }, startsPerSecondMax: 0 }, 'startsPerSecondMax'],
    ['a misspelt option', { tasks: { a: { run } }, leaseMS: 5 }, 'leaseMS'],
    ['no database', { tasks: { a: { run } }, db: undefined }, 'db']
  ])('are refused with %s', (_what, options, path) => {
    const db = { run: () => {}, dialect: { name: 'sqlite', now: '', skipLocked: '', forUpdate: '' } }
    expect(() => createSchedule({ db, ...options } as unknown as ScheduleOptions)).toThrow(
      expect.objectContaining({
        code: 'INVALID_OPTIONS',
        detail: { subject: 'createSchedule', issues: expect.arrayContaining([expect.objectContaining({ path })]) }
      })
    )
  })

  it.each([
    [0, {}, 'periodMs'],
    [-1, {}, 'periodMs'],
    [9, {}, 'periodMs'],
    [1_000.5, {}, 'periodMs'],
    [Number.NaN, {}, 'periodMs'],
    [Number.POSITIVE_INFINITY, {}, 'periodMs'],
    [1_000, { offsetMs: 1_000 }, 'offsetMs'],
    [1_000, { offsetMs: -1 }, 'offsetMs'],
    [1_000, { offset: 1 }, 'offset']
  ])('refuse every(%s, %o)', (periodMs, options, path) => {
    expect(() => every(periodMs, options as never)).toThrow(
      expect.objectContaining({
        detail: { subject: 'every', issues: expect.arrayContaining([expect.objectContaining({ path })]) }
      })
    )
  })
})
