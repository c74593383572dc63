import { auditSchema, createAuditLog } from '@enablement/core/audit'
import { migrate, type SqlDatabase } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { createMeter, type UsageEvent } from '@enablement/metering'
import { meteringSchema, sqlUsageStore } from '@enablement/metering/sql'
import { describe, expect, it } from 'vitest'

const event: UsageEvent = {
  tenant: 'org',
  subscription: 'sub',
  transactionId: 'call-1',
  metric: 'tokens',
  quantity: 5,
  at: Date.UTC(2026, 0, 15),
  properties: { apiKey: 'sk-secret' }
}

async function setUp() {
  const db: SqlDatabase = sqliteDatabase({ path: ':memory:' })
  await migrate(db, [auditSchema, meteringSchema])
  const audit = createAuditLog({ db })
  return { db, audit, meter: createMeter({ store: sqlUsageStore(db, { audit }) }) }
}

describe('usage with an audit log', () => {
  it('leaves an entry for what was counted and for what contradicts it, and none for a repetition', async () => {
    const { db, audit, meter } = await setUp()
    await meter.recordBatch([event, event, { ...event, quantity: 6 }])
    await meter.record(event)
    const entries = await audit.read('org')
    expect(entries).toMatchObject([
      {
        action: 'usage.recorded',
        actor: 'system:metering',
        subject: 'usage:call-1',
        detail: { subscription: 'sub', metric: 'tokens', quantity: 5 }
      },
      { action: 'usage.conflicted', subject: 'usage:call-1', detail: { quantity: 6 } }
    ])
    expect(JSON.stringify(entries)).not.toContain('sk-secret')
    expect(await audit.verify('org')).toMatchObject({ outcome: 'intact', entries: 2 })
    await db.close()
  })

  it('takes the longest identifiers', async () => {
    const { db, meter } = await setUp()
    const long = 'x'.repeat(255)
    const outcome = await meter.record({
      tenant: long,
      subscription: long,
      transactionId: long,
      metric: long,
      quantity: 9e15,
      at: event.at
    })
    expect(outcome).toMatchObject({ outcome: 'recorded', at: event.at })
    await db.close()
  })
})

describe('a usage store in a database that', () => {
  it('is not migrated says what to do', async () => {
    await using db = sqliteDatabase({ path: ':memory:' })
    await expect(createMeter({ store: sqlUsageStore(db) }).record(event)).rejects.toMatchObject({
      code: 'STORE_FAILED',
      message: expect.stringContaining('migrate(db, schemas)')
    })
  })

  it('is closed fails typed', async () => {
    const { db, meter } = await setUp()
    await db.close()
    await expect(meter.record(event)).rejects.toMatchObject({ code: 'STORE_FAILED', detail: { reason: 'CLOSED' } })
    const outcomes = await meter.recordBatch([event])
    expect(outcomes).toMatchObject([{ outcome: 'unknown', error: { code: 'STORE_FAILED' } }])
  })

  it('is given an audit log that is none is refused', async () => {
    await using db = sqliteDatabase({ path: ':memory:' })
    expect(() => sqlUsageStore(db, { audit: {} as never })).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTIONS' })
    )
  })
})
