import { auditSchema, createAuditLog } from '@enablement/core/audit'
import { scheduleSchema } from '@enablement/core/schedule'
import { migrate, rows, type SqlDatabase, textOf } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { type TestPlatform, testPlatform, withStoreClock } from '@enablement/core/testing'
import {
  type Calendar,
  createInvoicing,
  createMeter,
  createRateCard,
  createReconciliation,
  type ListedSubscription,
  periodFinder,
  type RateCard,
  type ReconciliationOptions,
  type SubscriptionLister
} from '@enablement/metering'
import { meteringSchema, sqlInvoiceStore, sqlSubscriptionLister, sqlUsageStore } from '@enablement/metering/sql'

export const HOUR = 3_600_000
export const DAY = 24 * HOUR
export const calendar: Calendar = { every: { months: 1 }, timeZone: 'Europe/Paris', anchor: '2040-01-01' }
const finder = periodFinder(calendar)
export const JANUARY = finder.periodAt(Date.UTC(2040, 0, 10))
export const FEBRUARY = finder.shift(JANUARY, 1)
export const MARCH = finder.shift(JANUARY, 2)

export const card: RateCard = createRateCard({
  currency: 'EUR',
  rounding: 'half-even',
  onUnratedMetric: 'refuse',
  metrics: {
    tokens: {
      rate: { currency: 'EUR', graduated: [{ upTo: 100, unitPrice: '0.013' }, { unitPrice: '0.005' }] }
    },
    calls: { rate: { currency: 'EUR', unitPrice: '0.33' }, included: 5 },
    seat: { rate: { currency: 'EUR', flatPrice: '9.99' } }
  }
})

export const schemas = [auditSchema, scheduleSchema, meteringSchema]

/** A ledger, its bills and their reconciliation, on one database and one clock. */
export function world(db: SqlDatabase, platform: TestPlatform, options: Partial<ReconciliationOptions> = {}) {
  const audit = createAuditLog({ db, platform })
  const usage = sqlUsageStore(db)
  const invoices = sqlInvoiceStore(db, { audit })
  const meter = createMeter({ store: usage, calendarOf: () => calendar, platform })
  const events: { type: string; [more: string]: unknown }[] = []
  const roundedPer = options.roundedPer ?? 'line'
  const invoicing = createInvoicing({ usage, invoices, rateCardOf: () => card, roundedPer, platform })
  const reconciliation = createReconciliation({
    db,
    usage,
    invoices,
    rateCardOf: () => card,
    roundedPer,
    subscriptions: sqlSubscriptionLister(db),
    onDifference: 'adjust',
    observe: (event) => events.push(event),
    platform,
    ...options
  })
  let transactions = 0
  const use = async (metric: string, quantity: number, at: number, receivedAt = at, subscription = 'sub') => {
    platform.clock.jumpWallTo(receivedAt)
    transactions += 1
    const transactionId = `t${transactions}-${subscription}-${at}-${receivedAt}`
    const outcome = await meter.record({ tenant: 'org', subscription, transactionId, metric, quantity, at })
    if (outcome.outcome !== 'recorded' && outcome.outcome !== 'late') throw new Error(JSON.stringify(outcome))
  }
  const final = async (period: { from: number; to: number }, at = period.to + DAY, subscription = 'sub') => {
    platform.clock.jumpWallTo(Math.max(platform.clock.now(), at))
    const outcome = await invoicing.final({ tenant: 'org', subscription, calendar, at: period.from })
    if (!('invoice' in outcome)) throw new Error(outcome.outcome)
    return outcome.invoice
  }
  const query = (at = JANUARY.from, subscription = 'sub') => ({ tenant: 'org', subscription, calendar, at })
  const compared = async (at = JANUARY.from, subscription = 'sub') => {
    const found = await reconciliation.check(query(at, subscription))
    if (found.outcome !== 'compared') throw new Error(found.outcome)
    return found.comparison
  }
  const work = async (): Promise<void> => {
    for (const duty of reconciliation.duties) {
      while ((await duty.run({ signal: new AbortController().signal })).handled > 0);
    }
  }
  return { audit, usage, invoices, meter, invoicing, reconciliation, events, use, final, query, compared, work }
}

export async function stage(options: Partial<ReconciliationOptions> = {}) {
  const platform = testPlatform({ now: JANUARY.from })
  const db = withStoreClock(sqliteDatabase({ path: ':memory:', platform }), platform.clock)
  await migrate(db, schemas)
  return { db, platform, ...world(db, platform, options), [Symbol.asyncDispose]: () => db.close() }
}

export const listing = (subscriptions: readonly ListedSubscription[], pageMax = 2): SubscriptionLister => ({
  async list({ after, limit }) {
    const from = after === undefined ? 0 : Number(after)
    const to = from + Math.min(limit, pageMax)
    return { subscriptions: subscriptions.slice(from, to), next: to < subscriptions.length ? String(to) : undefined }
  }
})

export const actions = async (db: SqlDatabase): Promise<string[]> =>
  (await db.run(() => rows('select action from audit_entries order by position'))).map((row) => textOf(row, 'action'))
