import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  fleetSchema,
  memoryBreakerStateStore,
  memoryTokenBucketStore,
  sqlBreakerStateStore,
  sqlTokenBucketStore
} from '@enablement/core/fleet'
import { pgliteDatabase } from '@enablement/core/postgres'
import { migrate, type SqlDatabase } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import {
  breakerStateStoreConformance,
  type ConformanceKit,
  conformanceTests,
  seededRandom,
  tokenBucketStoreConformance,
  type VirtualClock,
  virtualClock,
  withStoreClock
} from '@enablement/core/testing'
import { emptyPglite } from '@enablement/services/pglite'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { shareOf } from '../testing/share.ts'
import { brokenBreakerStateStores, soundBreakerStateStore } from './broken-breaker-state-stores.ts'
import { brokenTokenBucketStores, soundTokenBucketStore } from './broken-token-bucket-stores.ts'

interface Subject<Store> extends AsyncDisposable {
  readonly store: Store
  readonly clock: VirtualClock
  readonly name: string
  another(): Promise<Store>
}
type Create<Store> = () => Promise<Subject<Store>>

const inMemory =
  <Store>(make: (clock: VirtualClock) => Store): Create<Store> =>
  async () => {
    const clock = virtualClock()
    const store = make(clock)
    return { store, clock, name: 'one', another: async () => store, [Symbol.asyncDispose]: async () => {} }
  }

function suite<Store>(
  kit: ConformanceKit<Create<Store>, never>,
  memory: (clock: VirtualClock) => Store,
  sql: (db: SqlDatabase) => Store
): void {
  const exam = (create: Create<Store>) => conformanceTests(kit, { create, supports: {} })

  describe('in memory', () => {
    it.for(exam(inMemory(memory)).tests)('$name', (test) => expect(test.run()).resolves.toBeUndefined())
  })

  // One database for all cases, which have names of their own: making one takes longer than any of them.
  let subjects = 0
  const sharing =
    (databases: () => readonly SqlDatabase[]): Create<Store> =>
    async () => {
      subjects += 1
      const clock = virtualClock()
      const stores = databases().map((db) => sql(withStoreClock(db, clock)))
      let used = 0
      const another = async (): Promise<Store> => {
        used += 1
        return stores[used % stores.length] as Store
      }
      const name = `subject-${subjects}`
      return { store: stores[0] as Store, clock, name, another, [Symbol.asyncDispose]: async () => {} }
    }

  describe('on SQLite', () => {
    const folder = mkdtempSync(join(tmpdir(), 'enablement-fleet-'))
    const databases: SqlDatabase[] = []
    beforeAll(async () => {
      const path = join(folder, 'stores.db')
      databases.push(...[1, 2, 3].map(() => sqliteDatabase({ path, durability: 'process' })))
      await migrate(databases[0] as SqlDatabase, [fleetSchema])
    })
    afterAll(async () => {
      await Promise.all(databases.map((db) => db.close()))
      rmSync(folder, { recursive: true })
    })
    it.for(exam(sharing(() => databases)).tests)('$name', (test) => expect(test.run()).resolves.toBeUndefined())
  })

  describe('on PGlite', () => {
    let db: SqlDatabase
    beforeAll(async () => {
      db = pgliteDatabase(await emptyPglite())
      await migrate(db, [fleetSchema])
    })
    it.for(shareOf(exam(sharing(() => [db])).tests))('$name', (test) => expect(test.run()).resolves.toBeUndefined())
  })
}

async function failuresOf<Store>(
  kit: ConformanceKit<Create<Store>, never>,
  make: (clock: VirtualClock) => Store
): Promise<string[]> {
  const failed: string[] = []
  for (const { name, run } of conformanceTests(kit, { create: inMemory(make), supports: {} })) {
    await run().catch(() => failed.push(name))
  }
  return failed
}

describe('breaker state store', () => {
  suite(
    breakerStateStoreConformance,
    (clock) => memoryBreakerStateStore({ platform: { clock, random: seededRandom(1) } }),
    (db) => sqlBreakerStateStore({ db })
  )
})

describe('token bucket store', () => {
  suite(
    tokenBucketStoreConformance,
    (clock) => memoryTokenBucketStore({ platform: { clock, random: seededRandom(1) } }),
    (db) => sqlTokenBucketStore({ db })
  )
})

describe('the exam of breaker state stores', () => {
  it('passes a store that is right', async () => {
    expect(await failuresOf(breakerStateStoreConformance, soundBreakerStateStore)).toEqual([])
  })

  it.for(shareOf(brokenBreakerStateStores))('fails a store that $name', async ({ make, caughtBy }) => {
    expect(await failuresOf(breakerStateStoreConformance, make)).toContain(caughtBy)
  })
})

describe('the exam of token bucket stores', () => {
  it('passes a store that is right', async () => {
    expect(await failuresOf(tokenBucketStoreConformance, soundTokenBucketStore)).toEqual([])
  })

  it.for(shareOf(brokenTokenBucketStores))('fails a store that $name', async ({ make, caughtBy }) => {
    expect(await failuresOf(tokenBucketStoreConformance, make)).toContain(caughtBy)
  })
})
