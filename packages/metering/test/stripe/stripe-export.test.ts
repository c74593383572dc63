import { inspect } from 'node:util'
import { migrate } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { crashPoints, testPlatform, unlessCrashed } from '@enablement/core/testing'
import { meteringSchema, sqlUsageFeed } from '@enablement/metering/sql'
import { createStripeExport, type StripeExportOptions, stripeIdentifier } from '@enablement/metering/stripe'
import { describe, expect, inject, it } from 'vitest'
import { DAY, exporting, ledger, NOW, reasons } from '../export/stage.ts'
import { KEY, stripeServer } from './stripe-server.ts'

const HOUR = 3_600_000

async function stage(options: Partial<StripeExportOptions> = {}) {
  const on = await ledger()
  const server = await stripeServer(() => on.platform.clock.now())
  const make = (more: Partial<StripeExportOptions> = {}) =>
    createStripeExport({
      db: on.db,
      feed: on.feed,
      begin: 'with-all',
      apiKey: KEY,
      apiUrl: server.url,
      eventOf: ({ subscription, metric }) =>
        metric === 'internal'
          ? undefined
          : { eventName: 'api_calls', customer: subscription === 'sub' ? 'cus_1' : subscription },
      fetch: on.fetch,
      observe: on.observe,
      platform: on.platform,
      ...options,
      ...more
    })
  return exporting(on, server, make)
}

describe('the export to Stripe', () => {
  it('sends each recorded event once, in Stripe\u2019s terms, and remembers how far it has come', async () => {
    await using on = await stage()
    await on.use('t1', { quantity: 9_000_000_000_000_000, at: NOW - 1_234 })
    await on.use('t2', { metric: 'internal' })
    await on.use('t3', { subscription: 'cus_2' })
    await on.run(on.exported)
    const [first, second, ...rest] = [...on.server.events.values()].map((form) => Object.fromEntries(form))
    expect(rest).toEqual([])
    expect(first).toEqual({
      event_name: 'api_calls',
      identifier: stripeIdentifier({ tenant: 'org', subscription: 'sub', transactionId: 't1' }),
      timestamp: String(Math.floor((NOW - 1_234) / 1_000)),
      'payload[stripe_customer_id]': 'cus_1',
      'payload[value]': '9000000000000000'
    })
    expect(second).toMatchObject({ 'payload[stripe_customer_id]': 'cus_2', 'payload[value]': '1' })
    expect(await on.exported.state()).toEqual({ position: 3, end: 3, setAside: 0 })
    await on.later(DAY)
    await on.run(on.make())
    expect(on.server.calls).toHaveLength(2)
    expect(JSON.stringify([...on.server.events.values()].map(String))).not.toContain('do-not-tell')
  })

  it('begins with what is recorded from then on, where it is told to', async () => {
    await using on = await stage({ begin: 'with-new' })
    await on.use('old')
    await on.run(on.exported)
    await on.use('new')
    await on.later(5_000)
    await on.run(on.exported)
    expect([...on.server.events.keys()]).toEqual([
      stripeIdentifier({ tenant: 'org', subscription: 'sub', transactionId: 'new' })
    ])
  })

  it('takes a duplicate for what it is: the event is there', async () => {
    await using on = await stage()
    await on.use('t1')
    await on.use('t2')
    on.server.mishaps.push('lost', 'lost', 'lost', 'lost')
    await on.run(on.exported)
    await on.later(HOUR)
    await on.run(on.exported)
    expect(on.server.events.size).toBe(2)
    expect(on.server.calls.length).toBeGreaterThan(4)
    expect(await on.exported.state()).toMatchObject({ position: 2, setAside: 0 })
  })

  it('waits as long as a 429 asks, sends nothing meanwhile, and loses nothing', async () => {
    await using on = await stage()
    for (const id of ['t1', 't2', 't3']) await on.use(id)
    on.server.mishaps.push({ status: 429, headers: { 'retry-after': '120' } })
    await on.run(on.exported)
    expect(on.server.calls).toHaveLength(1)
    await on.later(119_000)
    await on.run(on.exported)
    expect(on.server.calls).toHaveLength(1)
    await on.later(10_000)
    await on.run(on.exported)
    expect(on.server.events.size).toBe(3)
  })

  it('tries again at once where the wait is short, and heeds what Stripe says of that', async () => {
    await using on = await stage()
    await on.use('t1')
    on.server.mishaps.push({ status: 503, headers: { 'retry-after': '1' } }, { status: 409 })
    await on.run(on.exported)
    expect(on.server.calls).toHaveLength(3)
    await on.use('t2')
    on.server.mishaps.push({ status: 500, headers: { 'stripe-should-retry': 'false' } })
    await on.later(5_000)
    await on.run(on.exported)
    expect(on.server.calls).toHaveLength(4)
    await on.later(HOUR)
    await on.run(on.exported)
    expect(on.server.events.size).toBe(2)
  })

  it.each([
    ['too old by a second', NOW - 35 * DAY + 59_999, 'too-old'],
    ['just young enough', NOW - 35 * DAY + 60_000, undefined],
    ['ahead by as much as may be', NOW + 300_000, undefined],
    ['ahead by more', NOW + 300_001, 'too-far-ahead']
  ])('sets aside what Stripe would not take any more: %s', async (_what, at, reason) => {
    await using on = await stage()
    await on.use('t1', { at })
    await on.use('t2')
    await on.run(on.exported)
    expect(await reasons(on.exported)).toEqual(reason === undefined ? [] : [['t1', reason]])
    expect(on.server.events.size).toBe(reason === undefined ? 2 : 1)
  })

  it('sets a poisoned event aside with a name for why, goes on, and sends it when it is told to', async () => {
    await using on = await stage()
    await on.use('t1')
    await on.use('bad', { subscription: 'cus_x' })
    await on.use('t2')
    await on.run(on.exported)
    expect(await on.exported.setAside()).toMatchObject([
      {
        position: 2,
        tenant: 'org',
        subscription: 'cus_x',
        transactionId: 'bad',
        metric: 'calls',
        reason: 'http-400 invalid_request_error',
        refusedAt: NOW
      }
    ])
    expect(await on.exported.state()).toEqual({ position: 3, end: 3, setAside: 1 })
    expect(on.events).toContainEqual(expect.objectContaining({ type: 'export.refused', transactionId: 'bad' }))
    expect(await on.settled(on.exported.resend(2))).toMatchObject({ outcome: 'refused' })
    const mended = on.make({ eventOf: () => ({ eventName: 'api_calls', customer: 'cus_3' }) })
    expect(await on.settled(mended.resend(2))).toEqual({ outcome: 'sent' })
    expect(await on.settled(mended.resend(2))).toEqual({ outcome: 'absent' })
    expect(await mended.drop(2)).toEqual({ outcome: 'absent' })
    expect(on.server.events.size).toBe(3)
  })

  it('does not send again what it may have sent so long ago that Stripe has forgotten it', async () => {
    await using on = await stage()
    await on.use('t1')
    on.server.mishaps.push(...Array.from({ length: 3 }, () => 'lost' as const))
    await on.run(on.exported)
    await on.later(23 * HOUR)
    await on.use('t2')
    await on.run(on.exported)
    expect(await reasons(on.exported)).toEqual([['t1', 'maybe-exported']])
    expect(on.server.events.size).toBe(2)
  })

  it('waits for as long as it takes where surely nothing was sent', async () => {
    await using on = await stage()
    await on.use('t1')
    on.server.mishaps.push({ status: 429, headers: { 'retry-after': '3600' } })
    await on.run(on.exported)
    await on.later(30 * HOUR)
    await on.run(on.exported)
    expect(await reasons(on.exported)).toEqual([])
    expect(on.server.events.size).toBe(1)
  })

  it('asks a mapping again that fails, and sets aside what is no meter event', async () => {
    let fails = true
    await using on = await stage({
      eventOf: ({ transactionId }) => {
        if (fails) throw new Error('the database is down')
        return { eventName: 'api_calls', customer: transactionId === 't1' ? '' : 'cus_1' }
      }
    })
    await on.use('t1')
    await on.use('t2')
    await on.run(on.exported)
    expect(on.server.calls).toEqual([])
    fails = false
    await on.later(HOUR)
    await on.run(on.exported)
    expect(await reasons(on.exported)).toEqual([['t1', 'not-a-meter-event']])
    expect(on.server.events.size).toBe(1)
  })

  it('sets aside what goes on to fail while others get through', async () => {
    await using on = await stage()
    await on.use('t1', { subscription: 'cus_2' })
    await on.use('t2')
    const failing = on.make({
      fetch: async (url, init) =>
        (init.body as string).includes('cus_2')
          ? new Response(null, { status: 500, headers: { 'stripe-should-retry': 'false' } })
          : on.fetch(url, init)
    })
    for (let attempt = 0; attempt < 8; attempt++) {
      expect(await reasons(failing)).toEqual([])
      await on.run(failing)
      await on.later(HOUR)
    }
    expect(await reasons(failing)).toEqual([['t1', 'failing']])
    expect(on.server.events.size).toBe(1)
  })

  it('says nothing of its key, wherever one looks', async () => {
    await using on = await stage()
    await on.use('t1')
    const wrong = on.make({ apiKey: `${KEY}-wrong` })
    await on.run(wrong)
    const failure = on.events.find(({ type }) => type === 'export.failed')
    expect(failure).toMatchObject({ error: { code: 'EXPORT_UNAUTHORIZED', detail: { reason: 'http-401' } } })
    for (const said of [on.events, wrong, failure]) {
      expect(inspect(said, { depth: 20, showHidden: true })).not.toContain('rk_test')
      expect(JSON.stringify(said) ?? '').not.toContain('rk_test')
    }
    for (const apiKey of [`${KEY}\n`, `${KEY} x`, '']) {
      expect(() => on.make({ apiKey })).toThrow(/apiKey/)
      try {
        on.make({ apiKey })
      } catch (error) {
        expect(inspect(error, { depth: 20 })).not.toContain('rk_test')
      }
    }
    on.events.length = 0
    await on.later(HOUR)
    await on.run(on.make({ apiKey: () => `${KEY}\r\n` }))
    expect(on.events).toMatchObject([{ type: 'export.failed', error: { code: 'EXPORT_UNAUTHORIZED' } }])
    expect(inspect(on.events, { depth: 20 })).not.toContain('rk_test')
    expect(on.server.events.size).toBe(0)
  })

  it('sends those of one customer and meter one by one, and different ones together', async () => {
    await using on = await stage({ concurrency: 3 })
    for (let at = 0; at < 6; at++) await on.use(`a${at}`)
    await on.run(on.exported)
    expect(on.server.most()).toBe(1)
    for (let at = 0; at < 6; at++) await on.use(`b${at}`, { subscription: `cus_${1 + (at % 3)}` })
    await on.later(5_000)
    await on.run(on.exported)
    expect(on.server.events.size).toBe(12)
    expect(on.server.most()).toBeLessThanOrEqual(3)
  })

  it('stops when all there is would be set aside, and goes on when somebody has looked', async () => {
    await using on = await stage({ eventOf: () => ({ eventName: 'wrong', customer: 'cus_1' }) })
    await on.use('t1')
    const { execute } = await import('@enablement/core/sql')
    await on.db.run(() =>
      execute(
        `with recursive n(i) as (select 1 union all select i + 1 from n where i < 10000)
         insert into metering_export_refusals select 'stripe', -i, 'o', 's', 't' || i, 'm', 'r', 0 from n`
      )
    )
    await on.run(on.exported)
    expect(on.events.map(({ type }) => type)).toEqual(['export.stopped'])
    expect(await on.exported.state()).toMatchObject({ position: 0, setAside: 10_000 })
  })

  it('loses nothing and doubles nothing wherever its process dies', async () => {
    const stride = Math.ceil(1 / inject('scale'))
    for (let at = 0; ; at += stride) {
      const platform = testPlatform({ now: NOW })
      await using disk = sqliteDatabase({ path: ':memory:', platform })
      await migrate(disk, [meteringSchema])
      const on = await ledger({ db: disk, platform })
      await using server = await stripeServer(() => platform.clock.now())
      await on.use('t1')
      await on.use('bad', { subscription: 'cus_x' })
      await on.use('t2', { subscription: 'cus_2' })
      const dying = crashPoints(on.db, { at })
      const make = (db: typeof on.db) =>
        createStripeExport({
          db,
          feed: sqlUsageFeed(db),
          begin: 'with-all',
          apiKey: KEY,
          apiUrl: server.url,
          eventOf: ({ subscription }) => ({
            eventName: 'api_calls',
            customer: subscription === 'sub' ? 'cus_1' : subscription
          }),
          fetch: on.fetch,
          platform
        })
      await on.run(make(dying)).catch(unlessCrashed)
      await on.later(HOUR)
      const restarted = make(on.db)
      await on.run(restarted)
      const where = JSON.stringify(dying.crashed)
      expect(server.events.size, where).toBe(2)
      expect(await reasons(restarted), where).toEqual([['bad', 'http-400 invalid_request_error']])
      expect(await restarted.state(), where).toMatchObject({ position: 3 })
      if (dying.crashed === undefined) break
    }
  })

  it.each([
    { begin: 'now' },
    { apiUrl: 'ftp://x' },
    { apiUrl: 'https://user:pass@x.example' },
    { name: 'A' },
    { extra: 1 }
  ])('refuses %o', async (wrong) => {
    await using on = await stage()
    expect(() => on.make(wrong as never)).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }))
  })
})
