import { auditSchema, createAuditLog } from '@enablement/core/audit'
import { migrate } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { seededRandom, virtualClock, withStoreClock } from '@enablement/core/testing'
import { type Calendar, createInvoicing, createMeter, createRateCard, periodFinder } from '@enablement/metering'
import { meteringSchema, sqlInvoiceStore, sqlUsageStore } from '@enablement/metering/sql'
import { describe, expect, it } from 'vitest'

const DAY = 86_400_000
const calendar: Calendar = { every: { months: 1 }, timeZone: 'Europe/Paris', anchor: '2026-03-01' }
const finder = periodFinder(calendar)
const MARCH = finder.periodAt(Date.UTC(2026, 2, 10))
const APRIL = finder.shift(MARCH, 1)

describe('metered usage', () => {
  it('is billed in its period, as an adjustment on the next, or not before somebody decides (MT-3), once each', async () => {
    const clock = virtualClock()
    const platform = { clock, random: seededRandom(1) }
    await using db = withStoreClock(sqliteDatabase({ path: ':memory:' }), clock)
    await migrate(db, [auditSchema, meteringSchema])
    const audit = createAuditLog({ db })
    const usage = sqlUsageStore(db, { audit })
    const meter = createMeter({ store: usage, calendarOf: () => calendar, platform })
    const invoices = sqlInvoiceStore(db, { audit })
    const rateCard = createRateCard({
      currency: 'EUR',
      rounding: 'half-up',
      onUnratedMetric: 'refuse',
      metrics: {
        tokens: { rate: { currency: 'EUR', graduated: [{ upTo: 10, unitPrice: '1' }, { unitPrice: '0.1' }] } }
      }
    })
    const invoicing = createInvoicing({ usage, invoices, rateCardOf: () => rateCard, roundedPer: 'line', platform })
    const record = async (transactionId: string, quantity: number, receivedAt: number) => {
      clock.jumpWallTo(receivedAt)
      const event = {
        tenant: 'org',
        subscription: 'sub',
        transactionId,
        metric: 'tokens',
        quantity,
        at: MARCH.to - 1_000
      }
      return meter.record(event)
    }
    const final = (at: number, now: number) => {
      clock.jumpWallTo(now)
      return invoicing.final({ tenant: 'org', subscription: 'sub', calendar, at })
    }

    expect(await record('in time', 4, MARCH.to - 1)).toMatchObject({ outcome: 'recorded' })
    expect(await record('in grace', 4, MARCH.to + DAY)).toMatchObject({ resolution: 'original-period' })
    expect(await final(MARCH.from, MARCH.to + DAY)).toMatchObject({ invoice: { minorUnits: 800n } })
    expect(await record('late', 4, MARCH.to + DAY + 1)).toMatchObject({ resolution: 'adjustment' })
    expect(await record('late', 4, MARCH.to + DAY + 2)).toMatchObject({ outcome: 'duplicate' })
    expect(await record('too late', 100, MARCH.to + 7 * DAY + 1)).toMatchObject({ resolution: 'manual-review' })
    // Two more of the first tier, and two of the second.
    expect(await final(APRIL.from, APRIL.to + DAY)).toMatchObject({
      invoice: { minorUnits: 220n, lines: [{ kind: 'adjustment', period: MARCH, quantity: 4n, events: 1 }] }
    })
    expect(await invoices.billed('org', 'sub', MARCH)).toEqual([
      { metric: 'tokens', quantity: 12n, events: 3, minorUnits: 1_020n }
    ])
    const actions = (await audit.read('org')).map(({ action }) => action)
    expect(actions.filter((action) => action === 'invoice.finalized')).toHaveLength(2)
  })
})
