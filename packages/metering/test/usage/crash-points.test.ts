import { auditSchema, createAuditLog } from '@enablement/core/audit'
import { migrate, rows, type SqlDatabase } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { crashPoints, testPlatform, unlessCrashed } from '@enablement/core/testing'
import { createMeter, type UsageEvent } from '@enablement/metering'
import { meteringSchema, sqlUsageStore } from '@enablement/metering/sql'
import { describe, expect, inject, it } from 'vitest'

const AT = Date.UTC(2026, 0, 15, 10)
const DAY_MS = 86_400_000

/** Each crash point is tried on the sources, a fifth of them on the built output. */
const stride = Math.ceil(1 / inject('scale'))

const event = (transactionId: string, quantity: number, at = AT + quantity): UsageEvent => ({
  tenant: 'org',
  subscription: 'sub',
  transactionId,
  metric: quantity > 2 ? 'tokens' : 'calls',
  quantity,
  at
})

async function disk(): Promise<SqlDatabase> {
  const db = sqliteDatabase({ path: ':memory:' })
  await migrate(db, [auditSchema, meteringSchema])
  return db
}

function meterOn(db: SqlDatabase, now = AT) {
  const calendarOf = () => ({ every: { days: 1 }, timeZone: 'UTC', anchor: '2026-01-01' }) as const
  const store = sqlUsageStore(db, { audit: createAuditLog({ db }) })
  return createMeter({ store, calendarOf, platform: testPlatform({ now }) })
}

describe('a process that dies while it records and settles usage', () => {
  const ahead = event('ahead', 7, AT + DAY_MS)
  const old = event('old', 4, AT - 9 * DAY_MS)
  const batch = [event('1', 1), event('2', 2), event('2', 2), event('3', 3), event('1', 9), ahead, old]

  async function scenario(db: SqlDatabase): Promise<void> {
    await meterOn(db).record(event('0', 5))
    await meterOn(db).recordBatch(batch)
    const identity = { tenant: 'org', subscription: 'sub', by: 'operator:bo' }
    await meterOn(db, AT + DAY_MS).quarantine.release({ ...identity, transactionId: 'ahead' })
    await meterOn(db).reviews.resolve({ ...identity, transactionId: 'old', as: 'adjustment' })
  }

  it('leaves every accepted event counted exactly once after retries, and the record true, at every point', async () => {
    let points = 0
    for (let at = 0; ; at += stride) {
      await using store = await disk()
      const db = crashPoints(store, { at })
      await scenario(db).catch(unlessCrashed)
      // What was left is whole: the rollup says what the ledger says.
      expect(await inHours(store)).toEqual(await inLedger(store))
      await scenario(store)
      expect(await inHours(store)).toEqual(await inLedger(store))
      const range = { tenant: 'org', subscription: 'sub', from: AT - 10 * DAY_MS, to: AT + 2 * DAY_MS }
      expect(await meterOn(store).totals(range)).toEqual([
        { metric: 'calls', rollup: 'sum', quantity: 3n, events: 2 },
        { metric: 'tokens', rollup: 'sum', quantity: 19n, events: 4 }
      ])
      const audit = createAuditLog({ db: store })
      expect(await audit.verify('org')).toMatchObject({ outcome: 'intact' })
      const entries = await audit.read('org')
      const about = (action: string): string[] =>
        entries.flatMap((entry) => (entry.action === action ? [entry.subject] : [])).sort()
      expect(about('usage.recorded')).toEqual(['usage:0', 'usage:1', 'usage:2', 'usage:3'])
      expect(about('usage.quarantined')).toEqual(['usage:ahead'])
      expect(about('usage.sent-to-review')).toEqual(['usage:old'])
      expect(about('usage.released')).toEqual(['usage:ahead', 'usage:old'])
      expect(about('usage.conflicted').length).toBeGreaterThan(0)
      points = db.passed
      if (db.crashed === undefined) break
    }
    expect(points).toBeGreaterThan(22)
  })
})

const inLedger = (db: SqlDatabase) =>
  db.run(() =>
    rows(`select metric, late, sum(quantity) as quantity, count(*) as events from metering_usage
      where state = 'counted' group by metric, late order by metric, late`)
  )

const inHours = (db: SqlDatabase) =>
  db.run(() =>
    rows(`select metric, late, sum(quantity_millions * 1000000 + quantity_rest) as quantity, sum(events) as events
      from metering_usage_hours group by metric, late order by metric, late`)
  )
