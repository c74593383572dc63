import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pgliteDatabase, postgresDatabase } from '@enablement/core/postgres'
import { createDueClaims, createSchedule, every, scheduleSchema, startWorker } from '@enablement/core/schedule'
import { execute, integerOf, migrate, rows, type SqlDatabase } from '@enablement/core/sql'
import {
  type CreateDueClaims,
  conformanceTests,
  dueClaimsConformance,
  dueRowStore,
  virtualClock,
  withStoreClock
} from '@enablement/core/testing'
import { emptyPglite } from '@enablement/services/pglite'
import type { Pool } from 'pg'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { testSchemas } from '../postgres/test-schemas.ts'
import { shareOf } from '../testing/share.ts'
import { rewritten } from './broken-due-claims.ts'
import { surviveKills } from './killed-workers.ts'

const schemas = testSchemas()
afterAll(() => schemas.drop())

const TABLE = [
  `create table rows_due (key text primary key, next_due_at bigint, fence bigint not null default 0,
    attempts bigint not null default 0, unanswered bigint not null default 0)`,
  'create index rows_due_next on rows_due (next_due_at) where next_due_at is not null'
]

const subjectOn =
  (open: () => Promise<SqlDatabase>): CreateDueClaims =>
  async () => {
    const clock = virtualClock()
    const db = withStoreClock(await open(), clock)
    await db.run(function* () {
      yield* execute('drop table if exists rows_due')
      for (const statement of TABLE) yield* execute(statement)
    })
    // Each client has its own connection of the pool while it works.
    const store = dueRowStore(db, createDueClaims(db.dialect, { table: 'rows_due', key: 'key' }))
    return {
      store,
      clock,
      another: async () => store,
      add: (added) =>
        db.run(function* () {
          for (const { key, dueAt } of added) {
            yield* execute('insert into rows_due(key, next_due_at) values (?, ?)', key, dueAt ?? null)
          }
        }),
      [Symbol.asyncDispose]: async () => {}
    }
  }

describe('claims on due rows in Postgres', () => {
  let pool: Pool
  beforeAll(async () => {
    pool = await schemas.pool()
  })
  const create = subjectOn(async () => postgresDatabase(pool))
  it.for(conformanceTests(dueClaimsConformance, { create, supports: {} }).tests)('$name', (test) =>
    expect(test.run()).resolves.toBeUndefined()
  )

  it('find what is due through the index, whatever else the table holds', async () => {
    const db = postgresDatabase(pool)
    const seen: { text: string; values: readonly unknown[] }[] = []
    const spied = rewritten(db, (text) => {
      seen.push({ text, values: [] })
      return text
    })
    await db.run(function* () {
      yield* execute('drop table if exists rows_due')
      for (const statement of TABLE) yield* execute(statement)
      yield* execute(`insert into rows_due(key, next_due_at)
        select 'row-' || n, 4000000000000 + n from generate_series(1, 5000) as n`)
      yield* execute("insert into rows_due(key, next_due_at) values ('due', 1)")
      yield* execute('analyze rows_due')
    })
    const claims = createDueClaims(db.dialect, { table: 'rows_due', key: 'key' })
    const claimed = await spied.run(() => claims.claim({ limit: 5, leaseMs: 1_000, only: 'fresh' }))
    expect(claimed.map(({ key }) => key)).toEqual(['due'])
    await spied.run(() => claims.claim({ limit: 5, leaseMs: 1_000 }))
    await spied.run(() => claims.take({ limit: 5 }))
    await spied.run(() => claims.outlook({ at: 5 }))
    for (const { text } of seen) {
      const values = Array.from(text.matchAll(/\?/g), () => 5)
      const plan = (await db.run(() => rows(`explain ${text}`, ...values)))
        .map((row) => String(row['QUERY PLAN']))
        .join('\n')
      expect(plan).toMatch(/rows_due_next/)
      expect(plan).not.toMatch(/Seq Scan/)
    }
    expect(seen).toHaveLength(4)
  })
})

describe('claims on due rows in PGlite', () => {
  let db: SqlDatabase
  beforeAll(async () => {
    db = pgliteDatabase(await emptyPglite())
  }, 60_000)
  const create = subjectOn(async () => db)
  it.for(shareOf(conformanceTests(dueClaimsConformance, { create, supports: {} }).tests))('$name', (test) =>
    expect(test.run()).resolves.toBeUndefined()
  )
})

describe('a schedule on Postgres', () => {
  it('fires each of many tasks once, from workers that race, effects, units and recurrences alike', async () => {
    const db = postgresDatabase(await schemas.pool())
    await migrate(db, [scheduleSchema])
    await db.run(() => execute('create table told (id text primary key, at bigint not null)'))
    const done: string[] = []
    const make = (number: number) =>
      createSchedule({
        db,
        name: `schedule-${number}`,
        concurrency: 8,
        tasks: {
          call: { run: ({ id }) => void done.push(id) },
          tell: {
            *unit(dues) {
              yield* execute(
                `insert into told(id, at) select e ->> 0, ${db.dialect.now} from json_array_elements(?::json) as e`,
                JSON.stringify(dues.map(({ id }) => [id]))
              )
            }
          },
          tick: {
            recurrence: every(20),
            misfire: { policy: 'all', catchUpMs: 60_000 },
            *unit(dues) {
              for (const { id } of dues) yield* execute(`insert into told(id, at) values (?, ${db.dialect.now})`, id)
            }
          }
        }
      })
    const schedules = Array.from({ length: 4 }, (_, number) => make(number))
    const [first] = schedules
    await db.run(function* () {
      if (first === undefined) return
      for (const task of ['call', 'tell'] as const) {
        const count = task === 'call' ? 200 : 3_000
        yield* first.putAll(Array.from({ length: count }, (_, at) => ({ task, id: String(at), dueAt: 1 })))
      }
    })
    const worker = startWorker({ duties: schedules.flatMap(({ duties }) => duties), pollMs: 20 })
    const left = () => db.run(() => rows("select key from schedule_tasks where task <> 'tick' limit 1"))
    while ((await left()).length > 0) await new Promise((resolve) => setTimeout(resolve, 20))
    expect(await worker.close()).toEqual({ outcome: 'drained' })
    expect(done.sort()).toEqual(Array.from({ length: 200 }, (_, at) => `call/${at}@1`).sort())
    const [told] = await db.run(() => rows("select count(*) as n from told where id like 'tell/%'"))
    expect(integerOf(told ?? {}, 'n')).toBe(3_000)
    expect(worker.health().duties.every(({ failures }) => failures === 0)).toBe(true)
  })
})

describe('workers that are killed at random, on Postgres', () => {
  it('lose no due row, and no effect takes hold under two fences', { timeout: 600_000 }, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'enablement-schedule-killed-'))
    const pool = await schemas.pool()
    const address = new URL(inject('postgresUrl'))
    address.searchParams.set('options', String(pool.options.options))
    try {
      await surviveKills(postgresDatabase(pool), 'postgres', address.href, folder)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})
