import { pgliteDatabase } from '@enablement/core/postgres'
import { changes, firstRow, integerOf, type SqlDatabase } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { testPlatform, virtualClock, withStoreClock } from '@enablement/core/testing'
import { emptyPglite } from '@enablement/services/pglite'
import { afterAll, describe, expect, it } from 'vitest'

const sqlite = sqliteDatabase({ path: ':memory:' })
const pglite = pgliteDatabase(await emptyPglite())
afterAll(() => sqlite.close())

describe.each([
  ['sqlite', sqlite],
  ['pglite', pglite]
] as const)('store clock on %s', (_name, real: SqlDatabase) => {
  it('is read as each statement runs, in a text that was built once', async () => {
    const clock = virtualClock({ now: 1_800_000_000_000 })
    const db = withStoreClock(real, clock)
    const text = `select ${db.dialect.now} as now, ${db.dialect.now} - 5 as earlier, cast(? as integer) as bound`
    const read = (): Promise<number[]> =>
      db.run(function* () {
        const row = (yield* firstRow(text, 7)) ?? {}
        return [integerOf(row, 'now'), integerOf(row, 'earlier'), integerOf(row, 'bound')]
      })
    expect(await read()).toEqual([1_800_000_000_000, 1_799_999_999_995, 7])
    await clock.advance(10)
    expect(await read()).toEqual([1_800_000_000_010, 1_800_000_000_005, 7])
    clock.jumpWallTo(5)
    expect(await read()).toEqual([5, 0, 7])
  })

  it('adds up beyond 32 bits however early it stands', async () => {
    const db = withStoreClock(real, virtualClock({ now: 2_000_000_000 }))
    const later = await db.run(function* () {
      return integerOf((yield* firstRow(`select ${db.dialect.now} + 2000000000 as later`)) ?? {}, 'later')
    })
    expect(later).toBe(4_000_000_000)
  })

  it('leaves the rest of the database as it is', () => {
    const db = withStoreClock(real, virtualClock())
    expect(db.supports).toEqual(real.supports)
    expect({ ...db.dialect, now: '' }).toEqual({ ...real.dialect, now: '' })
  })

  it('fails loudly when its texts are run on the bare database', async () => {
    const db = withStoreClock(real, virtualClock())
    const bypass = real.run(function* () {
      yield* firstRow(`select ${db.dialect.now} as now`)
    })
    await expect(bypass).rejects.toMatchObject({ code: 'STATEMENT_FAILED' })
  })
})

describe('virtual clock beside the sqlite driver', () => {
  it('lets a run of group commits settle between two timers', async () => {
    const platform = testPlatform()
    await using db = sqliteDatabase({ path: ':memory:' })
    await db.run(function* () {
      yield* changes('create table ticks (at integer not null) strict')
    })
    const tick = async (at: number): Promise<void> => {
      for (let unit = 0; unit < 8; unit++) {
        await db.run(function* () {
          yield* changes('insert into ticks (at) values (?)', at)
        })
      }
    }
    const counts: number[] = []
    const count = async (): Promise<void> => {
      const row = await db.run(() => firstRow('select count(*) as n from ticks'))
      counts.push(integerOf(row ?? {}, 'n'))
    }
    platform.clock.startTimer(10, () => void tick(10))
    platform.clock.startTimer(20, () => void count())
    await platform.clock.advance(20)
    expect(counts).toEqual([8])
  })
})
