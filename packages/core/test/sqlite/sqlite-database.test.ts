import { mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { CoreError } from '@enablement/core'
import { execute, firstRow, integerOf, rows, type SqlDatabase } from '@enablement/core/sql'
import { type SqliteOptions, sqliteDatabase } from '@enablement/core/sqlite'
import { testPlatform } from '@enablement/core/testing'
import { beforeEach, describe, expect, it } from 'vitest'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'enablement-sqlite-'))
  return () => rmSync(folder, { recursive: true })
})

const file = (name: string): string => join(folder, name)

const notes = 'create table notes (id integer primary key, body text) strict'
const add = (id: number) => execute('insert into notes(id) values (?)', id)

async function ids(db: SqlDatabase): Promise<number[]> {
  const found = await db.run(() => rows('select id from notes order by id'))
  return found.map((row) => integerOf(row, 'id'))
}

/** What `open` throws, or the first unit on what it opened. */
async function refusal(options: SqliteOptions): Promise<CoreError> {
  try {
    await using db = sqliteDatabase(options)
    await db.run(() => rows('select * from notes'))
  } catch (error) {
    return error as CoreError
  }
  throw new Error('was not refused')
}

describe('opening a SQLite file', () => {
  it('makes it, and finds what it held', async () => {
    {
      await using db = sqliteDatabase({ path: file('new.db') })
      await db.run(() => execute(notes))
      await db.run(() => add(1))
    }
    await using db = sqliteDatabase({ path: file('new.db') })
    expect(await ids(db)).toEqual([1])
  })

  it('says what committed units survive', async () => {
    const durable = async (options: SqliteOptions) => {
      await using db = sqliteDatabase(options)
      const row = await db.run(() => firstRow('pragma synchronous'))
      return [db.supports.durable, row?.['synchronous']]
    }
    expect(await durable({ path: file('a.db') })).toEqual(['power-loss', 2])
    expect(await durable({ path: file('b.db'), durability: 'process' })).toEqual(['process', 1])
    expect((await durable({ path: ':memory:' }))[0]).toBe('none')
    expect((await durable({ path: 'file:shared?mode=memory' }))[0]).toBe('none')
  })

  it('refuses a folder that does not exist, naming the file and no folder', async () => {
    const error = await refusal({ path: file('customer-acme/missing/agent.db') })
    expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE', detail: { store: 'sqlite', operation: 'open agent.db' } })
    expect(error.message).toMatch(/folder must exist/)
    expect(JSON.stringify(error)).not.toContain('acme')
  })

  it('refuses a folder in the place of the file', async () => {
    mkdirSync(file('folder.db'))
    expect(await refusal({ path: file('folder.db') })).toMatchObject({ code: 'STORE_UNAVAILABLE' })
  })

  it.each([
    ['text', Buffer.from('This is not a database. '.repeat(100))],
    ['a few bytes', Buffer.from('abc')],
    ['zeros', Buffer.alloc(8_192)]
  ])('refuses a file that holds %s, and leaves it alone', async (_, bytes) => {
    writeFileSync(file('foreign.db'), bytes)
    expect(await refusal({ path: file('foreign.db') })).toMatchObject({
      code: 'STORE_DAMAGED',
      detail: { store: 'sqlite', reason: 'the file is not a SQLite database' }
    })
    expect(readFileSync(file('foreign.db')).equals(bytes)).toBe(true)
  })

  it.each([
    ['overwritten pages', (path: string) => writeFileSync(path, readFileSync(path).fill(0xff, 4_096))],
    ['missing pages', (path: string) => truncateSync(path, 8_192)]
  ])('reports %s to the unit that meets them', async (_, damage) => {
    {
      await using db = sqliteDatabase({ path: file('damaged.db') })
      await db.run(() => execute(notes))
      await db.run(function* () {
        for (let id = 0; id < 2_000; id++) yield* execute('insert into notes values (?, ?)', id, 'x'.repeat(100))
      })
    }
    damage(file('damaged.db'))
    expect(await refusal({ path: file('damaged.db') })).toMatchObject({
      code: 'STORE_DAMAGED',
      detail: { store: 'sqlite', reason: 'the file is damaged' }
    })
  })

  it.each([
    [{}, 'path'],
    [{ path: '' }, 'path'],
    [{ path: 'a\0b' }, 'path'],
    [{ path: ':memory:', durability: 'maybe' }, 'durability'],
    [{ path: ':memory:', queueMax: 0 }, 'queueMax'],
    [{ path: ':memory:', sync: 'off' }, 'sync']
  ])('refuses the options %j', (options, path) => {
    expect(() => sqliteDatabase(options as never)).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTIONS', message: expect.stringContaining(path) })
    )
  })
})

describe('units on a SQLite file that another process has locked', () => {
  const platform = testPlatform({ now: 1_760_000_000_000 })

  /** Another connection to the file of `db`, which holds the write lock. */
  const lockedBeside = async (db: SqlDatabase): Promise<DatabaseSync> => {
    await db.run(() => execute(notes))
    const other = new DatabaseSync(file('locked.db'))
    other.exec('begin immediate')
    return other
  }

  it('wait without blocking, and run when the lock is free', async () => {
    await using db = sqliteDatabase({ path: file('locked.db'), platform })
    const other = await lockedBeside(db)
    const units = Promise.all([db.run(() => add(1)), db.run(() => add(2))])
    await new Promise(setImmediate)
    for (let waited = 0; waited < 4_000; waited += 100) await platform.clock.advance(100)
    other.exec('insert into notes(id) values (3); commit')
    await platform.clock.advance(20)
    await units
    expect(await ids(db)).toEqual([1, 2, 3])
    other.close()
  })

  it('are refused when it stays locked, without an effect', async () => {
    await using db = sqliteDatabase({ path: file('locked.db'), platform })
    const other = await lockedBeside(db)
    const units = Promise.allSettled([db.run(() => add(1)), db.run(() => add(2))])
    await new Promise(setImmediate)
    for (let waited = 0; waited < 6_000; waited += 100) await platform.clock.advance(100)
    for (const unit of await units) {
      expect(unit).toMatchObject({
        reason: { code: 'STORE_UNAVAILABLE', detail: { store: 'sqlite', operation: 'begin a transaction' } }
      })
    }
    other.exec('rollback')
    other.close()
    await db.run(() => add(3))
    expect(await ids(db)).toEqual([3])
  })

  it('can be called off while they wait', async () => {
    await using db = sqliteDatabase({ path: file('locked.db'), platform })
    const other = await lockedBeside(db)
    const controller = new AbortController()
    const called = db.run(() => add(1), { signal: controller.signal })
    const unit = db.run(() => add(2))
    await new Promise(setImmediate)
    const reason = new Error('no longer wanted')
    controller.abort(reason)
    await expect(called).rejects.toBe(reason)
    other.exec('rollback')
    other.close()
    await platform.clock.advance(20)
    await unit
    expect(await ids(db)).toEqual([2])
  })

  it('wait as long as ever after one that was called off', async () => {
    await using db = sqliteDatabase({ path: file('locked.db'), platform })
    const other = await lockedBeside(db)
    const controller = new AbortController()
    const called = db.run(() => add(1), { signal: controller.signal })
    await new Promise(setImmediate)
    controller.abort(new Error('no longer wanted'))
    await expect(called).rejects.toThrow('no longer wanted')
    await platform.clock.advance(60_000)
    const unit = db.run(() => add(2))
    await platform.clock.advance(100)
    other.exec('rollback')
    other.close()
    await platform.clock.advance(20)
    await unit
    expect(await ids(db)).toEqual([2])
  })
})

describe('group commit on SQLite', () => {
  it('gives the event loop a turn between batches', async () => {
    await using db = sqliteDatabase({ path: ':memory:', platform: testPlatform() })
    await db.run(() => execute(notes))
    let done = 0
    const doneAtTurns: number[] = []
    const units = Array.from({ length: 600 }, (_, id) => db.run(() => add(id)).then(() => (done += 1)))
    while (done < 600) {
      await new Promise(setImmediate)
      doneAtTurns.push(done)
    }
    await Promise.all(units)
    // The virtual clock stands still, so only the bound of 256 units ends a batch.
    expect([...new Set(doneAtTurns)].filter((count) => count > 0)).toEqual([256, 512, 600])
  })

  it('ends a batch that has taken 5 ms', async () => {
    const platform = testPlatform()
    let clockMs = 0
    const clock = { ...platform.clock, monotonic: () => (clockMs += 1) }
    await using db = sqliteDatabase({ path: ':memory:', platform: { ...platform, clock } })
    let done = 0
    const units = Array.from({ length: 20 }, () => db.run(function* () {}).then(() => (done += 1)))
    await new Promise(setImmediate)
    expect(done).toBeGreaterThan(0)
    expect(done).toBeLessThan(8)
    await Promise.all(units)
  })

  it('takes a bounded number of units', async () => {
    await using db = sqliteDatabase({ path: ':memory:', queueMax: 3 })
    await db.run(() => execute(notes))
    const units = [1, 2, 3, 4].map((id) => db.run(() => add(id)))
    await expect(units[3]).rejects.toMatchObject({
      code: 'OVERLOADED',
      detail: { what: 'sqlite', waiting: 3, limit: 3 }
    })
    await Promise.all(units.slice(0, 3))
    await db.run(() => add(4))
    expect(await ids(db)).toEqual([1, 2, 3, 4])
  })

  it('leaves no listener on the signals of units, whatever became of them', async () => {
    await using db = sqliteDatabase({ path: ':memory:' })
    await db.run(() => execute(notes))
    const { signal } = new AbortController()
    let listeners = 0
    const counted = new Proxy(signal, {
      get(target, key) {
        const value: unknown = Reflect.get(target, key)
        if (typeof value !== 'function') return value
        return (...given: unknown[]) => {
          if (key === 'addEventListener') listeners += 1
          if (key === 'removeEventListener') listeners -= 1
          return (value as (...all: unknown[]) => unknown).apply(target, given)
        }
      }
    })
    await db.run(() => add(1), { signal: counted })
    await expect(db.run(() => add(1), { signal: counted })).rejects.toMatchObject({ code: 'CONSTRAINT_VIOLATED' })
    expect(listeners).toBe(0)
  })

  it('runs units alone when a batch breaks a deferred constraint, and counts their signals no more', async () => {
    await using db = sqliteDatabase({ path: ':memory:' })
    await db.run(() => execute(notes))
    await db.run(() =>
      execute('create table links (note integer references notes (id) deferrable initially deferred) strict')
    )
    const controller = new AbortController()
    let runs = 0
    const good = db.run(
      function* () {
        runs += 1
        yield* add(1)
        if (runs === 2) controller.abort(new Error('too late'))
      },
      { signal: controller.signal }
    )
    const bad = db.run(() => execute('insert into links values (?)', 99))
    await expect(bad).rejects.toMatchObject({ code: 'CONSTRAINT_VIOLATED' })
    await good
    expect(runs).toBe(2)
    expect(await ids(db)).toEqual([1])
  })

  it('lets no unit fail for what another one did that was never committed', async () => {
    await using db = sqliteDatabase({ path: ':memory:' })
    await db.run(() => execute(notes))
    await db.run(() =>
      execute('create table links (note integer references notes (id) deferrable initially deferred) strict')
    )
    const bad = db.run(function* () {
      yield* add(5)
      yield* execute('insert into links values (?)', 99)
    })
    const careful = db.run(function* () {
      if ((yield* firstRow('select id from notes where id = ?', 5)) !== undefined) throw new Error('5 is taken')
      yield* add(6)
    })
    await expect(bad).rejects.toMatchObject({ code: 'CONSTRAINT_VIOLATED' })
    await careful
    expect(await ids(db)).toEqual([6])
  })

  it('refuses every unit of a batch that lost its transaction, and only those', async () => {
    await using db = sqliteDatabase({ path: ':memory:' })
    await db.run(() => execute(notes))
    await db.run(() =>
      execute("create trigger undo before insert on notes when new.id = 13 begin select raise(rollback, 'undone'); end")
    )
    const units = await Promise.allSettled([11, 12, 13, 14].map((id) => db.run(() => add(id))))
    expect(units.map((unit) => (unit.status === 'fulfilled' ? 'kept' : (unit.reason as CoreError).code))).toEqual([
      'STORE_UNAVAILABLE',
      'STORE_UNAVAILABLE',
      'CONSTRAINT_VIOLATED',
      'kept'
    ])
    expect(await ids(db)).toEqual([14])
  })

  it('lets a unit that lost its transaction run nothing more', async () => {
    await using db = sqliteDatabase({ path: ':memory:' })
    await db.run(() => execute(notes))
    await db.run(() =>
      execute("create trigger undo before insert on notes when new.id = 13 begin select raise(rollback, 'undone'); end")
    )
    const unit = db.run(function* () {
      try {
        yield* add(13)
      } finally {
        yield* add(1)
      }
    })
    await expect(unit).rejects.toMatchObject({ code: 'CONSTRAINT_VIOLATED' })
    expect(await ids(db)).toEqual([])
  })
})

describe('statements on SQLite', () => {
  it('stay within their cache however many texts there are', async () => {
    await using db = sqliteDatabase({ path: ':memory:' })
    const sum = await db.run(function* () {
      let total = 0
      for (let text = 0; text < 1_500; text++) {
        const row = yield* firstRow(`select ${text} + ? as n`, 1)
        total += integerOf(row ?? {}, 'n')
      }
      return total
    })
    expect(sum).toBe((1_499 * 1_500) / 2 + 1_500)
  })

  it('end when a unit does not, and leave nothing of it', async () => {
    await using db = sqliteDatabase({ path: ':memory:' })
    await db.run(() => execute(notes))
    const endless = db.run(function* () {
      yield* add(1)
      for (;;) yield* rows('select 1')
    })
    await expect(endless).rejects.toMatchObject({ code: 'STATEMENT_FAILED', message: expect.stringMatching(/100000/) })
    expect(await ids(db)).toEqual([])
  })

  it('allow semicolons in triggers', async () => {
    await using db = sqliteDatabase({ path: ':memory:' })
    await db.run(() => execute(notes))
    await db.run(() =>
      execute(
        "create trigger copy after insert on notes begin update notes set body = 'a;b' where id = new.id; delete from notes where id < 0; end"
      )
    )
    await db.run(() => add(1))
    expect(await db.run(() => firstRow('select body from notes'))).toEqual({ body: 'a;b' })
  })

  it('count their own changes, and not those of the statement before', async () => {
    await using db = sqliteDatabase({ path: ':memory:' })
    const result = await db.run(function* () {
      yield* execute(notes)
      yield* execute('insert into notes(id) values (1), (2), (3)')
      return (yield* execute('create index by_body on notes (body)')).changes
    })
    expect(result).toBe(0)
  })
})
