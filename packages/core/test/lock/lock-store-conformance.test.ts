import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Clock } from '@enablement/core'
import { type LockStore, lockSchema, memoryLockStore, sqlLockStore } from '@enablement/core/lock'
import { pgliteDatabase } from '@enablement/core/postgres'
import { migrate, type SqlDatabase } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import {
  type CreateLockStore,
  conformanceTests,
  lockStoreConformance,
  seededRandom,
  virtualClock,
  withStoreClock
} from '@enablement/core/testing'
import { emptyPglite } from '@enablement/services/pglite'
import { afterAll, describe, expect, it } from 'vitest'
import { brokenLockStores, soundLockStore } from './broken-lock-stores.ts'

const exam = (create: CreateLockStore) => conformanceTests(lockStoreConformance, { create, supports: {} })

const inMemory =
  (make: (clock: Clock) => LockStore): CreateLockStore =>
  async () => {
    const clock = virtualClock()
    const store = make(clock)
    return { store, clock, name: 'lock', another: async () => store, [Symbol.asyncDispose]: async () => {} }
  }

describe('the lock store in memory', () => {
  const create = inMemory((clock) => memoryLockStore({ platform: { clock, random: seededRandom(1) } }))
  it.for(exam(create).tests)('$name', (test) => expect(test.run()).resolves.toBeUndefined())
})

describe('the lock store on SQLite', () => {
  const folder = mkdtempSync(join(tmpdir(), 'enablement-lock-'))
  afterAll(() => rmSync(folder, { recursive: true }))
  let files = 0
  const create: CreateLockStore = async () => {
    files += 1
    const path = join(folder, `${files}.db`)
    const clock = virtualClock()
    const opened: SqlDatabase[] = []
    const open = async () => {
      const db = withStoreClock(sqliteDatabase({ path, durability: 'process' }), clock)
      opened.push(db)
      await migrate(db, [lockSchema])
      return sqlLockStore({ db })
    }
    const close = async () => void (await Promise.all(opened.map((db) => db.close())))
    return { store: await open(), clock, name: 'lock', another: open, [Symbol.asyncDispose]: close }
  }
  it.for(exam(create).tests)('$name', (test) => expect(test.run()).resolves.toBeUndefined())
})

describe('the lock store on PGlite', () => {
  const create: CreateLockStore = async () => {
    const pglite = await emptyPglite()
    const clock = virtualClock()
    const db = withStoreClock(pgliteDatabase(pglite), clock)
    await migrate(db, [lockSchema])
    const store = sqlLockStore({ db })
    return { store, clock, name: 'lock', another: async () => store, [Symbol.asyncDispose]: () => db.close() }
  }
  it.for(exam(create).tests)('$name', (test) => expect(test.run()).resolves.toBeUndefined())
})

describe('the exam of lock stores', () => {
  const failuresOf = async (make: (clock: Clock) => LockStore): Promise<string[]> => {
    const failed: string[] = []
    for (const { name, run } of exam(inMemory(make))) await run().catch(() => failed.push(name))
    return failed
  }

  it('passes a store that is right', async () => {
    expect(await failuresOf(soundLockStore)).toEqual([])
  })

  it.for(brokenLockStores)('fails a store that $name', async ({ make }) => {
    expect(await failuresOf(make)).not.toEqual([])
  })
})
