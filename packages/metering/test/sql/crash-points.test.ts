import { auditSchema, createAuditLog } from '@enablement/core/audit'
import { migrate, rows, type SqlDatabase } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { crashPoints, unlessCrashed } from '@enablement/core/testing'
import { createMeter, type QuotaSpend, type UsageEvent } from '@enablement/metering'
import { meteringSchema, sqlQuotaStore, sqlUsageStore } from '@enablement/metering/sql'
import { describe, expect, inject, it } from 'vitest'

const AT = Date.UTC(2026, 0, 15, 10)

/** Each crash point is tried on the sources, a fifth of them on the built output. */
const stride = Math.ceil(1 / inject('scale'))

const event = (transactionId: string, quantity: number): UsageEvent => ({
  tenant: 'org',
  subscription: 'sub',
  transactionId,
  metric: quantity > 2 ? 'tokens' : 'calls',
  quantity,
  at: AT + quantity
})

async function disk(): Promise<SqlDatabase> {
  const db = sqliteDatabase({ path: ':memory:' })
  await migrate(db, [auditSchema, meteringSchema])
  return db
}

describe('a process that dies while it records usage', () => {
  const batch = [event('1', 1), event('2', 2), event('2', 2), event('3', 3), event('1', 9)]

  async function scenario(db: SqlDatabase): Promise<void> {
    const meter = createMeter({ store: sqlUsageStore(db, { audit: createAuditLog({ db }) }) })
    await meter.record(event('0', 5))
    await meter.recordBatch(batch)
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
      const meter = createMeter({ store: sqlUsageStore(store) })
      expect(await meter.totals({ tenant: 'org', subscription: 'sub', from: AT, to: AT + 10 })).toEqual([
        { metric: 'calls', quantity: 3n, events: 2 },
        { metric: 'tokens', quantity: 8n, events: 2 }
      ])
      const audit = createAuditLog({ db: store })
      expect(await audit.verify('org')).toMatchObject({ outcome: 'intact' })
      const entries = await audit.read('org')
      const recorded = entries.filter(({ action }) => action === 'usage.recorded').map(({ subject }) => subject)
      expect(recorded.sort()).toEqual(['usage:0', 'usage:1', 'usage:2', 'usage:3'])
      expect(entries.some(({ action }) => action === 'usage.conflicted')).toBe(true)
      points = db.passed
      if (db.crashed === undefined) break
    }
    expect(points).toBeGreaterThan(15)
  })
})

const inLedger = (db: SqlDatabase) =>
  db.run(() => rows('select metric, sum(quantity) as quantity, count(*) as events from metering_usage group by metric'))

const inHours = (db: SqlDatabase) =>
  db.run(() =>
    rows(`select metric, sum(quantity_millions * 1000000 + quantity_rest) as quantity, sum(events) as events
      from metering_usage_hours group by metric`)
  )

describe('a process that dies while it consumes', () => {
  const spend = (idempotencyKey: string, amount: number): QuotaSpend => ({
    tenant: 'org',
    limit: 'units',
    quantity: 10,
    period: 'lifetime',
    amount,
    idempotencyKey,
    idempotencyMs: 60_000
  })

  async function scenario(db: SqlDatabase): Promise<readonly unknown[]> {
    const store = sqlQuotaStore(db)
    return [await store.consume(spend('a', 4)), await store.consume(spend('b', 5)), await store.consume(spend('c', 2))]
  }

  it('has spent each key once after a retry, with the first answer, at every point', async () => {
    let points = 0
    for (let at = 0; ; at += stride) {
      await using store = await disk()
      const db = crashPoints(store, { at })
      await scenario(db).catch(unlessCrashed)
      expect(await scenario(store)).toMatchObject([
        { outcome: 'consumed', remaining: 6 },
        { outcome: 'consumed', remaining: 1 },
        { outcome: 'refused', remaining: 1 }
      ])
      points = db.passed
      if (db.crashed === undefined) break
    }
    expect(points).toBeGreaterThan(15)
  })
})
