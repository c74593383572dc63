import { CoreError, hours } from '@enablement/core'
import { execute, migrate, rows, type SqlDatabase } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { crashPoints, testPlatform, unlessCrashed, withStoreClock } from '@enablement/core/testing'
import { fc, test } from '@fast-check/vitest'
import { describe, expect, inject, it } from 'vitest'
import {
  actions,
  calendar,
  card,
  DAY,
  FEBRUARY,
  HOUR,
  JANUARY,
  listing,
  MARCH,
  schemas,
  stage,
  world
} from './stage.ts'

const scale = inject('scale')
const NIGHT = JANUARY.to + DAY + hours(12)

const subscriptionsOf = (count: number) =>
  Array.from({ length: count }, (_, at) => ({ tenant: 'org', subscription: `s${at}`, calendar }))

const wrongPrice = (db: SqlDatabase, subscription: string) =>
  db.run(() =>
    execute(
      "update metering_invoice_lines set minor_units = '1' where metric = 'calls' and subscription = ?",
      subscription
    )
  )

describe('the nightly run', () => {
  it('compares every subscription once a night, and finds what was planted and nothing else', async () => {
    const subscriptions = subscriptionsOf(7)
    await using on = await stage({ subscriptions: listing(subscriptions), periods: 1 })
    await on.work()
    for (const { subscription } of subscriptions) await on.use('calls', 9, JANUARY.from, JANUARY.from, subscription)
    for (const { subscription } of subscriptions) await on.final(JANUARY, JANUARY.to + DAY, subscription)
    await wrongPrice(on.db, 's3')
    on.platform.clock.jumpWallTo(NIGHT)
    await on.work()
    await on.work()
    const [run, ...others] = await on.reconciliation.runs()
    expect(run).toMatchObject({ checked: 7, differing: 1, notInvoiced: 0, failed: 0, endedAt: NIGHT })
    const { findings } = await on.reconciliation.findings({ run: run?.run ?? '' })
    expect(findings).toMatchObject([{ subscription: 's3', outcome: 'differs', minorUnits: -131n, adjusted: true }])
    expect(others.every(({ differing }) => differing === 0)).toBe(true)
    on.platform.clock.jumpWallTo(NIGHT + DAY)
    await on.work()
    expect((await on.reconciliation.runs())[0]).toMatchObject({ checked: 7, differing: 0 })
    expect(on.events.filter(({ type }) => type === 'reconciliation.adjusted')).toHaveLength(1)
  })

  it('only reports where it is told to', async () => {
    await using on = await stage({ onDifference: 'report' })
    await on.invoicing.enroll(on.query())
    await on.use('calls', 9, JANUARY.from)
    await on.final(JANUARY)
    await wrongPrice(on.db, 'sub')
    on.platform.clock.jumpWallTo(NIGHT)
    await on.reconciliation.start('now')
    await on.work()
    expect((await on.reconciliation.findings({ run: 'now' })).findings).toMatchObject([{ adjusted: false }])
    expect(await on.invoices.pending('org', 'sub')).toEqual([])
    expect(await on.reconciliation.start('now')).toEqual({ outcome: 'known' })
  })

  it('goes on with the others where one fails, and says which and why, without its words', async () => {
    const subscriptions = [...subscriptionsOf(5), { tenant: 'org', subscription: 'bad\u0000name', calendar }]
    const secret = 'sk_live_secret'
    await using on = await stage({
      subscriptions: listing(subscriptions),
      periods: 1,
      rateCardOf: ({ subscription }) => {
        if (subscription === 's2') throw new Error(secret)
        return card
      }
    })
    for (const { subscription } of subscriptionsOf(5)) {
      await on.use('calls', 9, JANUARY.from, JANUARY.from, subscription)
      await on.final(JANUARY, JANUARY.to + DAY, subscription)
    }
    await wrongPrice(on.db, 's4')
    on.platform.clock.jumpWallTo(NIGHT)
    await on.reconciliation.start('now')
    await on.work()
    expect(await on.reconciliation.runs()).toContainEqual(
      expect.objectContaining({ run: 'now', differing: 1, failed: 2 })
    )
    const { findings } = await on.reconciliation.findings({ run: 'now' })
    expect(findings.map(({ subscription, outcome }) => `${subscription} ${outcome}`).sort()).toEqual([
      'badname failed',
      's2 failed',
      's4 differs'
    ])
    expect(
      JSON.stringify(await on.db.run(() => rows('select finding from metering_reconciliation_findings')))
    ).not.toContain(secret)
  })

  it('waits for a store that is down, and does not take it for anybody\u2019s fault', async () => {
    await using on = await stage()
    await on.use('calls', 9, JANUARY.from)
    await on.invoicing.enroll(on.query())
    await on.final(JANUARY)
    let isDown = true
    const usage: typeof on.usage = {
      ...on.usage,
      async totals(query) {
        if (isDown) throw new CoreError('STORE_UNAVAILABLE', 'the database is down', { store: 'x', operation: 'read' })
        return on.usage.totals(query)
      }
    }
    const other = world(on.db, on.platform, { usage, periods: 1 })
    on.platform.clock.jumpWallTo(NIGHT)
    await other.reconciliation.start('now')
    await other.work()
    expect(await other.reconciliation.runs()).toContainEqual(
      expect.objectContaining({ run: 'now', endedAt: undefined, checked: 0, failed: 0 })
    )
    isDown = false
    on.platform.clock.jumpWallTo(NIGHT + HOUR)
    await other.work()
    expect(await other.reconciliation.runs()).toContainEqual(
      expect.objectContaining({ run: 'now', endedAt: NIGHT + HOUR, checked: 1, failed: 0 })
    )
  })

  it('reports a period that has usage and no invoice, from a day after it could have had one', async () => {
    await using on = await stage({ subscriptions: listing(subscriptionsOf(2)), periods: 1 })
    await on.use('calls', 9, JANUARY.from, JANUARY.from, 's0')
    for (const [at, found] of [
      [JANUARY.to + 2 * DAY - 1, 0],
      [JANUARY.to + 2 * DAY, 1]
    ] as const) {
      on.platform.clock.jumpWallTo(at)
      await on.reconciliation.start(`at-${at}`)
      await on.work()
      expect((await on.reconciliation.runs()).find(({ run }) => run === `at-${at}`)).toMatchObject({
        notInvoiced: found
      })
    }
    expect(on.events).toContainEqual(
      expect.objectContaining({ type: 'reconciliation.not-invoiced', subscription: 's0' })
    )
  })

  it('forgets runs after four hundred days', async () => {
    await using on = await stage()
    await on.reconciliation.start('old')
    on.platform.clock.jumpWallTo(on.platform.clock.now() + 400 * DAY + 1)
    await on.reconciliation.start('new')
    expect((await on.reconciliation.runs()).map(({ run }) => run)).toEqual(['new'])
  })

  it('refuses a lister that goes round in circles, and tries again', async () => {
    await using on = await stage({ subscriptions: { list: async () => ({ subscriptions: [], next: 'same' }) } })
    await on.reconciliation.start('now')
    await on.work()
    expect(await on.reconciliation.runs()).toMatchObject([{ run: 'now', endedAt: undefined }])
  })

  it('comes to the same bills wherever its process dies', async () => {
    const subscriptions = subscriptionsOf(3)
    const options = { subscriptions: listing(subscriptions), periods: 1 }
    const stride = Math.ceil(1 / scale)
    let points = 0
    for (let at = 0; ; at += stride) {
      const platform = testPlatform({ now: JANUARY.from })
      await using disk = sqliteDatabase({ path: ':memory:', platform })
      await migrate(disk, schemas)
      const onDisk = withStoreClock(disk, platform.clock)
      const whole = world(onDisk, platform, options)
      for (const { subscription } of subscriptions)
        await whole.use('calls', 9, JANUARY.from, JANUARY.from, subscription)
      for (const { subscription } of subscriptions) await whole.final(JANUARY, JANUARY.to + DAY, subscription)
      await wrongPrice(onDisk, 's1')
      platform.clock.jumpWallTo(NIGHT)

      const db = crashPoints(withStoreClock(disk, platform.clock), { at })
      const dying = world(db, platform, options)
      const ended = dying.reconciliation.start('night').then(() => dying.work())
      let isOver = false
      void ended.catch(unlessCrashed).finally(() => {
        isOver = true
      })
      while (!isOver && db.crashed === undefined) await new Promise((resolve) => setImmediate(resolve))
      const where = JSON.stringify(db.crashed)
      points = db.passed
      if (db.crashed !== undefined) {
        platform.clock.jumpWallTo(platform.clock.now() + hours(1))
        await whole.reconciliation.start('night')
        await whole.work()
      }
      const pending = await Promise.all(
        subscriptions.map(({ subscription }) => whole.invoices.pending('org', subscription))
      )
      expect(
        pending.flat().map(({ subscription, line }) => [subscription, line.minorUnits]),
        where
      ).toEqual([['s1', 131n]])
      expect(
        (await actions(disk)).filter((action) => action === 'reconciliation.adjusted'),
        where
      ).toHaveLength(1)
      expect(
        (await whole.reconciliation.runs()).find(({ run }) => run === 'night'),
        where
      ).toMatchObject({
        checked: 3,
        differing: 1,
        failed: 0
      })
      if (db.crashed === undefined) break
    }
    expect(points).toBeGreaterThan(30)
  })
})

const plans = fc.record({
  events: fc.array(
    fc.record({
      metric: fc.constantFrom('calls', 'tokens'),
      quantity: fc.integer({ min: 0, max: 400 }),
      day: fc.integer({ min: 0, max: 30 }),
      /** Days after the period's end that it comes in, for those that come late; within a week. */
      lateDays: fc.option(fc.integer({ min: 2, max: 6 }), { nil: undefined })
    }),
    { maxLength: 8 }
  ),
  gaps: fc.array(
    fc.record({
      kind: fc.constantFrom('missing', 'twice', 'price', 'late'),
      quantity: fc.integer({ min: 1, max: 200 })
    }),
    {
      maxLength: 4
    }
  ),
  runs: fc.array(fc.constantFrom('a', 'b', 'c'), { minLength: 1, maxLength: 3 })
})

describe('reconciliation', () => {
  test.prop([plans], { numRuns: Math.ceil(20 * scale) })(
    'finds exactly the gaps that were planted, and one run puts right what many do',
    async ({ events, gaps, runs }) => {
      await using on = await stage()
      const early = events.filter(({ lateDays }) => lateDays === undefined)
      const late = events.filter(({ lateDays }) => lateDays !== undefined)
      for (const { metric, quantity, day } of early) await on.use(metric, quantity, JANUARY.from + day * DAY + HOUR)
      await on.final(JANUARY)
      for (const { metric, quantity, day, lateDays = 0 } of late) {
        await on.use(metric, quantity, JANUARY.from + day * DAY + HOUR, JANUARY.to + lateDays * DAY)
      }
      await on.final(FEBRUARY)
      expect((await on.compared()).verdict).toBe('agrees')

      // What the bills lack or have too much of, by the plan of the test alone.
      let [missing, extra, price] = [0n, 0n, 0n]
      let [missingEvents, extraEvents] = [0, 0]
      let place = 0
      for (const { kind, quantity } of gaps) {
        place += 1
        const units = BigInt(quantity)
        if (kind === 'missing' || kind === 'late') {
          const isLate = kind === 'late'
          await on.usage.record([
            {
              tenant: 'org',
              subscription: 'sub',
              transactionId: `gap-${place}`,
              metric: 'calls',
              quantity,
              at: JANUARY.from + HOUR,
              propertiesJson: '{}',
              payloadHash: 'h',
              receivedAt: isLate ? JANUARY.to + 5 * DAY : JANUARY.to,
              lateness: isLate ? 'adjustment' : 'grace',
              ...(isLate ? { latePeriodAt: JANUARY.from, latePeriodEndsAt: JANUARY.to } : {}),
              rollup: { rollup: 'sum' }
            }
          ])
          missing += units
          missingEvents += 1
        } else {
          const isPrice = kind === 'price'
          const line = {
            kind: 'adjustment',
            description: 'planted',
            period: JANUARY,
            metric: 'calls',
            quantity: isPrice ? 0n : units,
            events: isPrice ? 0 : 1,
            minorUnits: units,
            exact: '0'
          } as const
          const key = { idempotencyKey: `gap-${place}`, tenant: 'org', subscription: 'sub', currency: 'EUR' }
          await on.invoices.adjust([{ ...key, line }], { evidence: [] })
          price += units
          if (!isPrice) [extra, extraEvents] = [extra + units, extraEvents + 1]
        }
      }
      const calls = [...early, ...late].filter(({ metric }) => metric === 'calls')
      const used = BigInt(calls.reduce((sum, { quantity }) => sum + quantity, 0))
      const cost = (quantity: bigint): bigint => (quantity > 5n ? (quantity - 5n) * 33n : 0n)
      const expected = {
        events: extraEvents - missingEvents,
        quantity: extra - missing,
        minorUnits: cost(used) + price - cost(used + missing)
      }
      const found = await on.compared()
      const differing = found.metrics.filter(({ verdict }) => verdict !== 'agrees')
      const isNone = expected.events === 0 && expected.quantity === 0n && expected.minorUnits === 0n
      expect(differing.map(({ metric, difference }) => ({ metric, ...difference }))).toEqual(
        isNone ? [] : [{ metric: 'calls', ...expected }]
      )

      for (const run of runs) await on.reconciliation.reconcile(on.query(), { run })
      expect((await on.compared()).verdict).toBe('agrees')
      const adjusted = (await on.invoices.pending('org', 'sub')).filter(({ line }) =>
        line.description.endsWith('reconciled')
      )
      expect(adjusted).toHaveLength(isNone ? 0 : 1)
      await on.final(MARCH)
      expect((await on.compared()).verdict).toBe('agrees')
    }
  )
})
