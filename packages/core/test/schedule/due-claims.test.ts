import { createDueClaims } from '@enablement/core/schedule'
import { execute, rows, type SqlDatabase } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import {
  type CreateDueClaims,
  conformanceTests,
  dueClaimsConformance,
  dueRowStore,
  virtualClock,
  withStoreClock
} from '@enablement/core/testing'
import { describe, expect, it } from 'vitest'
import { shareOf } from '../testing/share.ts'
import { brokenDueClaims, rewritten } from './broken-due-claims.ts'

const exam = (create: CreateDueClaims) => conformanceTests(dueClaimsConformance, { create, supports: {} })

/** A package's own table, with what a table of due rows must have and no more. */
const inSqlite =
  (wrap: (db: SqlDatabase) => SqlDatabase = (db) => db): CreateDueClaims =>
  async () => {
    const clock = virtualClock()
    const disk = withStoreClock(sqliteDatabase({ path: ':memory:' }), clock)
    const db = wrap(disk)
    await disk.run(function* () {
      yield* execute(`create table rows_due (key text primary key, next_due_at integer, fence integer not null default 0,
        attempts integer not null default 0, unanswered integer not null default 0) strict`)
      yield* execute('create index rows_due_next on rows_due (next_due_at) where next_due_at is not null')
    })
    const store = dueRowStore(db, createDueClaims(db.dialect, { table: 'rows_due', key: 'key' }))
    return {
      store,
      clock,
      another: async () => store,
      add: (added) =>
        disk.run(function* () {
          for (const { key, dueAt } of added) {
            yield* execute('insert into rows_due(key, next_due_at) values (?, ?)', key, dueAt ?? null)
          }
        }),
      [Symbol.asyncDispose]: () => disk.close()
    }
  }

describe('claims on due rows in SQLite', () => {
  it.for(exam(inSqlite()).tests)('$name', (test) => expect(test.run()).resolves.toBeUndefined())
})

describe('the exam of claims on due rows', () => {
  it.for(shareOf(brokenDueClaims))('fails one that $name', async ({ rewrite }) => {
    let touched = false
    let failed = false
    let subject: ReturnType<typeof rewritten> | undefined
    const watched = inSqlite((db) => {
      subject = rewritten(db, rewrite)
      return subject
    })
    for (const { run } of exam(watched)) {
      await run().catch(() => {
        failed = true
      })
      touched ||= subject?.touched() === true
      if (failed) break
    }
    expect([touched, failed]).toEqual([true, true])
  })
})

describe('a claim', () => {
  it('reads further columns, and takes only what its condition lets through', async () => {
    await using db = sqliteDatabase({ path: ':memory:' })
    await db.run(function* () {
      yield* execute(`create table mails (id text primary key, body text, lane text, next_due_at integer,
        fence integer not null default 0, attempts integer not null default 0, unanswered integer not null default 0)`)
      yield* execute("insert into mails(id, body, lane, next_due_at) values ('1', 'x', 'a', 5), ('2', 'y', 'b', 5)")
    })
    const claims = createDueClaims(db.dialect, {
      table: 'mails',
      key: 'id',
      columns: ['body'],
      where: 'lane = ? or lane is null'
    })
    const claimed = await db.run(() => claims.claim({ limit: 5, leaseMs: 1_000, values: ['b'] }))
    expect(claimed.map(({ key, row }) => [key, row['body']])).toEqual([['2', 'y']])
    const taken = await db.run(() => claims.take({ limit: 5, values: ['a'] }))
    expect(taken.map(({ key, row }) => [key, row['body']])).toEqual([['1', 'x']])
    expect(await db.run(() => claims.outlook({ at: 10, values: ['a'] }))).toEqual({ lagMs: 0, nextDueInMs: undefined })
  })

  it('finds what is due through the index, whatever else the table holds', async () => {
    await using db = sqliteDatabase({ path: ':memory:' })
    const seen: string[] = []
    const spied = rewritten(db, (text) => {
      seen.push(text)
      return text
    })
    await db.run(function* () {
      yield* execute(`create table mails (id text primary key, next_due_at integer,
        fence integer not null default 0, attempts integer not null default 0, unanswered integer not null default 0)`)
      yield* execute('create index mails_due on mails (next_due_at) where next_due_at is not null')
    })
    const claims = createDueClaims(db.dialect, { table: 'mails', key: 'id' })
    for (const only of ['fresh', 'suspect'] as const)
      await spied.run(() => claims.claim({ limit: 5, leaseMs: 1_000, only }))
    await spied.run(() => claims.take({ limit: 5 }))
    await spied.run(() => claims.outlook({ at: 5 }))
    for (const text of seen) {
      const values = Array.from(text.matchAll(/\?/g), () => 5)
      const plan = await db.run(() => rows(`explain query plan ${text}`, ...values))
      const steps = plan.map(({ detail }) => String(detail))
      expect(steps.join('\n')).toContain('INDEX mails_due (next_due_at')
      expect(steps.filter((step) => step.startsWith('SCAN mails'))).toEqual([])
    }
    expect(seen).toHaveLength(4)
  })

  it.each([
    ['a table that is no name', { table: 'a b', key: 'id' }, 'table'],
    ['a key in upper case', { table: 'mails', key: 'Id' }, 'key'],
    ['a column that is a statement', { table: 'mails', key: 'id', columns: ['x; drop table mails'] }, 'columns.0'],
    ['an empty condition', { table: 'mails', key: 'id', where: '' }, 'where'],
    ['a misspelt option', { table: 'mails', key: 'id', column: [] }, 'column']
  ])('is refused with %s', (_what, options, path) => {
    const dialect = { name: 'sqlite', skipLocked: '', forUpdate: '', now: '0' } as const
    expect(() => createDueClaims(dialect, options as never)).toThrow(
      expect.objectContaining({
        code: 'INVALID_OPTIONS',
        detail: { subject: 'createDueClaims', issues: [expect.objectContaining({ path })] }
      })
    )
  })
})
