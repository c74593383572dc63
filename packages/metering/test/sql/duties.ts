import { days } from '@enablement/core'
import type { SqlDatabase } from '@enablement/core/sql'
import { type TestPlatform, withStoreClock } from '@enablement/core/testing'
import { sqlUsageFeed, sqlUsageStore } from '@enablement/metering/sql'
import { createStripeExport } from '@enablement/metering/stripe'
import { expect } from 'vitest'
import { FAILURE, makeWorld, start } from '../dunning/stage.ts'
import { calendar, DAY, JANUARY, listing, world } from '../reconciliation/stage.ts'
import { KEY, stripeServer } from '../stripe/stripe-server.ts'

/** Dunning by `workers` processes, while every other payment comes in on the day of the restriction. */
export async function dunningStory(database: SqlDatabase, platform: TestPlatform, workers: number): Promise<void> {
  const db = withStoreClock(database, platform.clock)
  const at = platform.clock.now()
  const port = makeWorld()
  const worlds = new Map<string, { restricted: boolean; order: number; restores: number }>()
  const of = (subscription: string) => {
    const found = worlds.get(subscription) ?? { restricted: false, order: 0, restores: 0 }
    worlds.set(subscription, found)
    return found
  }
  const obey =
    (restricted: boolean) =>
    async ({ subscription, order }: { subscription: string; order: number }) => {
      const service = of(subscription)
      if (order <= service.order) return
      if (!restricted) service.restores += 1
      Object.assign(service, { order, restricted })
    }
  const ports = { ...port, restriction: { restrict: obey(true), restore: obey(false) } } as never
  const processes = Array.from({ length: workers }, () => start(db, ports, platform))
  const subscriptions = Array.from({ length: 6 }, (_, place) => `sub-${place}`)
  const all = (work: (process: (typeof processes)[number]) => Promise<unknown>) => Promise.all(processes.map(work))
  // Every process hears of every failure.
  await all(({ dunning }) =>
    Promise.all(
      subscriptions.map((subscription) =>
        dunning.failed({ ...FAILURE, subscription, invoice: subscription, idempotencyKey: subscription, failedAt: at })
      )
    )
  )
  for (const day of [1, 3, 5]) {
    platform.clock.jumpWallTo(at + days(day))
    await all(({ work }) => work())
  }
  platform.clock.jumpWallTo(at + days(7))
  const paying = subscriptions.filter((_, place) => place % 2 === 0)
  await Promise.all([
    all(({ work }) => work()),
    ...paying.map((subscription, place) =>
      (processes[place % workers] as (typeof processes)[number]).dunning.succeeded({
        tenant: FAILURE.tenant,
        subscription,
        currency: FAILURE.currency
      })
    )
  ])
  platform.clock.jumpWallTo(at + days(7) + 60_000)
  await all(({ work }) => work())
  expect(subscriptions.map((subscription) => of(subscription).restricted)).toEqual(
    subscriptions.map((_, place) => place % 2 === 1)
  )
  // Each notice once for each subscription, and no attempt is made twice.
  expect(port.told.filter((one) => one === 'email')).toHaveLength(subscriptions.length)
  expect(port.told.filter((one) => one === 'in-app')).toHaveLength(subscriptions.length)
  const third = port.told.filter((one) => one.includes('attempt 3'))
  expect(third).toHaveLength(subscriptions.length)
}

/** A nightly run by `workers` processes. */
export async function nightlyStory(database: SqlDatabase, platform: TestPlatform, workers: number): Promise<void> {
  const db = withStoreClock(database, platform.clock)
  const subscriptions = Array.from({ length: 9 }, (_, place) => ({
    tenant: 'org',
    subscription: `n${place}`,
    calendar
  }))
  const options = { subscriptions: listing(subscriptions, 2), periods: 1 }
  const processes = Array.from({ length: workers }, () => world(db, platform, options))
  const [first] = processes as [(typeof processes)[number]]
  platform.clock.jumpWallTo(JANUARY.from)
  for (const { subscription } of subscriptions) await first.use('calls', 9, JANUARY.from, JANUARY.from, subscription)
  platform.clock.jumpWallTo(JANUARY.to + DAY)
  for (const { subscription } of subscriptions) await first.final(JANUARY, JANUARY.to + DAY, subscription)
  const line = {
    kind: 'adjustment',
    description: 'planted',
    period: JANUARY,
    metric: 'calls',
    quantity: 1n,
    events: 1,
    minorUnits: 33n,
    exact: '0.33'
  } as const
  const planted = { idempotencyKey: 'planted', tenant: 'org', subscription: 'n4', currency: 'EUR', line }
  await first.invoices.adjust([planted], { evidence: [] })
  await first.reconciliation.start('night')
  await Promise.all(processes.map(({ work }) => work()))
  await first.work()
  expect((await first.reconciliation.runs()).find(({ run }) => run === 'night')).toMatchObject({
    checked: 9,
    differing: 1,
    failed: 0
  })
  const pending = await first.invoices.pending('org', 'n4')
  expect(pending.map(({ line: one }) => one.minorUnits)).toEqual([33n, -33n])
  expect((await first.compared(JANUARY.from, 'n4')).verdict).toBe('agrees')
  const { findings } = await first.reconciliation.findings({ run: 'night' })
  expect(findings).toMatchObject([{ subscription: 'n4', adjusted: true }])
}

/** An export by `workers` processes while usage is recorded. */
export async function exportStory(database: SqlDatabase, platform: TestPlatform, workers: number): Promise<void> {
  const db = withStoreClock(database, platform.clock)
  await using server = await stripeServer(() => platform.clock.now())
  const store = sqlUsageStore(db)
  const exports = Array.from({ length: workers }, () =>
    createStripeExport({
      db,
      feed: sqlUsageFeed(db),
      begin: 'with-all',
      apiKey: KEY,
      apiUrl: server.url,
      eventOf: ({ subscription }) =>
        subscription === 'exported' ? { eventName: 'api_calls', customer: 'cus_1' } : undefined,
      platform
    })
  )
  let isRecording = true
  const recording = Promise.all(
    Array.from({ length: 4 }, async (_, writer) => {
      for (let at = 0; at < 10; at++) {
        await store.record([
          {
            tenant: 'org',
            subscription: 'exported',
            transactionId: `e${writer}-${at}`,
            metric: 'calls',
            quantity: 1,
            at: platform.clock.now(),
            propertiesJson: '{}',
            payloadHash: 'h',
            receivedAt: platform.clock.now(),
            lateness: 'on-time',
            rollup: { rollup: 'sum' }
          }
        ])
      }
    })
  ).finally(() => {
    isRecording = false
  })
  const round = async (): Promise<void> => {
    const signal = new AbortController().signal
    await Promise.all(exports.map(async ({ duties }) => duties[0]?.run({ signal })))
    platform.clock.jumpWallTo(platform.clock.now() + 5_000)
  }
  while (isRecording) await round()
  await recording
  // Other units on the server may hold the feed back for a while.
  while (server.events.size < 40) await round()
  expect(server.events.size).toBe(40)
  // One at a time exports, so none is sent twice.
  expect(server.calls).toHaveLength(40)
}
