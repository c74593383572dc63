import assert from 'node:assert/strict'
import { inspect } from 'node:util'
import type { CoreError, CoreErrorTable } from '../failure/core-error.ts'
import { isSuiteError } from '../failure/suite-error.ts'
import { migrate } from '../sql/migrate.ts'
import type { Schema } from '../sql/migration.ts'
import type { Sql, SqlDatabase, SqlValue } from '../sql/sql-database.ts'
import { changes, execute, firstRow, integerOf, rows } from '../sql/statement.ts'
import type { ConformanceCase, ConformanceKit } from './conformance.ts'

/** Makes an empty database, which its case closes. */
export type CreateSqlDatabase = () => Promise<SqlDatabase>

type Case = ConformanceCase<CreateSqlDatabase, never>

/** Tables that hold every kind of value, in both dialects. */
const sample: Schema = {
  component: 'conformance',
  migrations: [
    {
      version: 1,
      name: 'samples',
      sqlite: [
        'create table samples (id integer primary key, amount integer, label text, bytes blob) strict',
        'create table parents (name text primary key, age integer not null check (age >= 0)) strict',
        'create table children (name text primary key, parent text not null references parents (name)) strict',
        `create table promises (
          name text primary key, parent text not null references parents (name) deferrable initially deferred) strict`
      ],
      postgres: [
        'create table samples (id bigint primary key, amount bigint, label text, bytes bytea)',
        'create table parents (name text primary key, age bigint not null check (age >= 0))',
        'create table children (name text primary key, parent text not null references parents (name))',
        `create table promises (
          name text primary key, parent text not null references parents (name) deferrable initially deferred)`
      ]
    }
  ]
}

/** A case with the sample tables in place. */
function withTables(name: string, run: (db: SqlDatabase) => Promise<void>): Case {
  return withDatabase(name, async (db) => {
    await migrate(db, [sample])
    await run(db)
  })
}

function withDatabase(name: string, run: (db: SqlDatabase) => Promise<void>): Case {
  return {
    name,
    async run(create) {
      await using db = await create()
      await run(db)
    }
  }
}

/** Asserts that `promise` fails with core's error of that code, and gives it. */
async function failure<Code extends keyof CoreErrorTable>(
  promise: Promise<unknown>,
  code: Code
): Promise<CoreError<Code>> {
  const reason = await promise.then(
    () => assert.fail(`should fail with ${code}, and did not fail`),
    (error: unknown) => error
  )
  assert.ok(isSuiteError(reason, code), `should fail with ${code}, and failed with ${inspect(reason)}`)
  return reason as unknown as CoreError<Code>
}

const insert = (id: number, amount: SqlValue = null): Sql<unknown> =>
  execute('insert into samples(id, amount) values (?, ?)', id, amount)

const labelled = (id: number, label: SqlValue): Sql<unknown> =>
  execute('insert into samples(id, label) values (?, ?)', id, label)

async function ids(db: SqlDatabase): Promise<number[]> {
  const found = await db.run(() => rows('select id from samples order by id'))
  return found.map((row) => integerOf(row, 'id'))
}

const outcomes: readonly Case[] = [
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

const values: readonly Case[] = [
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

const statements: readonly Case[] = [
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

/** Stands for a customer's secret in values: no error may repeat it. */
const SECRET = 'hunter2-correct-horse'

const failures: readonly Case[] = [
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

const lifetime: readonly Case[] = [
  withTables('does not begin a unit whose signal has aborted, and throws the reason', async (db) => {
    const reason = new Error('no longer wanted')
    let begun = false
    const unit = db.run(
      function* () {
        begun = true
        yield* insert(1)
      },
      { signal: AbortSignal.abort(reason) }
    )
    await assert.rejects(unit, (error) => error === reason)
    assert.equal(begun, false)
    assert.deepEqual(await ids(db), [])
  }),
  withTables('lets a unit whose signal aborts while it waits either finish or leave no trace', async (db) => {
    const reason = new Error('no longer wanted')
    const controllers = Array.from({ length: 20 }, () => new AbortController())
    const units = controllers.map(({ signal }, id) => db.run(() => insert(id), { signal }))
    for (const controller of controllers) controller.abort(reason)
    const settled = await Promise.allSettled(units)
    const done = settled.flatMap((unit, id) => (unit.status === 'fulfilled' ? [id] : []))
    for (const unit of settled) if (unit.status === 'rejected') assert.equal(unit.reason, reason)
    assert.deepEqual(await ids(db), done)
  }),
  withTables('does not mind a signal that aborts after the unit has ended', async (db) => {
    const controller = new AbortController()
    await db.run(() => insert(1), { signal: controller.signal })
    controller.abort()
    assert.deepEqual(await ids(db), [1])
  }),
  withTables('finishes the units under way when it is closed, and begins no more', async (db) => {
    const under = Promise.all(Array.from({ length: 10 }, (_, id) => db.run(() => insert(id))))
    const closing = db.close()
    let begun = false
    const late = db.run(function* () {
      begun = true
      yield* insert(11)
    })
    await failure(late, 'CLOSED')
    await under
    await closing
    await db.close()
    assert.equal(begun, false)
    await failure(
      db.run(() => insert(12)),
      'CLOSED'
    )
  })
]

const second = {
  version: 2,
  name: 'colours',
  sqlite: ["alter table samples add column colour text not null default 'red?'"],
  postgres: ["alter table samples add column colour text not null default 'red?'"]
}
const upgraded: Schema = { ...sample, migrations: [...sample.migrations, second] }

const migrations: readonly Case[] = [
  withDatabase('migrates once, however often and by however many it is asked', async (db) => {
    await Promise.all([migrate(db, [sample]), migrate(db, [sample]), migrate(db, [sample])])
    await db.run(() => insert(1))
    await migrate(db, [sample])
    assert.deepEqual(await ids(db), [1])
  }),
  withDatabase('upgrades what an older version wrote, and keeps its data', async (db) => {
    await migrate(db, [sample])
    await db.run(() => labelled(1, 'kept'))
    await migrate(db, [upgraded])
    const row = await db.run(() => firstRow('select label, colour from samples'))
    assert.deepEqual({ ...row }, { label: 'kept', colour: 'red?' })
    const steps = await db.run(() =>
      rows('select version, name from enablement_migrations where component = ? order by version', 'conformance')
    )
    assert.deepEqual(
      steps.map((step) => ({ ...step })),
      [
        { version: 1, name: 'samples' },
        { version: 2, name: 'colours' }
      ]
    )
  }),
  withDatabase('takes all steps of a schema or none', async (db) => {
    const wrong = { ...second, version: 3, sqlite: ['selec 1'], postgres: ['selec 1'] }
    await failure(migrate(db, [{ ...upgraded, migrations: [...upgraded.migrations, wrong] }]), 'STATEMENT_FAILED')
    const error = await failure(
      db.run(() => rows('select * from samples')),
      'STATEMENT_FAILED'
    )
    assert.match(error.message, /migrate/)
    await migrate(db, [upgraded])
    assert.deepEqual(await ids(db), [])
  }),
  withDatabase('refuses a database that a newer version wrote', async (db) => {
    await migrate(db, [upgraded])
    const error = await failure(migrate(db, [sample]), 'SCHEMA_TOO_NEW')
    assert.deepEqual(error.detail, { component: 'conformance', found: 2, supported: 1 })
  }),
  withDatabase('refuses a step that reads differently from the one that was taken', async (db) => {
    await migrate(db, [sample])
    const [first] = sample.migrations
    assert.ok(first !== undefined)
    const edited = {
      ...first,
      sqlite: [...first.sqlite, 'create table more (id integer)'],
      postgres: [...first.postgres, 'create table more (id integer)']
    }
    const error = await failure(migrate(db, [{ ...sample, migrations: [edited, second] }]), 'SCHEMA_DRIFTED')
    assert.deepEqual(error.detail, { component: 'conformance', version: 1 })
    await migrate(db, [upgraded])
  })
]

/** The exam of `SqlDatabase`: SQLite, Postgres and PGlite pass it, and so must an adapter of your own. */
export const sqlDatabaseConformance: ConformanceKit<CreateSqlDatabase, never> = {
  name: 'SqlDatabase',
  needs: [],
  cases: [...outcomes, ...values, ...statements, ...failures, ...lifetime, ...migrations]
}
