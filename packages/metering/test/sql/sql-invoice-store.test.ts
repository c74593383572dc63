import { auditSchema, createAuditLog } from '@enablement/core/audit'
import { pgliteDatabase } from '@enablement/core/postgres'
import { migrate, type SqlDatabase } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { conformanceTests, virtualClock, withStoreClock } from '@enablement/core/testing'
import type { Invoice } from '@enablement/metering'
import { meteringSchema, sqlInvoiceStore } from '@enablement/metering/sql'
import { invoiceStoreConformance } from '@enablement/metering/testing'
import { emptyPglite } from '@enablement/services/pglite'
import { beforeAll, describe, expect, it } from 'vitest'

describe('the SQL invoice store on SQLite', () => {
  const create = async () => {
    const clock = virtualClock()
    const db = withStoreClock(sqliteDatabase({ path: ':memory:' }), clock)
    await migrate(db, [meteringSchema])
    return { store: sqlInvoiceStore(db), clock, tenant: 'org', [Symbol.asyncDispose]: () => db.close() }
  }
  for (const { name, run } of conformanceTests(invoiceStoreConformance, { create, supports: {} })) it(name, run)
})

describe('the SQL invoice store on PGlite', () => {
  let database: SqlDatabase
  let tenants = 0
  beforeAll(async () => {
    database = pgliteDatabase(await emptyPglite())
    await migrate(database, [meteringSchema])
  }, 60_000)

  const create = async () => {
    const clock = virtualClock()
    const store = sqlInvoiceStore(withStoreClock(database, clock))
    tenants += 1
    return { store, clock, tenant: `org-${tenants}`, [Symbol.asyncDispose]: async () => {} }
  }
  for (const { name, run } of conformanceTests(invoiceStoreConformance, { create, supports: {} })) it(name, run)
})

describe('an invoice with an audit log', () => {
  const period = { from: 0, to: 1 }
  const invoice: Invoice = {
    id: 'inv_1',
    tenant: 'org',
    subscription: 'sub',
    currency: 'EUR',
    period,
    status: 'final',
    issuedAt: 2,
    lines: [],
    minorUnits: 0n
  }
  const draft = { tenant: 'org', actor: 'system:test', action: 'invoice.finalized', subject: 'invoice:inv_1' }

  it('leaves its evidence in the same unit, and none where it was not stored', async () => {
    await using db = sqliteDatabase({ path: ':memory:' })
    await migrate(db, [auditSchema, meteringSchema])
    const audit = createAuditLog({ db })
    const store = sqlInvoiceStore(db, { audit })
    await expect(
      store.put(invoice, { takes: [], evidence: [{ ...draft, action: 'not dotted' }] })
    ).rejects.toMatchObject({ code: 'INVALID_OPTIONS' })
    expect(await store.find('org', 'sub', period)).toBeUndefined()
    expect(await store.revision('org', 'sub')).toBe(0)
    for (const outcome of ['stored', 'exists']) {
      expect(await store.put(invoice, { takes: [], evidence: [draft] })).toMatchObject({ outcome })
    }
    expect(await audit.read('org')).toMatchObject([draft])
  })

  it('is refused a log that is none', async () => {
    await using db = sqliteDatabase({ path: ':memory:' })
    expect(() => sqlInvoiceStore(db, { audit: {} as never })).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTIONS' })
    )
  })
})
