import { startWorker } from '@enablement/core/schedule'
import { seededRandom, virtualClock } from '@enablement/core/testing'
import {
  type BillingEvent,
  type Calendar,
  createInvoicing,
  createPlanChanges,
  createRateCard,
  type DraftOutcome,
  type FinalOutcome,
  type Invoice,
  type InvoicingOptions,
  periodFinder,
  type RateCard
} from '@enablement/metering'
import { memoryInvoiceStore } from '@enablement/metering/memory'
import { fc, test } from '@fast-check/vitest'
import { describe, expect, inject, it } from 'vitest'
import { type LedgerEvent, usageLedger } from './usage-ledger.ts'

const HOUR = 3_600_000
const DAY = 24 * HOUR
const calendar: Calendar = { every: { months: 1 }, timeZone: 'Europe/Paris', anchor: '2026-01-01' }
const finder = periodFinder(calendar)
const JANUARY = finder.periodAt(Date.UTC(2026, 0, 10))
const FEBRUARY = finder.shift(JANUARY, 1)
const MARCH = finder.shift(JANUARY, 2)

const card: RateCard = createRateCard({
  currency: 'EUR',
  rounding: 'half-even',
  onUnratedMetric: 'refuse',
  metrics: {
    tokens: { rate: { currency: 'EUR', graduated: [{ upTo: 100, unitPrice: '0.013' }, { unitPrice: '0.005' }] } },
    calls: { rate: { currency: 'EUR', unitPrice: '0.0033' }, included: 5 }
  }
})

function stage(options: Partial<InvoicingOptions> = {}, events: LedgerEvent[] = []) {
  const clock = virtualClock()
  clock.jumpWallTo(JANUARY.from)
  const platform = { clock, random: seededRandom(1) }
  const store = memoryInvoiceStore({ platform })
  const ledger = usageLedger(calendar, events)
  const seen: BillingEvent[] = []
  const invoicing = createInvoicing({
    usage: ledger.usage,
    invoices: store,
    rateCardOf: () => card,
    roundedPer: 'line',
    observe: (event) => seen.push(event),
    platform,
    ...options
  })
  const use = (metric: string, quantity: number, at: number, receivedAt = at): void => {
    events.push({ metric, quantity, at, receivedAt })
  }
  const query = (at: number) => ({ tenant: 'org', subscription: 'sub', calendar, at })
  const finalAt = (at: number, now: number) => {
    clock.jumpWallTo(now)
    return invoicing.final(query(at))
  }
  return { clock, platform, store, invoicing, use, query, finalAt, seen, events }
}

const lines = ({ lines: all }: Invoice) =>
  all.map(({ kind, metric, quantity, minorUnits }) => [kind, metric, quantity, minorUnits])
const invoiceOf = (answer: FinalOutcome | DraftOutcome): Invoice => {
  if ('invoice' in answer) return answer.invoice
  throw new Error(answer.outcome)
}

describe('an invoice', () => {
  it('closes 24 hours after its period, to the millisecond', async () => {
    const { finalAt, use } = stage()
    use('tokens', 10, JANUARY.from)
    const closesAt = JANUARY.to + DAY
    expect(await finalAt(JANUARY.from, closesAt - 1)).toEqual({ outcome: 'too-early', closesAt })
    expect(await finalAt(JANUARY.from, closesAt)).toMatchObject({ outcome: 'finalized' })
  })

  it('bills the usage of its period by metric, those that come in the grace too, and nothing of its neighbours', async () => {
    const { finalAt, use } = stage()
    use('tokens', 100, JANUARY.from)
    use('tokens', 7, JANUARY.to - 1, JANUARY.to + DAY)
    use('tokens', 1_000, JANUARY.to)
    use('calls', 8, JANUARY.from + 5)
    const invoice = invoiceOf(await finalAt(JANUARY.from, JANUARY.to + DAY))
    expect(lines(invoice)).toEqual([
      ['usage', 'calls', 8n, 1n],
      ['usage', 'tokens', 107n, 134n]
    ])
    expect(invoice).toMatchObject({ minorUnits: 135n, currency: 'EUR', status: 'final', period: JANUARY })
    expect(invoice.id).toMatch(/^inv_[0-9a-f]{32}$/)
  })

  it('prices late usage by its own period and tier, on the next invoice, once', async () => {
    const { finalAt, use, store } = stage()
    use('tokens', 90, JANUARY.from)
    await finalAt(JANUARY.from, JANUARY.to + DAY)
    // 10 units of the first tier, and 10 of the second.
    use('tokens', 20, JANUARY.from, JANUARY.to + DAY + 1)
    use('tokens', 50, FEBRUARY.from)
    const february = invoiceOf(await finalAt(FEBRUARY.from, FEBRUARY.to + DAY))
    expect(lines(february)).toEqual([
      ['usage', 'tokens', 50n, 65n],
      ['adjustment', 'tokens', 20n, 18n]
    ])
    expect(february.lines[1]).toMatchObject({ period: JANUARY, events: 1, exact: '0.18' })
    const march = invoiceOf(await finalAt(MARCH.from, MARCH.to + DAY))
    expect(march.lines).toEqual([])
    expect(await store.billed('org', 'sub', JANUARY)).toEqual([
      { metric: 'tokens', quantity: 110n, events: 2, minorUnits: 135n }
    ])
  })

  it('prices late usage by the card of its period, not by that of the day', async () => {
    const dear = createRateCard({
      currency: 'EUR',
      rounding: 'half-even',
      onUnratedMetric: 'refuse',
      metrics: { tokens: { rate: { currency: 'EUR', unitPrice: '9' } } }
    })
    const { finalAt, use } = stage({ rateCardOf: ({ period }) => (period.from < FEBRUARY.from ? card : dear) })
    use('tokens', 10, JANUARY.from)
    await finalAt(JANUARY.from, JANUARY.to + DAY)
    use('tokens', 10, JANUARY.from, JANUARY.to + 2 * DAY)
    expect(lines(invoiceOf(await finalAt(FEBRUARY.from, FEBRUARY.to + DAY)))).toEqual([
      ['adjustment', 'tokens', 10n, 13n]
    ])
  })

  it('finds what reached the ledger while the invoice before it was made', async () => {
    const { finalAt, use } = stage()
    await finalAt(JANUARY.from, JANUARY.to + DAY)
    // In time by its receipt, and committed after the invoice.
    use('tokens', 10, JANUARY.from, JANUARY.to + DAY)
    expect(lines(invoiceOf(await finalAt(FEBRUARY.from, FEBRUARY.to + DAY)))).toEqual([
      ['adjustment', 'tokens', 10n, 13n]
    ])
  })

  it('leaves the late usage of a period without a final invoice to a later one', async () => {
    const { finalAt, use } = stage()
    use('tokens', 10, JANUARY.from)
    use('tokens', 5, JANUARY.from, JANUARY.to + 2 * DAY)
    expect(invoiceOf(await finalAt(FEBRUARY.from, FEBRUARY.to + DAY)).lines).toEqual([])
    expect(lines(invoiceOf(await finalAt(JANUARY.from, FEBRUARY.to + DAY)))).toEqual([['usage', 'tokens', 10n, 13n]])
    expect(lines(invoiceOf(await finalAt(MARCH.from, MARCH.to + DAY)))).toEqual([['adjustment', 'tokens', 5n, 7n]])
  })

  it('bills all of a metric whose rollup was changed within the period', async () => {
    const usage: InvoicingOptions['usage'] = {
      totals: async () => [
        { metric: 'tokens', rollup: 'max', quantity: 30n, events: 2 },
        { metric: 'tokens', rollup: 'sum', quantity: 80n, events: 3 }
      ],
      adjustments: async () => []
    }
    const { invoicing, query } = stage({ usage })
    const { lines: made } = await invoicing.preview(query(JANUARY.from))
    expect(made).toMatchObject([{ metric: 'tokens', quantity: 110n, events: 5, minorUnits: 135n }])
  })

  it('finds all late usage, also more than a store lists at once', async () => {
    const events: LedgerEvent[] = []
    const { usage } = usageLedger(calendar, events)
    // Its lists end after 1,001 rows, which are all of January unless the range is narrow.
    const listing: InvoicingOptions['usage'] = {
      ...usage,
      async adjustments(query) {
        const all = await usage.adjustments(query)
        return all.flatMap((one) => (one.periodAt === JANUARY.from ? Array(1_001).fill(one) : [one])).slice(0, 1_001)
      }
    }
    const { finalAt, use } = stage({ usage: listing }, events)
    await finalAt(JANUARY.from, JANUARY.to + DAY)
    await finalAt(FEBRUARY.from, FEBRUARY.to + DAY)
    await finalAt(MARCH.from, MARCH.to + DAY)
    use('tokens', 1, JANUARY.from, JANUARY.to + 2 * DAY)
    use('tokens', 10, FEBRUARY.from, FEBRUARY.to + 2 * DAY)
    const april = finder.shift(MARCH, 1)
    expect(lines(invoiceOf(await finalAt(april.from, april.to + DAY)))).toEqual([
      ['adjustment', 'tokens', 1n, 1n],
      ['adjustment', 'tokens', 10n, 13n]
    ])
  })

  it('takes what waits for it, in one order', async () => {
    const { finalAt, use, store } = stage()
    use('tokens', 10, JANUARY.from)
    const put = (key: string, kind: 'credit' | 'proration' | 'plan', minorUnits: bigint, currency = 'EUR') =>
      store.adjust(
        [
          {
            idempotencyKey: key,
            tenant: 'org',
            subscription: 'sub',
            currency,
            line: { kind, description: key, period: JANUARY, minorUnits, exact: '0' }
          }
        ],
        { evidence: [] }
      )
    await put('goodwill', 'credit', -5n)
    await put('upgrade', 'proration', 7n)
    await put('other', 'plan', 1n, 'USD')
    await put('pro', 'plan', 2_000n)
    const invoice = invoiceOf(await finalAt(JANUARY.from, JANUARY.to + DAY))
    expect(invoice.lines.map(({ kind }) => kind)).toEqual(['plan', 'usage', 'proration', 'credit'])
    expect(invoice.minorUnits).toBe(2_015n)
    expect((await store.pending('org', 'sub')).map(({ idempotencyKey }) => idempotencyKey)).toEqual(['other'])
  })

  it('bills a minimum and a flat price also without usage, and a late event within them at nothing', async () => {
    const flat = createRateCard({
      currency: 'EUR',
      rounding: 'half-up',
      onUnratedMetric: 'bill-at-zero',
      metrics: {
        seats: { rate: { currency: 'EUR', flatPrice: '9' } },
        tokens: { rate: { currency: 'EUR', unitPrice: '0.01' }, minimum: '1' }
      }
    })
    const { finalAt, use } = stage({ rateCardOf: () => flat })
    expect(lines(invoiceOf(await finalAt(JANUARY.from, JANUARY.to + DAY)))).toEqual([
      ['usage', 'seats', 0n, 900n],
      ['usage', 'tokens', 0n, 100n]
    ])
    use('tokens', 60, JANUARY.from, JANUARY.to + 2 * DAY)
    use('tokens', 60, JANUARY.from, JANUARY.to + 2 * DAY)
    use('other', 3, JANUARY.from, JANUARY.to + 2 * DAY)
    const adjustments = invoiceOf(await finalAt(FEBRUARY.from, FEBRUARY.to + DAY)).lines.filter(
      ({ kind }) => kind === 'adjustment'
    )
    expect(adjustments.map(({ metric, minorUnits, events }) => [metric, minorUnits, events])).toEqual([
      ['other', 0n, 1],
      ['tokens', 20n, 2]
    ])
  })

  it('rounds its lines so that they add up to the rounded sum, where it is told to', async () => {
    const thirds = createRateCard({
      currency: 'EUR',
      rounding: 'half-even',
      onUnratedMetric: 'refuse',
      metrics: Object.fromEntries(
        ['a', 'b', 'c'].map((name) => [name, { rate: { currency: 'EUR', unitPrice: '1', per: 3 } }])
      )
    })
    const { use, invoicing, query } = stage({ rateCardOf: () => thirds, roundedPer: 'invoice' })
    for (const metric of ['a', 'b', 'c']) use(metric, 1, JANUARY.from)
    const invoice = await invoicing.preview(query(JANUARY.from))
    expect(invoice.lines.map(({ minorUnits }) => minorUnits)).toEqual([34n, 33n, 33n])
    expect(invoice).toMatchObject({ minorUnits: 100n, status: 'draft' })
  })

  it.each([
    ['invoice', 48n],
    ['line', 49n]
  ] as const)('is taxed per %s', async (per, tax) => {
    const taxOf = () => ({ name: 'VAT 20 %', rate: '0.2', per })
    const { use, invoicing, query, store } = stage({ taxOf, taxRounding: 'half-up' })
    use('tokens', 4, JANUARY.from)
    use('calls', 5 + 700, JANUARY.from)
    // 0.052 and 2.31: lines of 5 and 231 cents, and a credit that is not taxed.
    const pending = { kind: 'credit', description: 'paid', period: JANUARY, minorUnits: -50n, exact: '-0.5' } as const
    const before = await invoicing.preview(query(JANUARY.from))
    expect(before.lines.filter(({ kind }) => kind === 'usage').map(({ minorUnits }) => minorUnits)).toEqual([231n, 5n])
    await store.adjust(
      [1, 2, 3].map((at) => ({
        idempotencyKey: `k${at}`,
        tenant: 'org',
        subscription: 'sub',
        currency: 'EUR',
        line: at === 3 ? pending : { ...pending, kind: 'proration' as const, minorUnits: 3n }
      })),
      { evidence: [] }
    )
    const invoice = await invoicing.preview(query(JANUARY.from))
    expect(invoice.lines.at(-1)).toMatchObject({ kind: 'tax', description: 'VAT 20 %', minorUnits: tax })
    expect(invoice.minorUnits).toBe(242n - 50n + tax)
  })

  it('is a preview that writes nothing, or a draft that the final one replaces', async () => {
    const { use, invoicing, query, store, finalAt } = stage()
    use('tokens', 10, JANUARY.from)
    const preview = await invoicing.preview(query(JANUARY.from))
    expect(await store.find('org', 'sub', JANUARY)).toBeUndefined()
    expect(await invoicing.draft(query(JANUARY.from))).toMatchObject({ outcome: 'drafted', invoice: preview })
    use('tokens', 10, JANUARY.from)
    expect(invoiceOf(await invoicing.draft(query(JANUARY.from))).minorUnits).toBe(26n)
    const final = await finalAt(JANUARY.from, JANUARY.to + DAY)
    expect(final).toMatchObject({ outcome: 'finalized', invoice: { id: preview.id, minorUnits: 26n } })
    use('tokens', 10, JANUARY.from)
    expect(await finalAt(JANUARY.from, JANUARY.to + 2 * DAY)).toEqual({ ...final, outcome: 'exists' })
    expect(await invoicing.draft(query(JANUARY.from))).toEqual({ ...final, outcome: 'exists' })
  })

  it('is made once by many at the same time, and everybody is told the same', async () => {
    const { use, clock, invoicing, query, store, seen } = stage()
    use('tokens', 10, JANUARY.from)
    use('tokens', 10, FEBRUARY.from)
    clock.jumpWallTo(FEBRUARY.to + DAY)
    const answers = await Promise.all(
      Array.from({ length: 12 }, (_, at) => invoicing.final(query(at % 2 === 0 ? JANUARY.from : FEBRUARY.from)))
    )
    expect(answers.filter(({ outcome }) => outcome === 'finalized')).toHaveLength(2)
    expect(new Set(answers.map((answer) => invoiceOf(answer).id)).size).toBe(2)
    expect(seen.filter(({ type }) => type === 'invoice.finalized')).toHaveLength(2)
    expect(store.evidence('org').map(({ action }) => action)).toEqual(['invoice.finalized', 'invoice.finalized'])
  })

  it('bills late usage once when the invoices that could do so are made at the same time', async () => {
    const { use, clock, invoicing, query, store, finalAt } = stage()
    await finalAt(JANUARY.from, JANUARY.to + DAY)
    use('tokens', 10, JANUARY.from, JANUARY.to + 2 * DAY)
    clock.jumpWallTo(MARCH.to + DAY)
    await Promise.all([FEBRUARY, MARCH, FEBRUARY, MARCH].map(({ from }) => invoicing.final(query(from))))
    expect(await store.billed('org', 'sub', JANUARY)).toMatchObject([{ quantity: 10n, events: 1, minorUnits: 13n }])
  })

  it('is refused without a rate card, with an unrated metric, and with more metrics than a bill has', async () => {
    const { invoicing, query, use, events } = stage()
    use('unheard-of', 1, JANUARY.from)
    await expect(invoicing.preview(query(JANUARY.from))).rejects.toMatchObject({ code: 'UNRATED_METRIC' })
    for (let at = 0; at <= 1_000; at++)
      events.push({ metric: `m${at}`, quantity: 1, at: JANUARY.from, receivedAt: JANUARY.from })
    await expect(invoicing.preview(query(JANUARY.from))).rejects.toMatchObject({ code: 'TOO_MANY_METRICS' })
    const none = stage({ rateCardOf: () => undefined })
    await expect(none.invoicing.draft(none.query(JANUARY.from))).rejects.toMatchObject({
      code: 'NOT_BILLABLE',
      detail: { tenant: 'org', subscription: 'sub' }
    })
  })

  it.each([
    ['a hostile tenant', { tenant: 'a\u0000' }],
    ['a time of NaN', { at: Number.NaN }],
    ['a time in seconds', { at: JANUARY.from / 1_000 }],
    ['an unknown zone', { calendar: { ...calendar, timeZone: 'Nowhere' } }],
    ['a misspelt field', { sub: 'x' }]
  ])('is refused with %s', async (_what, fields) => {
    const { invoicing, query } = stage()
    for (const method of ['preview', 'draft', 'final', 'enroll'] as const) {
      await expect(invoicing[method]({ ...query(JANUARY.from), ...fields })).rejects.toMatchObject({
        code: 'INVALID_OPTIONS'
      })
    }
  })

  it('asks for a rounding of taxes where there are taxes', () => {
    expect(() => stage({ taxOf: () => undefined })).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }))
  })
})

describe('the invoicing duty', () => {
  it('finalizes each period as soon as it may, one after the other', async () => {
    const { clock, invoicing, platform, query, store, use } = stage()
    use('tokens', 10, JANUARY.from)
    expect(await invoicing.enroll(query(JANUARY.from))).toEqual({ outcome: 'enrolled' })
    expect(await invoicing.enroll(query(MARCH.from))).toEqual({ outcome: 'known' })
    const signal = new AbortController().signal
    const [duty] = invoicing.duties
    clock.jumpWallTo(JANUARY.to + DAY - 1)
    expect(await duty?.run({ signal })).toEqual({ handled: 0, nextDueInMs: 1 })
    expect(await store.find('org', 'sub', JANUARY)).toBeUndefined()
    // A worker that was away for months does one after the other.
    clock.jumpWallTo(MARCH.to + DAY)
    const worker = startWorker({ duties: invoicing.duties, platform })
    await clock.advance(5_000)
    await worker.close()
    expect(await store.find('org', 'sub', JANUARY)).toMatchObject({ status: 'final', minorUnits: 13n })
    expect(await store.find('org', 'sub', FEBRUARY)).toMatchObject({ status: 'final' })
    expect(await store.find('org', 'sub', MARCH)).toMatchObject({ status: 'final' })
    expect(await store.find('org', 'sub', finder.shift(MARCH, 1))).toBeUndefined()
  })

  it('puts off what cannot be billed, says so, and bills the others', async () => {
    const { clock, invoicing, platform, query, store, seen } = stage({
      rateCardOf: ({ subscription }) => (subscription === 'broken' ? undefined : card)
    })
    await invoicing.enroll({ ...query(JANUARY.from), subscription: 'broken' })
    await invoicing.enroll(query(JANUARY.from))
    clock.jumpWallTo(JANUARY.to + DAY)
    const signal = new AbortController().signal
    expect(await invoicing.duties[0]?.run({ signal })).toMatchObject({ handled: 2 })
    expect(await store.find('org', 'sub', JANUARY)).toMatchObject({ status: 'final' })
    expect(seen).toMatchObject([
      { type: 'invoice.failed', subscription: 'broken', error: { code: 'NOT_BILLABLE' } },
      { type: 'invoice.finalized', subscription: 'sub' }
    ])
    expect(await invoicing.duties[0]?.run({ signal })).toMatchObject({ handled: 0, nextDueInMs: 300_000 })
    expect(platform.clock.now()).toBe(JANUARY.to + DAY)
  })
})

describe('the invoices of a subscription that ended', () => {
  const flat = createRateCard({
    currency: 'EUR',
    rounding: 'half-up',
    onUnratedMetric: 'refuse',
    metrics: {
      seats: { rate: { currency: 'EUR', flatPrice: '9' } },
      tokens: { rate: { currency: 'EUR', unitPrice: '0.01' }, minimum: '1' }
    }
  })

  async function over(options: Partial<InvoicingOptions> = {}) {
    const made = stage({ rateCardOf: () => flat, ...options })
    const { clock, invoicing, platform, query, store } = made
    const sub = { tenant: 'org', subscription: 'sub' }
    const plans = createPlanChanges({ store, profile: 'second', rounding: 'half-up', platform })
    await plans.subscribe({ ...sub, plan: { name: 'basic', currency: 'EUR', minorUnits: 3_100, calendar } })
    await invoicing.enroll(query(JANUARY.from))
    const run = async (at: number) => {
      clock.jumpWallTo(at)
      let nextDueInMs: number | undefined
      for (;;) {
        const answer = await invoicing.duties[0]?.run({ signal: new AbortController().signal })
        nextDueInMs = answer?.nextDueInMs
        if (answer === undefined || answer.handled === 0) return nextDueInMs
      }
    }
    clock.jumpWallTo(JANUARY.from + 15.5 * DAY)
    await plans.cancel({ ...sub, when: 'now' }, { idempotencyKey: 'end' })
    return { ...made, run }
  }

  it('close as ever 24 hours after the period, with its usage, the refund and what came in the grace', async () => {
    const { run, store, use } = await over()
    use('tokens', 500, JANUARY.from)
    use('tokens', 7, JANUARY.from, JANUARY.to + DAY)
    await run(JANUARY.to + DAY - 1)
    expect(await store.find('org', 'sub', JANUARY)).toBeUndefined()
    await run(JANUARY.to + DAY)
    expect(lines((await store.find('org', 'sub', JANUARY)) as Invoice)).toEqual([
      ['plan', undefined, undefined, 3_100n],
      ['usage', 'seats', 0n, 900n],
      ['usage', 'tokens', 507n, 507n],
      ['proration', undefined, undefined, -1_550n]
    ])
  })

  it('are none for periods after it, nor is a flat price or a minimum owed for them', async () => {
    const { finalAt, invoicing, query, run, seen, store, use } = await over({
      rateCardOf: ({ period }) => (period.from === JANUARY.from ? flat : undefined)
    })
    use('tokens', 500, JANUARY.from)
    await run(MARCH.to + DAY)
    expect(await store.find('org', 'sub', JANUARY)).toMatchObject({ status: 'final' })
    for (const { from } of [FEBRUARY, MARCH]) {
      expect(await finalAt(from, MARCH.to + DAY)).toEqual({ outcome: 'nothing-due' })
      await expect(invoicing.preview(query(from))).rejects.toMatchObject({ code: 'NOT_BILLABLE' })
    }
    // For as long as late usage is looked for the account is looked at, and then never again.
    const end = JANUARY.from + 460 * DAY
    expect(await run(end)).toBeUndefined()
    expect(seen.filter(({ type }) => type === 'invoice.failed')).toEqual([])
    expect(store.evidence('org').filter(({ action }) => action === 'invoice.finalized')).toHaveLength(1)
  })

  it('bill late usage and what waits on one more, once', async () => {
    const { finalAt, run, store, use } = await over()
    use('tokens', 500, JANUARY.from)
    await run(JANUARY.to + DAY)
    use('tokens', 20, JANUARY.from, JANUARY.to + 3 * DAY)
    await run(FEBRUARY.to + DAY)
    const extra = (await store.find('org', 'sub', FEBRUARY)) as Invoice
    expect(lines(extra)).toEqual([['adjustment', 'tokens', 20n, 20n]])
    expect(extra).toMatchObject({ status: 'final', minorUnits: 20n })
    expect(await finalAt(FEBRUARY.from, FEBRUARY.to + DAY)).toEqual({ outcome: 'exists', invoice: extra })
    await store.adjust(
      [
        {
          idempotencyKey: 'k',
          tenant: 'org',
          subscription: 'sub',
          currency: 'EUR',
          line: { kind: 'credit', description: 'goodwill', period: JANUARY, minorUnits: -5n, exact: '-0.05' }
        }
      ],
      { evidence: [] }
    )
    await run(MARCH.to + DAY)
    expect(lines((await store.find('org', 'sub', MARCH)) as Invoice)).toEqual([['credit', undefined, undefined, -5n]])
    expect(await store.pending('org', 'sub')).toEqual([])
  })

  it('bill once what was used after it and received late, also of a period that had no invoice', async () => {
    const { finalAt, run, store, use } = await over()
    use('tokens', 500, JANUARY.from)
    await run(FEBRUARY.to + DAY)
    expect(await store.find('org', 'sub', FEBRUARY)).toBeUndefined()
    use('tokens', 300, FEBRUARY.from, FEBRUARY.to + 3 * DAY)
    use('tokens', 40, FEBRUARY.from)
    await run(MARCH.to + DAY)
    expect(lines((await store.find('org', 'sub', MARCH)) as Invoice)).toEqual([['adjustment', 'tokens', 340n, 340n]])
    expect(await finalAt(FEBRUARY.from, MARCH.to + DAY)).toEqual({ outcome: 'nothing-due' })
    use('tokens', 10, FEBRUARY.from)
    expect(lines(invoiceOf(await finalAt(FEBRUARY.from, MARCH.to + DAY)))).toEqual([['adjustment', 'tokens', 10n, 10n]])
    expect(await store.billed('org', 'sub', FEBRUARY)).toMatchObject([{ quantity: 350n, events: 3, minorUnits: 350n }])
  })

  it('bill what is used after it at its price', async () => {
    const { finalAt, use } = await over()
    use('tokens', 300, FEBRUARY.from)
    const answer = await finalAt(FEBRUARY.from, FEBRUARY.to + DAY)
    expect(lines(invoiceOf(answer)).filter(([kind]) => kind === 'usage')).toEqual([['usage', 'tokens', 300n, 300n]])
  })
})

describe('invoices over time', () => {
  const arrival = fc.record({
    metric: fc.constantFrom('tokens', 'calls'),
    quantity: fc.oneof(fc.nat(60), fc.integer({ min: 0, max: 9e15 })),
    // Used in one of four months; received up to 8 days after the end of it.
    used: fc.double({ min: 0, max: 1, noNaN: true }),
    month: fc.nat(3),
    delay: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 8 * DAY }), fc.constantFrom(DAY, DAY + 1, DAY - 1))
  })

  test.prop(
    [
      fc.array(arrival, { maxLength: 25 }),
      fc.array(fc.tuple(fc.nat(4), fc.integer({ min: DAY, max: 40 * DAY })), { maxLength: 8 })
    ],
    {
      numRuns: 60 * inject('scale')
    }
  )(
    'bill every accepted event exactly once, at the price of its period, whenever they are made',
    async (arrivals, closings) => {
      const { finalAt, clock, events, store } = stage()
      const months = Array.from({ length: 6 }, (_, at) => finder.shift(JANUARY, at))
      const all = arrivals.map(({ metric, quantity, used, month, delay }): LedgerEvent => {
        const { from, to } = months[month] as { from: number; to: number }
        const at = Math.min(to - 1, from + Math.floor(used * (to - from)))
        return { metric, quantity, at, receivedAt: delay === 0 ? at : to + delay }
      })
      // Some invoices are made at random times, whoever asks; the last two rounds finalize them all.
      const end = (months[5] as { to: number }).to + DAY
      const made = closings.map(([month, after]) => ({ month, now: (months[month] as { to: number }).to + after }))
      made.push(...[0, 1, 2, 3, 4].map((month) => ({ month, now: end })), { month: 5, now: end })
      for (const { month, now } of made.sort((a, b) => a.now - b.now)) {
        clock.jumpWallTo(now)
        events.length = 0
        events.push(...all.filter(({ receivedAt }) => receivedAt <= now))
        await finalAt((months[month] as { from: number }).from, now)
      }
      for (const period of months.slice(0, 4)) {
        const own = all.filter(({ at }) => at >= period.from && at < period.to)
        const billed = await store.billed('org', 'sub', period)
        for (const metric of ['calls', 'tokens']) {
          const used = own.filter((event) => event.metric === metric)
          const found = billed.find((one) => one.metric === metric)
          const quantity = used.reduce((sum, event) => sum + BigInt(event.quantity), 0n)
          expect(found?.events ?? 0).toBe(used.length)
          expect(found?.quantity ?? 0n).toBe(quantity)
          expect(found?.minorUnits ?? 0n).toBe(used.length === 0 ? 0n : card.price(metric, quantity).minorUnits)
        }
      }
      for (const period of months) {
        const invoice = await store.find('org', 'sub', period)
        expect(invoice?.minorUnits ?? 0n).toBe((invoice?.lines ?? []).reduce((sum, line) => sum + line.minorUnits, 0n))
      }
    }
  )
})
