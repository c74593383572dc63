import { auditSchema, createAuditLog } from '@enablement/core/audit'
import { postgresDatabase } from '@enablement/core/postgres'
import { migrate, rows } from '@enablement/core/sql'
import { conformanceTests, testPlatform } from '@enablement/core/testing'
import { createMeter, type UsageEvent } from '@enablement/metering'
import { meteringSchema, sqlUsageStore } from '@enablement/metering/sql'
import { usageStoreConformance } from '@enablement/metering/testing'
import { ownSchema } from '@enablement/services/own-schema'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'

let tenants = 0
const freshTenant = (): string => {
  tenants += 1
  return `org-${tenants}`
}

const own = ownSchema(inject('postgresUrl'), { max: 12 })
const database = postgresDatabase(own.pool)
const AT = Date.UTC(2026, 0, 15, 10, 30)

beforeAll(async () => {
  await own.create()
  await migrate(database, [auditSchema, meteringSchema])
})
afterAll(async () => {
  await database.close()
  await own.drop()
})

describe('the SQL usage store on Postgres', () => {
  const create = async () => ({
    store: sqlUsageStore(database),
    tenant: freshTenant(),
    [Symbol.asyncDispose]: async () => {}
  })
  for (const { name, run } of conformanceTests(usageStoreConformance, { create, supports: {} })) it(name, run)

  it('counts each event once, and records it once, when several processes send the same ones at once', async () => {
    const tenant = freshTenant()
    const meters = Array.from({ length: 4 }, () =>
      createMeter({
        store: sqlUsageStore(database, { audit: createAuditLog({ db: database }) }),
        platform: testPlatform({ now: AT })
      })
    )
    const events = Array.from(
      { length: 60 },
      (_, at): UsageEvent => ({
        tenant,
        subscription: `sub-${at % 3}`,
        transactionId: `t${at}`,
        metric: `m${at % 4}`,
        quantity: at,
        at: AT - (at % 5) * 3_600_000
      })
    )
    const calls = meters.flatMap((meter, place) => {
      const turned = [...events.slice(place * 13), ...events.slice(0, place * 13)]
      const order = place % 2 === 0 ? turned : turned.reverse()
      return [meter.recordBatch(order), ...order.slice(0, 30).map(async (event) => [await meter.record(event)])]
    })
    const outcomes = (await Promise.all(calls)).flat().map(({ outcome }) => outcome)
    expect(outcomes.filter((outcome) => outcome === 'recorded')).toHaveLength(60)
    expect(outcomes.filter((outcome) => outcome === 'duplicate')).toHaveLength(4 * 90 - 60)
    const audit = createAuditLog({ db: database })
    const recorded = (await audit.read(tenant, { limit: 1_000 })).map(({ subject }) => subject)
    expect(new Set(recorded).size).toBe(60)
    expect(recorded).toHaveLength(60)
    const [hours] = await database.run(() =>
      rows(
        'select cast(sum(quantity_rest) as bigint) as quantity, cast(sum(events) as bigint) as events from metering_usage_hours where tenant = ?',
        tenant
      )
    )
    expect(hours).toEqual({ quantity: (59 * 60) / 2, events: 60 })
  })
})
