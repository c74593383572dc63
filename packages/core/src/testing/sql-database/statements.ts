import assert from 'node:assert/strict'
import { changes, execute, firstRow, rows } from '../../sql/statement.ts'
import { type Case, failure, ids, insert, withTables } from './case.ts'

/** What a text may say, and what a statement gives. */
export const statements: readonly Case[] = [
  withTables('takes ? for a value in code, and as itself in strings, names and comments', async (db) => {
    const row = await db.run(() =>
      firstRow(
        `select '?' as one, 'it''s ?' as two, id as "three?" /* ? */ -- ?
         from samples where id = ? or id = ?`,
        1,
        2
      )
    )
    assert.equal(row, undefined)
    await db.run(() => insert(2))
    const found = await db.run(() =>
      firstRow(`select '?' as one, 'it''s ?' as two, id as "three?" /* ? */ from samples where id = ? -- ?`, 2)
    )
    assert.deepEqual({ ...found }, { one: '?', two: "it's ?", 'three?': 2 })
  }),
  withTables('refuses a text with fewer or more placeholders than values', async (db) => {
    await failure(
      db.run(() => execute('insert into samples(id, amount) values (?, ?)', 1)),
      'STATEMENT_FAILED'
    )
    await failure(
      db.run(() => execute('insert into samples(id) values (?)', 1, 2)),
      'STATEMENT_FAILED'
    )
    assert.deepEqual(await ids(db), [])
  }),
  withTables('refuses placeholders that only one dialect knows', async (db) => {
    for (const placeholder of ['$1', '?1', ':id', '@id', '$id']) {
      const error = await failure(
        db.run(() => execute(`insert into samples(id) values (${placeholder})`, 1)),
        'STATEMENT_FAILED'
      )
      assert.ok(error.message.includes(placeholder), error.message)
    }
    assert.deepEqual(await ids(db), [])
  }),
  withTables('refuses two statements in one text', async (db) => {
    await failure(
      db.run(() => execute('insert into samples(id) values (1); insert into samples(id) values (2)')),
      'STATEMENT_FAILED'
    )
    assert.deepEqual(await ids(db), [])
    await db.run(() => execute('insert into samples(id) values (1); -- the end'))
    assert.deepEqual(await ids(db), [1])
  }),
  withTables('refuses to begin or end a transaction inside a unit', async (db) => {
    for (const text of [
      'begin',
      'COMMIT',
      ' /* now */ rollback',
      'savepoint a',
      'release a',
      'end',
      'start transaction'
    ]) {
      await failure(
        db.run(function* () {
          yield* insert(1)
          yield* execute(text)
        }),
        'STATEMENT_FAILED'
      )
    }
    assert.deepEqual(await ids(db), [])
  }),
  withTables('counts the rows that a statement changed, and none for one that reads', async (db) => {
    const counts = await db.run(function* () {
      return [
        yield* changes('insert into samples(id, amount) values (?, 1), (?, 1), (?, 1)', 1, 2, 3),
        yield* changes('update samples set amount = 2 where id < ?', 3),
        yield* changes('update samples set amount = 3 where id > ?', 3),
        yield* changes('update samples set amount = 4 returning id'),
        yield* changes('select * from samples'),
        yield* changes('insert into samples(id) values (?) on conflict do nothing', 1),
        yield* changes('delete from samples where id = ?', 1),
        yield* changes('create table others (id integer)'),
        yield* changes('with kept as (select 2 as id) delete from samples where id not in (select id from kept)')
      ]
    })
    assert.deepEqual(counts, [3, 2, 0, 3, 0, 0, 1, 0, 1])
  }),
  withTables('returns the rows of an upsert that took effect, and none of one that did not', async (db) => {
    const add = 'insert into samples(id, amount) values (?, ?) on conflict (id) do '
    const results = await db.run(function* () {
      return [
        yield* rows(`${add} update set amount = samples.amount + excluded.amount returning id, amount`, 1, 5),
        yield* rows(`${add} update set amount = samples.amount + excluded.amount returning id, amount`, 1, 5),
        yield* rows(`${add} nothing returning id`, 1, 5)
      ].map((found) => found.map((row) => ({ ...row })))
    })
    assert.deepEqual(results, [[{ id: 1, amount: 5 }], [{ id: 1, amount: 10 }], []])
  })
]
