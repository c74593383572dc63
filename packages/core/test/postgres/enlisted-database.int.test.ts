import { enlist } from '@enablement/core/postgres'
import { changes, execute, rows } from '@enablement/core/sql'
import type pg from 'pg'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { testSchemas } from './test-schemas.ts'

const schemas = testSchemas()
afterAll(() => schemas.drop())

const add = (id: number) => execute('insert into notes(id) values (?)', id)

describe('units enlisted in a caller’s transaction', () => {
  let pool: pg.Pool
  let client: pg.PoolClient
  beforeEach(async () => {
    pool = await schemas.pool()
    await pool.query('create table notes (id bigint primary key)')
    client = await pool.connect()
    return () => client.release()
  })
  const seenByOthers = async () =>
    (await pool.query('select id from notes order by id')).rows.map((row) => Number(row.id))

  it('are committed when the caller commits', async () => {
    await client.query('begin')
    const db = enlist(client)
    await client.query('insert into notes values (1)')
    expect(await db.run(() => changes('insert into notes(id) values (?)', 2))).toBe(1)
    expect(await seenByOthers()).toEqual([])
    await client.query('commit')
    expect(await seenByOthers()).toEqual([1, 2])
    expect(db.supports.durable).toBe('none')
  })

  it('are undone when the caller rolls back', async () => {
    await client.query('begin')
    await enlist(client).run(() => add(1))
    await client.query('rollback')
    expect(await seenByOthers()).toEqual([])
  })

  it('undo themselves when they throw, and leave the transaction usable', async () => {
    await client.query('begin')
    const db = enlist(client)
    await db.run(() => add(1))
    const broken = db.run(function* () {
      yield* add(2)
      yield* add(1)
    })
    await expect(broken).rejects.toMatchObject({ code: 'CONSTRAINT_VIOLATED' })
    await db.run(() => add(3))
    await client.query('commit')
    expect(await seenByOthers()).toEqual([1, 3])
  })

  it('run one after another, also when they are started together', async () => {
    await client.query('begin')
    const db = enlist(client)
    const units = Array.from({ length: 20 }, (_, id) =>
      db.run(function* () {
        yield* add(id)
        if (id % 2 === 1) throw new Error('changed my mind')
      })
    )
    await Promise.allSettled(units)
    await client.query('commit')
    expect(await seenByOthers()).toEqual([0, 2, 4, 6, 8, 10, 12, 14, 16, 18])
  })

  it('are refused outside a transaction, without an effect', async () => {
    await expect(enlist(client).run(() => add(1))).rejects.toMatchObject({ code: 'STATEMENT_FAILED' })
    expect(await seenByOthers()).toEqual([])
  })

  it('are refused after closing, which ends neither client nor transaction', async () => {
    await client.query('begin')
    const db = enlist(client)
    await db.run(() => add(1))
    await db.close()
    await expect(db.run(() => rows('select 1'))).rejects.toMatchObject({ code: 'CLOSED' })
    await client.query('commit')
    expect(await seenByOthers()).toEqual([1])
  })
})
