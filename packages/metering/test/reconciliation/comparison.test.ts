import { execute, rows, textOf } from '@enablement/core/sql'
import { createRateCard } from '@enablement/metering'
import { describe, expect, it } from 'vitest'
import { actions, DAY, FEBRUARY, HOUR, JANUARY, MARCH, stage, world } from './stage.ts'

const differing = (comparison: Awaited<ReturnType<Awaited<ReturnType<typeof stage>>['compared']>>) =>
  comparison.metrics.flatMap(({ metric, difference, verdict }) =>
    verdict === 'agrees' ? [] : [[metric, difference.events, difference.quantity, difference.minorUnits]]
  )

describe('a comparison of a period', () => {
  it('finds nothing where all was billed, and says what was compared', async () => {
    await using on = await stage()
    await on.use('tokens', 150, JANUARY.from + HOUR)
    await on.use('calls', 7, JANUARY.to - 1, JANUARY.to + DAY - 1)
    await on.final(JANUARY)
    const comparison = await on.compared()
    expect(comparison).toMatchObject({ verdict: 'agrees', currency: 'EUR', period: JANUARY, minorUnits: 0n })
    expect(comparison.metrics.map(({ metric, billed }) => [metric, billed.events, billed.minorUnits])).toEqual([
      ['calls', 1, 66n],
      ['seat', 0, 999n],
      ['tokens', 1, 155n]
    ])
  })

  it('waits until the period is closed, to the millisecond, and for its invoice', async () => {
    await using on = await stage()
    await on.use('calls', 9, JANUARY.from)
    on.platform.clock.jumpWallTo(JANUARY.to + DAY - 1)
    expect(await on.reconciliation.check(on.query())).toEqual({ outcome: 'open', closesAt: JANUARY.to + DAY })
    on.platform.clock.jumpWallTo(JANUARY.to + DAY)
    expect(await on.reconciliation.check(on.query())).toEqual({ outcome: 'not-invoiced', period: JANUARY, events: 1 })
  })

  it('finds a missing event: in the ledger, on no bill', async () => {
    await using on = await stage()
    await on.use('calls', 9, JANUARY.from)
    await on.final(JANUARY)
    // It was on its way while the invoice was made: its clock stood before the close.
    await on.use('calls', 4, JANUARY.from, JANUARY.to + DAY - 1)
    on.platform.clock.jumpWallTo(JANUARY.to + DAY + 1)
    expect(differing(await on.compared())).toEqual([['calls', -1, -4n, -132n]])
  })

  it('finds an event that was billed twice', async () => {
    await using on = await stage()
    await on.use('calls', 9, JANUARY.from)
    await on.final(JANUARY)
    const line = {
      kind: 'adjustment',
      description: 'by hand',
      period: JANUARY,
      metric: 'calls',
      quantity: 9n,
      events: 1,
      minorUnits: 297n,
      exact: '2.97'
    } as const
    const twice = { idempotencyKey: 'twice', tenant: 'org', subscription: 'sub', currency: 'EUR', line }
    await on.invoices.adjust([twice], { evidence: [] })
    expect(differing(await on.compared())).toEqual([['calls', 1, 9n, 297n]])
    expect((await on.compared()).minorUnits).toBe(297n)
  })

  it('finds a wrong price', async () => {
    await using on = await stage()
    await on.use('calls', 9, JANUARY.from)
    await on.final(JANUARY)
    await on.db.run(() => execute("update metering_invoice_lines set minor_units = '131' where metric = 'calls'"))
    expect(differing(await on.compared())).toEqual([['calls', 0, 0n, -1n]])
  })

  it('finds a late event that the next invoice left out, and leaves alone what waits for the one after', async () => {
    await using on = await stage()
    await on.use('calls', 9, JANUARY.from)
    await on.final(JANUARY)
    await on.use('calls', 4, JANUARY.from, JANUARY.to + 3 * DAY)
    // It waits for February's invoice: no gap.
    expect(differing(await on.compared())).toEqual([])
    await on.final(FEBRUARY)
    expect(differing(await on.compared())).toEqual([])
    await on.db.run(() => execute("delete from metering_invoice_lines where kind = 'adjustment'"))
    expect(differing(await on.compared())).toEqual([['calls', -1, -4n, -132n]])
  })

  it('takes what was counted about the time of the watermark for billed or not, as the bills have it', async () => {
    for (const isBilled of [true, false]) {
      await using on = await stage()
      await on.use('calls', 9, JANUARY.from)
      await on.final(JANUARY)
      const issuedAt = FEBRUARY.to + DAY
      // By a clock that is four minutes ahead of, or behind, the one that issues the invoice.
      const late = { tenant: 'org', subscription: 'sub', transactionId: 'late', metric: 'calls', quantity: 4 }
      const entry = {
        ...late,
        at: JANUARY.from,
        propertiesJson: '{}',
        payloadHash: 'h',
        receivedAt: issuedAt + (isBilled ? 240_000 : -240_000),
        lateness: 'adjustment',
        latePeriodAt: JANUARY.from,
        latePeriodEndsAt: JANUARY.to,
        rollup: { rollup: 'sum' }
      } as const
      if (isBilled) await on.usage.record([entry])
      await on.final(FEBRUARY, issuedAt)
      if (!isBilled) await on.usage.record([entry])
      expect(differing(await on.compared()), `${isBilled}`).toEqual([])
    }
  })

  it('writes nothing', async () => {
    await using on = await stage()
    await on.use('calls', 9, JANUARY.from)
    await on.final(JANUARY)
    await on.db.run(() => execute("update metering_invoice_lines set minor_units = '131' where metric = 'calls'"))
    const tables = async () => {
      const names = await on.db.run(() => rows("select name from sqlite_master where type = 'table' order by name"))
      const all: unknown[] = []
      for (const row of names) all.push(await on.db.run(() => rows(`select * from ${textOf(row, 'name')}`)))
      return JSON.stringify(all, (_key, value: unknown) => (typeof value === 'bigint' ? String(value) : value))
    }
    const before = await tables()
    await on.compared()
    expect(await tables()).toBe(before)
  })

  it('lets pass what is within its tolerance, in units or as a ratio, and no more', async () => {
    const tolerances = [
      [{ minorUnits: 1n }, 'within-tolerance'],
      [{ ratio: '0.01' }, 'within-tolerance'],
      [{ ratio: '0.007' }, 'differs'],
      [{ events: 5, quantity: 5n }, 'differs']
    ] as const
    for (const [tolerance, verdict] of tolerances) {
      await using on = await stage({ tolerance })
      await on.use('calls', 9, JANUARY.from)
      await on.final(JANUARY)
      await on.db.run(() => execute("update metering_invoice_lines set minor_units = '131' where metric = 'calls'"))
      expect((await on.compared()).verdict).toBe(verdict)
      expect((await on.reconciliation.reconcile(on.query(), { run: 'r' })).outcome).toBe(
        verdict === 'differs' ? 'adjusted' : 'compared'
      )
    }
  })

  it('takes amounts that were rounded together for right, although none is its own', async () => {
    await using on = await stage({ roundedPer: 'invoice' })
    await on.use('calls', 9, JANUARY.from)
    await on.use('tokens', 1, JANUARY.from)
    await on.use('tokens', 34, JANUARY.from + 1)
    await on.final(JANUARY)
    expect(differing(await on.compared())).toEqual([])
    await on.db.run(() => execute("update metering_invoice_lines set minor_units = '134' where metric = 'calls'"))
    expect(differing(await on.compared())).toEqual([['calls', 0, 0n, 2n]])
  })
})

describe('a reconciliation of a period', () => {
  it('puts right what differs on the next invoice, once, on record, and leaves the period as it is', async () => {
    await using on = await stage()
    await on.use('calls', 9, JANUARY.from)
    await on.use('tokens', 150, JANUARY.from)
    const january = await on.final(JANUARY)
    await on.db.run(() => execute("update metering_invoice_lines set minor_units = '100' where metric = 'calls'"))
    const invoice = await on.invoices.find('org', 'sub', JANUARY)
    expect(await on.reconciliation.reconcile(on.query(), { run: 'night' })).toMatchObject({ outcome: 'adjusted' })
    expect(await on.reconciliation.reconcile(on.query(), { run: 'night' })).toMatchObject({ outcome: 'compared' })
    expect(await on.reconciliation.reconcile(on.query(), { run: 'next' })).toMatchObject({ outcome: 'compared' })
    expect(await on.invoices.find('org', 'sub', JANUARY)).toEqual(invoice)
    const pending = await on.invoices.pending('org', 'sub')
    expect(pending).toMatchObject([
      {
        idempotencyKey: `reconciliation:${JANUARY.from}:${JANUARY.to}:night:1:calls`,
        line: {
          kind: 'adjustment',
          period: JANUARY,
          metric: 'calls',
          quantity: 0n,
          events: 0,
          minorUnits: 32n,
          exact: '0.32'
        }
      }
    ])
    expect(await actions(on.db)).toEqual(['invoice.finalized', 'reconciliation.adjusted'])
    const february = await on.final(FEBRUARY)
    expect(february.lines.filter(({ kind }) => kind === 'adjustment').map(({ minorUnits }) => minorUnits)).toEqual([
      32n
    ])
    expect(january.period).toEqual(JANUARY)
    expect((await on.compared()).verdict).toBe('agrees')
    const { findings, next } = await on.reconciliation.findings({ run: 'night' })
    expect(next).toBeUndefined()
    expect(findings).toMatchObject([{ outcome: 'differs', adjusted: true, minorUnits: -32n, period: JANUARY }])
  })

  it('takes back what an invoice billed at the same time', async () => {
    await using on = await stage()
    await on.use('calls', 9, JANUARY.from)
    await on.final(JANUARY)
    await on.use('calls', 4, JANUARY.from, JANUARY.to + DAY - 1)
    on.platform.clock.jumpWallTo(FEBRUARY.to + DAY)
    const { invoices } = on
    let raced = false
    const racing = {
      ...invoices,
      async adjust(...given: Parameters<typeof invoices.adjust>) {
        if (!raced) {
          raced = true
          // It sees the same difference, and bills it.
          await on.final(FEBRUARY)
        }
        return invoices.adjust(...given)
      }
    }
    const other = world(on.db, on.platform, { invoices: racing })
    expect(await other.reconciliation.reconcile(on.query(), { run: 'r' })).toMatchObject({ outcome: 'adjusted' })
    expect(raced).toBe(true)
    expect((await on.compared()).verdict).toBe('agrees')
    await on.final(MARCH)
    const bills = await on.invoices.billed('org', 'sub', JANUARY)
    expect(bills.find(({ metric }) => metric === 'calls')).toEqual({
      metric: 'calls',
      quantity: 13n,
      events: 2,
      minorUnits: 264n
    })
  })

  it('says what cannot be compared', async () => {
    await using on = await stage({ rateCardOf: () => undefined })
    await on.use('calls', 9, JANUARY.from)
    await on.final(JANUARY)
    await expect(on.reconciliation.check(on.query())).rejects.toMatchObject({ code: 'NOT_BILLABLE' })
    const dollars = createRateCard({
      currency: 'USD',
      rounding: 'half-up',
      onUnratedMetric: 'bill-at-zero',
      metrics: {}
    })
    const other = world(on.db, on.platform, { rateCardOf: () => dollars })
    await expect(other.reconciliation.check(on.query())).rejects.toMatchObject({ code: 'NOT_BILLABLE' })
  })

  it.each([
    { tenant: '' },
    { at: 5 },
    { calendar: { every: { months: 0 }, timeZone: 'UTC', anchor: '2040-01-01' } },
    { extra: 1 }
  ])('refuses the query with %o', async (wrong) => {
    await using on = await stage()
    await expect(on.reconciliation.check({ ...on.query(), ...wrong })).rejects.toMatchObject({
      code: 'INVALID_OPTIONS'
    })
  })

  it('refuses a name of a run that its keys could not hold', async () => {
    await using on = await stage()
    for (const run of ['', 'a:b', 'x'.repeat(65)]) {
      await expect(on.reconciliation.start(run)).rejects.toMatchObject({ code: 'INVALID_OPTIONS' })
    }
  })
})
