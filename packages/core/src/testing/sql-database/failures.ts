import assert from 'node:assert/strict'
import { inspect } from 'node:util'
import type { CoreErrorTable } from '../../failure/core-error.ts'
import type { Sql, SqlValue } from '../../sql/sql-database.ts'
import { execute, rows } from '../../sql/statement.ts'
import { type Case, failure, ids, insert, withDatabase, withTables } from './case.ts'

/** Stands for a customer's secret in values: no error may repeat it. */
const SECRET = 'hunter2-correct-horse'

/** What is thrown, and what it leaves. */
export const failures: readonly Case[] = [
  withTables('says which constraint was violated, and undoes the unit', async (db) => {
    await db.run(() => execute('insert into parents(name, age) values (?, ?)', 'ann', 40))
    const violations: [string, ...SqlValue[]][] = [
      ['insert into parents(name, age) values (?, ?)', 'ann', 41],
      ['insert into parents(name, age) values (?, ?)', 'bob', -1],
      ['insert into parents(name, age) values (?, ?)', 'bob', null],
      ['insert into children(name, parent) values (?, ?)', 'cid', 'zoe']
    ]
    for (const [text, ...given] of violations) {
      const error = await failure(
        db.run(function* () {
          yield* insert(1)
          yield* execute(text, ...given)
        }),
        'CONSTRAINT_VIOLATED'
      )
      assert.ok(error.detail.constraint.length > 0)
    }
    assert.deepEqual(await ids(db), [])
  }),
  withTables('checks a deferred constraint at the end of the unit, and undoes no other unit for it', async (db) => {
    const promise = (name: string, parent: string): Sql<unknown> =>
      execute('insert into promises(name, parent) values (?, ?)', name, parent)
    await db.run(function* () {
      yield* promise('early', 'ann')
      yield* execute('insert into parents(name, age) values (?, ?)', 'ann', 40)
    })
    const good = Array.from({ length: 6 }, (_, id) => db.run(() => insert(id)))
    const bad = db.run(() => promise('broken', 'zoe'))
    const late = Array.from({ length: 6 }, (_, id) => db.run(() => insert(id + 6)))
    await failure(bad, 'CONSTRAINT_VIOLATED')
    await Promise.all([...good, ...late])
    assert.equal((await ids(db)).length, 12)
    const kept = await db.run(() => rows('select name from promises'))
    assert.deepEqual(
      kept.map((row) => row['name']),
      ['early']
    )
  }),
  withTables('says which statement was wrong, and undoes the unit', async (db) => {
    const wrong = ['selec 1', 'select nothing from samples', 'insert into samples(id) values (1, 2)', '', '-- nothing']
    for (const text of wrong) {
      const error = await failure(
        db.run(function* () {
          yield* insert(1)
          yield* execute(text)
        }),
        'STATEMENT_FAILED'
      )
      assert.equal(error.detail.statement, text)
    }
    assert.deepEqual(await ids(db), [])
  }),
  withTables('points to migrate where a table is missing', async (db) => {
    const error = await failure(
      db.run(() => execute('select * from nowhere')),
      'STATEMENT_FAILED'
    )
    assert.match(error.message, /migrate/)
  }),
  withTables('refuses a value of another type than the column', async (db) => {
    await failure(
      db.run(() => insert(1, 'many')),
      'STATEMENT_FAILED'
    )
    await failure(
      db.run(() => insert(1, 1.5)),
      'STATEMENT_FAILED'
    )
    assert.deepEqual(await ids(db), [])
  }),
  withTables('commits nothing of a unit that goes on after a statement failed', async (db) => {
    const steps: string[] = []
    for (const goOn of [true, false]) {
      await failure(
        db.run(function* () {
          yield* insert(1)
          try {
            yield* insert(1)
          } catch {
            steps.push('caught')
            if (goOn) yield* insert(2)
            steps.push('went on')
          } finally {
            steps.push('ended')
          }
        }),
        'CONSTRAINT_VIOLATED'
      )
    }
    assert.deepEqual(steps, ['caught', 'ended', 'caught', 'went on', 'ended'])
    assert.deepEqual(await ids(db), [])
  }),
  withTables('lets a unit clean up and throw an error of its own when a statement fails', async (db) => {
    const own = new Error('that id is taken')
    let cleaned = 0
    const unit = db.run(function* () {
      try {
        yield* insert(1)
        yield* insert(1)
      } catch {
        throw own
      } finally {
        cleaned += 1
      }
    })
    await assert.rejects(unit, (error) => error === own)
    assert.equal(cleaned, 1)
    assert.deepEqual(await ids(db), [])
  }),
  withTables('repeats no value in an error, however it is printed', async (db) => {
    await db.run(() => execute('insert into parents(name, age) values (?, ?)', SECRET, 40))
    const attempts: [keyof CoreErrorTable, string, ...SqlValue[]][] = [
      ['CONSTRAINT_VIOLATED', 'insert into parents(name, age) values (?, ?)', SECRET, 41],
      ['CONSTRAINT_VIOLATED', 'insert into children(name, parent) values (?, ?)', 'cid', `${SECRET}!`],
      ['STATEMENT_FAILED', 'insert into samples(id, amount) values (1, ?)', SECRET],
      ['STATEMENT_FAILED', 'select * from nowhere where name = ?', SECRET],
      ['STATEMENT_FAILED', 'insert into samples(id) values (?, ?)', SECRET]
    ]
    for (const [code, text, ...given] of attempts) {
      const error = await failure(
        db.run(() => execute(text, ...given)),
        code
      )
      const printed = inspect(error, { depth: 10, showHidden: true }) + JSON.stringify(error) + error.stack
      assert.ok(!printed.includes(SECRET), printed)
    }
  }),
  withDatabase('refuses what is no unit and what is no statement', async (db) => {
    const units: (() => unknown)[] = [
      () => undefined,
      async () => 1,
      function* () {
        yield 'select 1'
      },
      function* () {
        yield { text: 'select 1' }
      },
      function* () {
        yield undefined
      }
    ]
    for (const unit of units) await failure(db.run(unit as () => Sql<unknown>), 'STATEMENT_FAILED')
    await assert.rejects(
      db.run(() => {
        throw new RangeError('before it began')
      }),
      RangeError
    )
  }),
  withTables('goes on serving after units have failed', async (db) => {
    for (let round = 0; round < 30; round++) {
      await failure(
        db.run(() => execute('selec 1')),
        'STATEMENT_FAILED'
      )
    }
    await db.run(() => insert(1))
    assert.deepEqual(await ids(db), [1])
  })
]
