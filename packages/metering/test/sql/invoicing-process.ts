/** Finalizes invoices on one SQLite file until it is killed, or there are none left. Arguments: file, periods. */
import { sqliteDatabase } from '@enablement/core/sqlite'
import { createInvoicing, createRateCard } from '@enablement/metering'
import { sqlInvoiceStore } from '@enablement/metering/sql'
import { usageLedger } from '../billing/usage-ledger.ts'
import { CALENDAR, events, starts } from './invoiced-usage.ts'

const [path = '', periods = ''] = process.argv.slice(2)
const db = sqliteDatabase({ path })
const card = createRateCard({
  currency: 'EUR',
  rounding: 'half-up',
  onUnratedMetric: 'refuse',
  metrics: { tokens: { rate: { currency: 'EUR', unitPrice: '0.01' } } }
})
const invoicing = createInvoicing({
  usage: usageLedger(CALENDAR, events(Number(periods))).usage,
  invoices: sqlInvoiceStore(db),
  rateCardOf: () => card,
  roundedPer: 'line'
})
for (const at of starts(Number(periods))) {
  await invoicing.final({ tenant: 'org', subscription: 'sub', calendar: CALENDAR, at })
  console.log(at)
}
await db.close()
