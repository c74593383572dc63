import assert from 'node:assert/strict'
import type { SqlValue } from '../../sql/sql-database.ts'
import { execute, firstRow } from '../../sql/statement.ts'
import { type Case, failure, ids, insert, labelled, withTables } from './case.ts'

/** Texts that break encoders, quoting and length limits. */
const texts = [
  '',
  ' ',
  "it's",
  '"q"',
  '?',
  '$1',
  'a\nb\r\n\tc',
  'Zürich',
  '日本語',
  '😀',
  'é',
  '\\x00',
  'x'.repeat(100_000)
]

const integers = [0, 1, -1, 2_147_483_648, -2_147_483_649, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER]

const wide = [2n ** 53n, -(2n ** 53n), 2n ** 53n + 1n, 2n ** 63n - 1n, -(2n ** 63n)]

const bytes = [new Uint8Array(), new Uint8Array([0]), Uint8Array.from({ length: 256 }, (_, byte) => byte)]

/** What no database can hold as it is, each with a word of the refusal. */
const refused: readonly (readonly [unknown, string])[] = [
  [true, 'boolean'],
  [undefined, 'undefined'],
  [Number.NaN, 'NaN'],
  [Number.POSITIVE_INFINITY, 'Infinity'],
  [2 ** 53, 'bigint'],
  [2n ** 63n, '64 bits'],
  [new Date(0), 'object'],
  [{ toString: () => '1' }, 'object'],
  [['1'], 'object'],
  [() => 1, 'function'],
  [Symbol('s'), 'symbol'],
  ['a\0b', 'NUL'],
  ['\ud800', 'surrogate']
]

/** What goes in comes out. */
export const values: readonly Case[] = [
  withTables('gives back the integers it was given', async (db) => {
    for (const [id, amount] of integers.entries()) {
      await db.run(() => insert(id, amount))
      const row = await db.run(() => firstRow('select amount from samples where id = ?', id))
      assert.strictEqual(row?.['amount'], amount)
    }
  }),
  withTables('gives back integers beyond 2^53 - 1 as bigints, and smaller bigints as numbers', async (db) => {
    for (const [id, amount] of [...wide, 5n].entries()) {
      await db.run(() => insert(id, amount))
      const row = await db.run(() => firstRow('select amount from samples where id = ?', id))
      assert.strictEqual(row?.['amount'], amount === 5n ? 5 : amount)
    }
    const sum = await db.run(() => firstRow('select sum(amount) as total from samples where amount = ?', 5))
    assert.strictEqual(sum?.['total'], 5)
  }),
  withTables('gives back the text it was given', async (db) => {
    for (const [id, label] of texts.entries()) {
      await db.run(() => labelled(id, label))
      const row = await db.run(() => firstRow('select label from samples where id = ? and label = ?', id, label))
      assert.strictEqual(row?.['label'], label)
    }
  }),
  withTables('gives back the bytes it was given, as a Uint8Array', async (db) => {
    for (const [id, given] of bytes.entries()) {
      await db.run(() => execute('insert into samples(id, bytes) values (?, ?)', id, given))
      const row = await db.run(() => firstRow('select bytes from samples where id = ?', id))
      const found = row?.['bytes']
      assert.ok(found instanceof Uint8Array)
      assert.deepEqual([...found], [...given])
    }
  }),
  withTables('gives back nothing as null', async (db) => {
    await db.run(() =>
      execute('insert into samples(id, amount, label, bytes) values (?, ?, ?, ?)', 1, null, null, null)
    )
    const row = await db.run(() => firstRow('select * from samples'))
    assert.deepEqual({ ...row }, { id: 1, amount: null, label: null, bytes: null })
  }),
  withTables('calculates with the integers it was given as integers', async (db) => {
    await db.run(() => insert(1, 7))
    const row = await db.run(() => firstRow('select amount / ? as half, amount + ? as more from samples', 2, 1))
    assert.deepEqual({ ...row }, { half: 3, more: 8 })
  }),
  withTables('answers a comparison with 0 or 1', async (db) => {
    await db.run(() => insert(1, 7))
    const row = await db.run(() => firstRow('select amount > 5 as big, amount < 5 as small from samples'))
    assert.deepEqual({ ...row }, { big: 1, small: 0 })
  }),
  withTables('refuses values that it could not give back, and changes nothing', async (db) => {
    for (const [value, word] of refused) {
      const error = await failure(
        db.run(function* () {
          yield* insert(1)
          yield* labelled(2, value as SqlValue)
        }),
        'STATEMENT_FAILED'
      )
      assert.match(error.message, /^value 2 is /)
      assert.ok(error.message.includes(word), error.message)
    }
    assert.deepEqual(await ids(db), [])
  })
]
