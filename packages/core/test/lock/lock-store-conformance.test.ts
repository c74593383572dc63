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
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { shareOf } from '../testing/share.ts'
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

// One database for all cases, which have names of their own: making one takes longer than any of them.
let subjects = 0
const sharing =
  (databases: () => readonly SqlDatabase[]): CreateLockStore =>
  async () => {
    subjects += 1
    const clock = virtualClock()
    const stores = databases().map((db) => sqlLockStore({ db: withStoreClock(db, clock) }))
    let used = 0
    const another = async (): Promise<LockStore> => {
      used += 1
      return stores[used % stores.length] as LockStore
    }
    const name = `lock-${subjects}-`
    return { store: stores[0] as LockStore, clock, name, another, [Symbol.asyncDispose]: async () => {} }
  }

describe('the lock store on SQLite', () => {
  const folder = mkdtempSync(join(tmpdir(), 'enablement-lock-'))
  const databases: SqlDatabase[] = []
  beforeAll(async () => {
    const path = join(folder, 'locks.db')
    databases.push(...[1, 2, 3].map(() => sqliteDatabase({ path, durability: 'process' })))
    await migrate(databases[0] as SqlDatabase, [lockSchema])
  })
  afterAll(async () => {
    await Promise.all(databases.map((db) => db.close()))
    rmSync(folder, { recursive: true })
  })
  const create = sharing(() => databases)
  it.for(exam(create).tests)('$name', (test) => expect(test.run()).resolves.toBeUndefined())
})

describe('the lock store on PGlite', () => {
  let db: SqlDatabase
  beforeAll(async () => {
    db = pgliteDatabase(await emptyPglite())
    await migrate(db, [lockSchema])
  })
  const create = sharing(() => [db])
  it.for(shareOf(exam(create).tests))('$name', (test) => expect(test.run()).resolves.toBeUndefined())
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

  it.for(shareOf(brokenLockStores))('fails a store that $name', async ({ make }) => {
    expect(await failuresOf(make)).not.toEqual([])
  })
})
