import { auditSchema, createAuditLog } from '@enablement/core/audit'
import { migrate, type SqlDatabase } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { crashPoints, seededRandom, unlessCrashed, virtualClock, withStoreClock } from '@enablement/core/testing'
import { createInvoicing, createPlanChanges, createRateCard, type Plan } from '@enablement/metering'
import { meteringSchema, sqlInvoiceStore } from '@enablement/metering/sql'
import { describe, expect, inject, it } from 'vitest'
import { usageLedger } from '../billing/usage-ledger.ts'

/** A third of the crash points on the sources, a fifteenth on the built output, and all of them with SOAK. */
const stride = Math.ceil(3 / inject('scale'))

const DAY = 86_400_000
const MONTH = { every: { months: 1 }, timeZone: 'UTC', anchor: '2026-01-01' } as const
const JANUARY = { from: Date.UTC(2026, 0, 1), to: Date.UTC(2026, 1, 1) }
const FEBRUARY = { from: JANUARY.to, to: Date.UTC(2026, 2, 1) }
const MARCH = { from: FEBRUARY.to, to: Date.UTC(2026, 3, 1) }
const APRIL = { from: MARCH.to, to: Date.UTC(2026, 4, 1) }
const plan = (name: string, minorUnits: number): Plan => ({ name, currency: 'EUR', minorUnits, calendar: MONTH })
const card = createRateCard({
  currency: 'EUR',
  rounding: 'half-up',
  onUnratedMetric: 'refuse',
  metrics: { tokens: { rate: { currency: 'EUR', unitPrice: '0.01' } } }
})

async function disk(): Promise<SqlDatabase> {
  const db = sqliteDatabase({ path: ':memory:' })
  await migrate(db, [auditSchema, meteringSchema])
  return db
}

/** A process: its clock begins anew where the scenario says. */
function processOn(bare: SqlDatabase, charged: Map<string, bigint>) {
  const clock = virtualClock()
  clock.jumpWallTo(JANUARY.from)
  const platform = { clock, random: seededRandom(1) }
  const db = withStoreClock(bare, clock)
  const store = sqlInvoiceStore(db, { audit: createAuditLog({ db }) })
  const changes = createPlanChanges({
    store,
    profile: 'second',
    rounding: 'half-even',
    platform,
    payments: {
      async collect({ idempotencyKey, minorUnits }) {
        charged.set(idempotencyKey, minorUnits)
        return { outcome: 'paid', reference: 'pay' }
      }
    }
  })
  const usage = usageLedger(MONTH, [
    { metric: 'tokens', quantity: 100, at: JANUARY.from, receivedAt: JANUARY.from },
    { metric: 'tokens', quantity: 7, at: JANUARY.from, receivedAt: JANUARY.to + 2 * DAY },
    { metric: 'tokens', quantity: 50, at: FEBRUARY.from, receivedAt: FEBRUARY.from },
    { metric: 'tokens', quantity: 3, at: FEBRUARY.from, receivedAt: FEBRUARY.to + 3 * DAY }
  ])
  const invoicing = createInvoicing({
    usage: usage.usage,
    invoices: store,
    rateCardOf: () => card,
    roundedPer: 'line',
    platform
  })
  const run = async (): Promise<void> => {
    for (const duty of [...changes.duties, ...invoicing.duties]) {
      while ((await duty.run({ signal: new AbortController().signal })).handled > 0);
    }
  }
  return { clock, store, changes, invoicing, run }
}

/** A subscription with a change that is paid at once, one at the end of the first month, and an end in the second. */
async function scenario(db: SqlDatabase, charged: Map<string, bigint>): Promise<void> {
  const { clock, changes, invoicing, run } = processOn(db, charged)
  const sub = { tenant: 'org', subscription: 'sub' }
  await changes.subscribe({ ...sub, plan: plan('basic', 3_100) })
  await invoicing.enroll({ ...sub, calendar: MONTH, at: JANUARY.from })
  clock.jumpWallTo(JANUARY.from + 10 * DAY)
  await changes.change({ ...sub, to: plan('pro', 6_200), strategy: 'prorate' }, { idempotencyKey: 'k1' })
  await changes.change({ ...sub, to: plan('mini', 280), strategy: 'next-period' }, { idempotencyKey: 'k2' })
  // What a process had claimed when it died is due again in a few minutes.
  const runAt = async (at: number): Promise<void> => {
    for (const now of [at, at + 600_000]) {
      clock.jumpWallTo(now)
      await run()
    }
  }
  await runAt(FEBRUARY.from + DAY)
  clock.jumpWallTo(FEBRUARY.from + 2 * DAY)
  await changes.cancel({ ...sub, when: 'now' }, { idempotencyKey: 'k3' })
  for (const { to } of [FEBRUARY, MARCH, APRIL]) await runAt(to + DAY)
}

describe('a process that dies while it changes plans and makes invoices', () => {
  it('leaves one invoice a period, one payment, every event billed once, and the record true, at any point', async () => {
    let points = 0
    for (let at = 0; ; at += stride) {
      await using store = await disk()
      const charged = new Map<string, bigint>()
      const db = crashPoints(store, { at })
      await scenario(db, charged).catch(unlessCrashed)
      await scenario(store, charged)

      const { store: invoices } = processOn(store, charged)
      const january = await invoices.find('org', 'sub', JANUARY)
      const february = await invoices.find('org', 'sub', FEBRUARY)
      const march = await invoices.find('org', 'sub', MARCH)
      // Which of them has a line depends on when the second process came by; their sum does not.
      const lines = [january, february, march].flatMap((invoice) => invoice?.lines ?? [])
      expect([january?.status, february?.status, march?.status]).toEqual(['final', 'final', 'final'])
      expect(await invoices.find('org', 'sub', APRIL)).toBeUndefined()
      expect(await invoices.findSubscription('org', 'sub')).toMatchObject({ endedAt: FEBRUARY.from + 2 * DAY })
      expect([...charged.values()]).toEqual([2_100n])
      const waiting = (await invoices.pending('org', 'sub')).map(({ line }) => line)
      const plans = [...lines, ...waiting].filter(({ kind }) => kind !== 'usage' && kind !== 'adjustment')
      const amounts = plans.map(({ minorUnits }) => Number(minorUnits)).sort((a, b) => a - b)
      expect(amounts).toEqual([-2_100, -2_100, -260, 280, 3_100, 4_200])
      expect(await invoices.billed('org', 'sub', JANUARY)).toEqual([
        { metric: 'tokens', quantity: 107n, events: 2, minorUnits: 107n }
      ])
      expect(await invoices.billed('org', 'sub', FEBRUARY)).toEqual([
        { metric: 'tokens', quantity: 53n, events: 2, minorUnits: 53n }
      ])
      const audit = createAuditLog({ db: store })
      expect(await audit.verify('org')).toMatchObject({ outcome: 'intact' })
      const actions = (await audit.read('org')).map(({ action }) => action).sort()
      expect(actions).toEqual([
        'invoice.finalized',
        'invoice.finalized',
        'invoice.finalized',
        'plan.change-scheduled',
        'plan.changed',
        'plan.changed',
        'plan.ended',
        'plan.payment-begun',
        'plan.subscribed'
      ])
      points = db.passed
      if (db.crashed === undefined) break
    }
    expect(points).toBeGreaterThan(60)
  }, 60_000)
})
