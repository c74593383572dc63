import assert from 'node:assert/strict'
import { inspect } from 'node:util'
import type { CoreError, CoreErrorTable } from '../../failure/core-error.ts'
import { isSuiteError } from '../../failure/suite-error.ts'
import { migrate } from '../../sql/migrate.ts'
import type { Schema } from '../../sql/migration.ts'
import type { Sql, SqlDatabase, SqlValue } from '../../sql/sql-database.ts'
import { execute, integerOf, rows } from '../../sql/statement.ts'
import type { ConformanceCase } from '../conformance.ts'

/** Makes an empty database, which its case closes. */
export type CreateSqlDatabase = () => Promise<SqlDatabase>

/** A clause of the port's contract. */
export type Case = ConformanceCase<CreateSqlDatabase, never>

/** Tables that hold every kind of value, in both dialects. */
export const sample: Schema = {
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
export function withTables(name: string, run: (db: SqlDatabase) => Promise<void>): Case {
  return withDatabase(name, async (db) => {
    await migrate(db, [sample])
    await run(db)
  })
}

/** A case with an empty database, which it closes. */
export function withDatabase(name: string, run: (db: SqlDatabase) => Promise<void>): Case {
  return {
    name,
    async run(create) {
      await using db = await create()
      await run(db)
    }
  }
}

/** Asserts that `promise` fails with core's error of that code, and gives it. */
export async function failure<Code extends keyof CoreErrorTable>(
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

/** Adds a sample. */
export const insert = (id: number, amount: SqlValue = null): Sql<unknown> =>
  execute('insert into samples(id, amount) values (?, ?)', id, amount)

/** Adds a sample with a label. */
export const labelled = (id: number, label: SqlValue): Sql<unknown> =>
  execute('insert into samples(id, label) values (?, ?)', id, label)

/** The samples there are. */
export async function ids(db: SqlDatabase): Promise<number[]> {
  const found = await db.run(() => rows('select id from samples order by id'))
  return found.map((row) => integerOf(row, 'id'))
}
