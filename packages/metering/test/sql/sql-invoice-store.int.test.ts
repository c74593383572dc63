import { postgresDatabase } from '@enablement/core/postgres'
import { migrate } from '@enablement/core/sql'
import { conformanceTests, seededRandom, virtualClock, withStoreClock } from '@enablement/core/testing'
import { createInvoicing, createPlanChanges, createRateCard, type Invoice } from '@enablement/metering'
import { meteringSchema, sqlInvoiceStore } from '@enablement/metering/sql'
import { invoiceStoreConformance } from '@enablement/metering/testing'
import { ownSchema } from '@enablement/services/own-schema'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { usageLedger } from '../billing/usage-ledger.ts'

let tenants = 0
const own = ownSchema(inject('postgresUrl'), { max: 12 })
const database = postgresDatabase(own.pool)

beforeAll(async () => {
  await own.create()
  await migrate(database, [meteringSchema])
})
afterAll(async () => {
  await database.close()
  await own.drop()
})

describe('the SQL invoice store on Postgres', () => {
  const create = async () => {
    const clock = virtualClock()
    const store = sqlInvoiceStore(withStoreClock(database, clock))
    tenants += 1
    return { store, clock, tenant: `org-${tenants}`, [Symbol.asyncDispose]: async () => {} }
  }
  for (const { name, run } of conformanceTests(invoiceStoreConformance, { create, supports: {} })) it(name, run)
})

describe('many processes that bill one subscription on Postgres', () => {
  const DAY = 86_400_000
  const calendar = { every: { months: 1 }, timeZone: 'UTC', anchor: '2026-01-01' } as const
  const JANUARY = { from: Date.UTC(2026, 0, 1), to: Date.UTC(2026, 1, 1) }
  const FEBRUARY = { from: JANUARY.to, to: Date.UTC(2026, 2, 1) }
  const MARCH = { from: FEBRUARY.to, to: Date.UTC(2026, 3, 1) }
  const rateCard = createRateCard({
    currency: 'EUR',
    rounding: 'half-up',
    onUnratedMetric: 'refuse',
    metrics: { tokens: { rate: { currency: 'EUR', unitPrice: '0.01' } } }
  })

  it('bill each event once and take each adjustment once, while late usage and adjustments keep coming', async () => {
    const tenant = 'racing'
    const clock = virtualClock()
    clock.jumpWallTo(MARCH.to + DAY)
    const platform = { clock, random: seededRandom(1) }
    const { usage } = usageLedger(calendar, [
      { metric: 'tokens', quantity: 100, at: JANUARY.from, receivedAt: JANUARY.from },
      { metric: 'tokens', quantity: 7, at: JANUARY.from, receivedAt: JANUARY.to + 2 * DAY },
      { metric: 'tokens', quantity: 50, at: FEBRUARY.from, receivedAt: FEBRUARY.to + 3 * DAY }
    ])
    const store = sqlInvoiceStore(withStoreClock(database, clock))
    const make = () =>
      createInvoicing({ usage, invoices: store, rateCardOf: () => rateCard, roundedPer: 'line', platform })
    const periods = [JANUARY, FEBRUARY, MARCH]
    const put = (at: number) =>
      store.adjust(
        [
          {
            idempotencyKey: `k${at % 10}`,
            tenant,
            subscription: 'sub',
            currency: 'EUR',
            line: { kind: 'credit', description: 'goodwill', period: JANUARY, minorUnits: -1n, exact: '-0.01' }
          }
        ],
        { evidence: [] }
      )
    await make().final({ tenant, subscription: 'sub', calendar, at: JANUARY.from })
    const work = Array.from({ length: 30 }, async (_, at) => {
      if (at % 3 === 0) return put(at)
      return make().final({ tenant, subscription: 'sub', calendar, at: (periods[at % 3] as { from: number }).from })
    })
    const answers = (await Promise.all(work)).flat().map(({ outcome }) => outcome)
    expect(answers.filter((outcome) => outcome === 'finalized')).toHaveLength(2)
    const found = await Promise.all(periods.map((period) => store.find(tenant, 'sub', period)))
    const lines = found.flatMap((invoice) => invoice?.lines ?? [])
    const waiting = await store.pending(tenant, 'sub')
    expect(lines.filter(({ kind }) => kind === 'credit').length + waiting.length).toBe(10)
    const billed = await store.billed(tenant, 'sub', JANUARY)
    expect(billed).toEqual([{ metric: 'tokens', quantity: 107n, events: 2, minorUnits: 107n }])
  })

  it('read a draft whole while others replace it', async () => {
    const store = sqlInvoiceStore(database)
    const draft = (amounts: readonly bigint[]): Invoice => ({
      id: 'inv',
      tenant: 'drafting',
      subscription: 'sub',
      currency: 'EUR',
      period: JANUARY,
      status: 'draft',
      issuedAt: 1,
      lines: amounts.map((minorUnits) => ({
        kind: 'credit',
        description: 'x',
        period: JANUARY,
        minorUnits,
        exact: '0'
      })),
      minorUnits: amounts.reduce((sum, amount) => sum + amount, 0n)
    })
    let isDone = false
    const writing = (async () => {
      for (let at = 0; at < 60; at++) {
        await store.put(draft(at % 2 === 0 ? [1n, 2n, 3n] : [10n]), { takes: [], evidence: [] })
      }
      isDone = true
    })()
    const reading = Array.from({ length: 6 }, async () => {
      while (!isDone) {
        const found = await store.find('drafting', 'sub', JANUARY)
        const sum = found?.lines.reduce((all, { minorUnits }) => all + minorUnits, 0n)
        expect(sum).toBe(found?.minorUnits)
      }
    })
    await Promise.all([writing, ...reading])
  })

  it('change its plan once for each key, one after the other', async () => {
    const clock = virtualClock()
    clock.jumpWallTo(JANUARY.from + 10 * DAY)
    const platform = { clock, random: seededRandom(1) }
    const store = sqlInvoiceStore(withStoreClock(database, clock))
    const make = () => createPlanChanges({ store, profile: 'second', rounding: 'half-even', platform })
    const plan = (minorUnits: number) => ({ name: `p${minorUnits}`, currency: 'EUR', minorUnits, calendar })
    const sub = { tenant: 'changing', subscription: 'sub' }
    await make().subscribe({ ...sub, plan: plan(3_100), at: JANUARY.from })
    const answers = await Promise.all(
      Array.from({ length: 16 }, (_, at) =>
        make().change(
          { ...sub, to: plan(((at % 4) + 1) * 6_200), strategy: 'prorate' },
          { idempotencyKey: `k${at % 4}` }
        )
      )
    )
    expect(new Set(answers.map(({ outcome }) => outcome))).toEqual(new Set(['changed']))
    const lines = (await store.pending(sub.tenant, 'sub')).map(({ line }) => line)
    expect(lines).toHaveLength(9)
    const record = await make().find(sub.tenant, 'sub')
    // The used third of the first plan, and the rest of the last one.
    expect(lines.reduce((sum, { minorUnits }) => sum + minorUnits, 0n)).toBe(1_000n + BigInt(record?.charged ?? 0))
  })

  it('end it once, while others change its plan and its period ends', async () => {
    const clock = virtualClock()
    clock.jumpWallTo(JANUARY.to)
    const platform = { clock, random: seededRandom(1) }
    const store = sqlInvoiceStore(withStoreClock(database, clock))
    const make = () => createPlanChanges({ store, profile: 'second', rounding: 'half-even', platform })
    const plan = (minorUnits: number) => ({ name: `p${minorUnits}`, currency: 'EUR', minorUnits, calendar })
    const sub = { tenant: 'ending', subscription: 'sub' }
    await make().subscribe({ ...sub, plan: plan(3_100), at: JANUARY.from })
    const signal = new AbortController().signal
    const answers = await Promise.all(
      Array.from({ length: 18 }, async (_, at): Promise<string> => {
        if (at % 3 === 0) return `${(await make().duties[0]?.run({ signal }))?.handled}`
        if (at % 3 === 1) {
          return (await make().cancel({ ...sub, when: 'now' }, { idempotencyKey: `end${at % 2}` })).outcome
        }
        const to = plan(6_200)
        return (await make().change({ ...sub, to, strategy: 'prorate' }, { idempotencyKey: `k${at % 4}` })).outcome
      })
    )
    expect(answers).not.toContain('contended')
    expect(answers).toContain('cancelled')
    const lines = (await store.pending(sub.tenant, 'sub')).map(({ line }) => line)
    // At the very beginning of February all of what was charged for it comes back, whatever was changed before.
    expect(lines.reduce((sum, { minorUnits }) => sum + minorUnits, 0n)).toBe(3_100n)
    expect(await store.endedAt(sub.tenant, 'sub')).toBe(JANUARY.to)
    expect(await store.findSubscription(sub.tenant, 'sub')).toMatchObject({ endedAt: JANUARY.to })
  })
})
