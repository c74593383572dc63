import { lockSchema, memoryLockStore, sqlLockStore } from '@enablement/core/lock'
import { execute, firstRow, integerOf, migrate } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { testPlatform, withStoreClock } from '@enablement/core/testing'
import { describe, expect, it } from 'vitest'

const DAY_MS = 86_400_000
const { signal } = new AbortController()

describe('the lock store in memory', () => {
  it('forgets locks that nobody holds when it is full, and gives higher fences afterwards all the same', async () => {
    const platform = testPlatform()
    const store = memoryLockStore({ platform, namesMax: 3 })
    const fences: number[] = []
    for (let at = 0; at < 50; at++) {
      const claim = { name: `lock-${at % 5}`, owner: `owner-${at}`, ttlMs: 1_000 }
      // The counter alone has to do it: this clock goes back all the time.
      platform.clock.jumpWallTo(platform.clock.now() - 1_000)
      const answer = await store.acquire(claim)
      fences.push(answer.outcome === 'granted' ? answer.fence : 0)
      await store.release(claim)
    }
    const ofOne = fences.filter((_, at) => at % 5 === 0)
    expect(ofOne).toEqual([...new Set(ofOne)].sort((one, other) => one - other))
  })

  it('refuses the lock too many when all are held, and takes it when one is free', async () => {
    const store = memoryLockStore({ platform: testPlatform(), namesMax: 2 })
    const claimOf = (name: string) => ({ name, owner: 'one', ttlMs: 1_000 })
    await store.acquire(claimOf('a'))
    await store.acquire(claimOf('b'))
    await expect(store.acquire(claimOf('c'))).rejects.toMatchObject({
      code: 'OVERLOADED',
      detail: { waiting: 2, limit: 2 }
    })
    expect(await store.acquire(claimOf('a'))).toMatchObject({ outcome: 'granted' })
    await store.release(claimOf('b'))
    expect(await store.acquire(claimOf('c'))).toMatchObject({ outcome: 'granted' })
  })

  it.each([{ namesMax: 0 }, { namesMax: Number.NaN }, { names: 1 }])('is not made with %j', (options) => {
    expect(() => memoryLockStore(options)).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }))
  })
})

describe('the lock store on SQL', () => {
  async function setUp() {
    const { clock } = testPlatform()
    const db = withStoreClock(sqliteDatabase({ path: ':memory:' }), clock)
    await migrate(db, [lockSchema])
    const store = sqlLockStore({ db })
    const count = async () =>
      integerOf((await db.run(() => firstRow('select count(*) as names from lock_leases'))) ?? {}, 'names')
    return { clock, db, store, count }
  }

  it('sweeps names that nobody has used for 30 days, in portions, and never one that is held', async () => {
    const { clock, db, store, count } = await setUp()
    await using _ = db
    for (let at = 0; at < 1_100; at++) {
      const claim = { name: `lock-${at}`, owner: 'one', ttlMs: 1_000 }
      await store.acquire(claim)
      if (at % 2 === 0) await store.release(claim)
    }
    clock.jumpWallTo(clock.now() + 30 * DAY_MS)
    expect(await store.sweep.run({ signal })).toEqual({ handled: 0 })
    clock.jumpWallTo(clock.now() + 1)
    await store.acquire({ name: 'lock-7', owner: 'two', ttlMs: 1_000 })
    expect(await store.sweep.run({ signal })).toEqual({ handled: 1_000 })
    expect(await store.sweep.run({ signal })).toEqual({ handled: 99 })
    expect(await count()).toBe(1)
    expect(await store.acquire({ name: 'lock-7', owner: 'three', ttlMs: 1_000 })).toMatchObject({ outcome: 'busy' })
  })

  it('gives a higher fence to a name that was swept', async () => {
    const { clock, db, store } = await setUp()
    await using _ = db
    const claim = { name: 'job', owner: 'one', ttlMs: 1_000 }
    const before = await store.acquire(claim)
    clock.jumpWallTo(clock.now() + 31 * DAY_MS)
    await store.sweep.run({ signal })
    const after = await store.acquire({ ...claim, owner: 'two' })
    expect(after.outcome === 'granted' && before.outcome === 'granted' && after.fence > before.fence).toBe(true)
  })

  it('says of its store what that says', async () => {
    const { db, store } = await setUp()
    await using _ = db
    expect(store.supports).toEqual({ durable: 'none', shared: false })
  })

  it('does not take a fence for a number that is none', async () => {
    const { db, store } = await setUp()
    await using _ = db
    await db.run(() =>
      execute(
        'insert into lock_leases(name, owner, fence, expires_at, used_at) values (?, ?, ?, 0, 0)',
        'job',
        'one',
        2n ** 60n
      )
    )
    await expect(store.acquire({ name: 'job', owner: 'two', ttlMs: 1_000 })).rejects.toMatchObject({
      code: 'STORE_DAMAGED'
    })
  })

  it('is not made without a database', () => {
    expect(() => sqlLockStore({} as never)).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }))
  })
})
