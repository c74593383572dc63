import { migrate } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { seededRandom, virtualClock, withStoreClock } from '@enablement/core/testing'
import { memoryQuotaStore } from '@enablement/metering/memory'
import { meteringSchema, sqlQuotaStore } from '@enablement/metering/sql'
import { test } from '@fast-check/vitest'
import { describe, inject } from 'vitest'
import { histories, playAtOnce, playInOrder } from './reference-quota.ts'

const scale = inject('scale')

describe('quota stores against the reference', () => {
  test.prop([histories], { numRuns: Math.ceil(200 * scale) })(
    'the memory store answers as the reference does',
    async (history) => {
      const clock = virtualClock()
      const store = memoryQuotaStore({ platform: { clock, random: seededRandom(1) } })
      await playInOrder(store, clock, 'org', history)
    },
    600_000
  )

  test.prop([histories], { numRuns: Math.ceil(40 * scale) })(
    'the SQL store answers as the reference does',
    async (history) => {
      const clock = virtualClock()
      await using disk = sqliteDatabase({ path: ':memory:' })
      const db = withStoreClock(disk, clock)
      await migrate(db, [meteringSchema])
      await playInOrder(sqlQuotaStore(db), clock, 'org', history)
    },
    600_000
  )

  test.prop([histories], { numRuns: Math.ceil(20 * scale) })(
    'some order explains what the SQL store answers to calls that are made at once',
    async (history) => {
      const clock = virtualClock()
      await using disk = sqliteDatabase({ path: ':memory:' })
      const db = withStoreClock(disk, clock)
      await migrate(db, [meteringSchema])
      await playAtOnce(sqlQuotaStore(db), clock, 'org', history)
    },
    600_000
  )
})
