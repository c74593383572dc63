import assert from 'node:assert/strict'
import type { Sql } from '../../sql/sql-database.ts'
import { changes, execute, firstRow, integerOf, rows } from '../../sql/statement.ts'
import { type Case, ids, insert, withDatabase, withTables } from './case.ts'

/** What a unit does, and what becomes of it. */
export const outcomes: readonly Case[] = [
  withTables('keeps what a unit did, and gives what it returned', async (db) => {
    const given = await db.run(function* () {
      yield* insert(1)
      yield* insert(2)
      return 'done'
    })
    assert.equal(given, 'done')
    assert.deepEqual(await ids(db), [1, 2])
    assert.equal(await db.run(function* () {}), undefined)
  }),
  withTables('undoes all of a unit that throws, and throws what it threw', async (db) => {
    const reason = new Error('changed my mind')
    const unit = db.run(function* () {
      yield* insert(1)
      throw reason
    })
    await assert.rejects(unit, (error) => error === reason)
    assert.deepEqual(await ids(db), [])
  }),
  withTables('undoes a unit that throws among many that run at the same time, and nothing else', async (db) => {
    const units = Array.from({ length: 40 }, (_, id) =>
      db.run(function* () {
        yield* insert(id)
        if (id % 3 === 0) throw new Error(`unit ${id}`)
        return id
      })
    )
    const settled = await Promise.allSettled(units)
    const kept = Array.from({ length: 40 }, (_, id) => id).filter((id) => id % 3 !== 0)
    assert.deepEqual(
      settled.flatMap((unit) => (unit.status === 'fulfilled' ? [unit.value] : [])),
      kept
    )
    assert.deepEqual(await ids(db), kept)
  }),
  withTables('shows a unit its own writes, and later units what was committed', async (db) => {
    const seen = await db.run(function* () {
      yield* insert(1, 10)
      return yield* firstRow('select amount from samples where id = ?', 1)
    })
    assert.equal(seen?.['amount'], 10)
    const later = await db.run(() => firstRow('select amount from samples where id = ?', 1))
    assert.equal(later?.['amount'], 10)
    assert.equal(await db.run(() => firstRow('select amount from samples where id = ?', 2)), undefined)
  }),
  withTables('composes parts with yield*', async (db) => {
    function* twice(id: number): Sql<number> {
      yield* insert(id, 1)
      return yield* changes('update samples set amount = amount * 2 where id = ?', id)
    }
    const total = await db.run(function* () {
      return (yield* twice(1)) + (yield* twice(2))
    })
    assert.equal(total, 2)
    const found = await db.run(() => rows('select amount from samples order by id'))
    assert.deepEqual(
      found.map((row) => row['amount']),
      [2, 2]
    )
  }),
  withTables('loses no update when many units add to one row', async (db) => {
    await db.run(() => insert(1, 0))
    const add = (): Promise<void> =>
      db.run(function* () {
        const row = yield* firstRow(`select amount from samples where id = ?${db.dialect.forUpdate}`, 1)
        yield* execute('update samples set amount = ? where id = ?', Number(row?.['amount']) + 1, 1)
      })
    await Promise.all(Array.from({ length: 64 }, add))
    const row = await db.run(() => firstRow('select amount from samples where id = ?', 1))
    assert.equal(row?.['amount'], 64)
  }),
  withTables('gives each row to one of the units that take rows nobody else has', async (db) => {
    await db.run(function* () {
      for (let id = 0; id < 12; id++) yield* insert(id, 0)
    })
    const take = (): Promise<number[]> =>
      db.run(function* () {
        const free = yield* rows(`select id from samples where amount = 0 order by id limit 4${db.dialect.skipLocked}`)
        for (const row of free) yield* execute('update samples set amount = 1 where id = ?', integerOf(row, 'id'))
        return free.map((row) => integerOf(row, 'id'))
      })
    const taken: number[] = []
    for (let round = 0; taken.length < 12 && round < 12; round++) {
      taken.push(...(await Promise.all([take(), take(), take()])).flat())
    }
    assert.deepEqual(
      taken.toSorted((one, other) => one - other),
      Array.from({ length: 12 }, (_, id) => id)
    )
  }),
  withDatabase('tells the time of its own clock in whole milliseconds', async (db) => {
    const row = await db.run(() => firstRow(`select ${db.dialect.now} as now`))
    const now = integerOf(row ?? {}, 'now')
    // Between 2020 and 2100: in milliseconds, and neither in seconds nor in microseconds.
    assert.ok(now > 1_577_836_800_000 && now < 4_102_444_800_000, `${now}`)
  })
]
