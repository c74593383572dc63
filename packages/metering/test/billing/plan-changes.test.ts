import { seededRandom, virtualClock } from '@enablement/core/testing'
import {
  type BillingEvent,
  type ChangeRequest,
  createInvoicing,
  createPlanChanges,
  createRateCard,
  type Plan,
  type PlanChangesOptions,
  type PlanPayment,
  type PlanPayments
} from '@enablement/metering'
import { memoryInvoiceStore } from '@enablement/metering/memory'
import { describe, expect, it } from 'vitest'
import { usageLedger } from './usage-ledger.ts'

const DAY = 86_400_000
const MONTH = { every: { months: 1 }, timeZone: 'UTC', anchor: '2026-01-01' } as const
const plan = (name: string, minorUnits: number, more: Partial<Plan> = {}): Plan => ({
  name,
  currency: 'EUR',
  minorUnits,
  calendar: MONTH,
  ...more
})
const basic = plan('basic', 3_100)
const pro = plan('pro', 6_200)
const JANUARY = { from: Date.UTC(2026, 0, 1), to: Date.UTC(2026, 1, 1) }
const FEBRUARY = { from: JANUARY.to, to: Date.UTC(2026, 2, 1) }

/** Payments that answer as they are told, and charge once for a key. */
function bank() {
  const script: ('paid' | 'declined' | 'lost')[] = []
  const charged = new Map<string, bigint>()
  const asked: PlanPayment[] = []
  const payments: PlanPayments = {
    async collect(payment) {
      asked.push(payment)
      const next = script.shift() ?? 'paid'
      if (next === 'declined') return { outcome: 'declined', reason: 'card expired' }
      charged.set(payment.idempotencyKey, payment.minorUnits)
      if (next === 'lost') throw new Error('the answer was lost')
      return { outcome: 'paid', reference: 'pay_1' }
    }
  }
  return { payments, script, charged, asked }
}

async function stage(options: Partial<PlanChangesOptions> = {}) {
  const clock = virtualClock()
  clock.jumpWallTo(JANUARY.from)
  const platform = { clock, random: seededRandom(1) }
  const store = memoryInvoiceStore({ platform })
  const seen: BillingEvent[] = []
  const make = () =>
    createPlanChanges({
      store,
      profile: 'second',
      rounding: 'half-even',
      observe: (event) => seen.push(event),
      platform,
      ...options
    })
  const changes = make()
  await changes.subscribe({ tenant: 'org', subscription: 'sub', plan: basic })
  const request = (fields: Partial<ChangeRequest> = {}): ChangeRequest => ({
    tenant: 'org',
    subscription: 'sub',
    to: pro,
    strategy: 'prorate',
    ...fields
  })
  const change = (idempotencyKey: string, fields: Partial<ChangeRequest> = {}) =>
    changes.change(request(fields), { idempotencyKey })
  const run = async () => {
    let handled = 0
    for (;;) {
      const answer = await changes.duties[0]?.run({ signal: new AbortController().signal })
      if (answer === undefined || answer.handled === 0) return handled
      handled += answer.handled
    }
  }
  const waiting = async () =>
    (await store.pending('org', 'sub')).map(({ line: { kind, minorUnits } }) => [kind, minorUnits] as const)
  const record = () => store.findSubscription('org', 'sub')
  return { changes, change, clock, make, platform, record, request, run, seen, store, waiting }
}

describe('a plan change', () => {
  it('is previewed without a trace', async () => {
    const { changes, clock, record, request, store, waiting } = await stage()
    const [before, lines, evidence] = [await record(), await waiting(), store.evidence('org')]
    clock.jumpWallTo(JANUARY.from + 10 * DAY)
    expect(await changes.preview(request())).toMatchObject({
      outcome: 'previewed',
      change: { refund: 2_100, charge: 4_200 }
    })
    expect([await record(), await waiting(), store.evidence('org')]).toEqual([before, lines, evidence])
    // Also across the end of a period that nobody has ended yet.
    clock.jumpWallTo(FEBRUARY.from + 14 * DAY)
    expect(await changes.preview(request())).toMatchObject({ change: { refund: 1_550, charge: 3_100 } })
    expect([await record(), await waiting(), store.evidence('org')]).toEqual([before, lines, evidence])
    expect(await changes.preview(request({ subscription: 'none' }))).toEqual({ outcome: 'unknown-subscription' })
  })

  it('takes effect with its lines and its evidence, once for a key', async () => {
    const { change, clock, record, store, waiting } = await stage()
    clock.jumpWallTo(JANUARY.from + 10 * DAY)
    const first = await change('k1')
    expect(first).toMatchObject({ outcome: 'changed', change: { refund: 2_100, charge: 4_200, kind: 'upgrade' } })
    clock.jumpWallTo(JANUARY.from + 20 * DAY)
    expect(await change('k1')).toEqual(first)
    expect(await change('k1', { to: basic })).toEqual({ outcome: 'conflict' })
    expect(await waiting()).toEqual([
      ['plan', 3_100n],
      ['proration', -2_100n],
      ['proration', 4_200n]
    ])
    expect(await record()).toMatchObject({ plan: pro, charged: 4_200, period: JANUARY })
    expect(store.evidence('org')).toMatchObject([
      { action: 'plan.subscribed' },
      {
        action: 'plan.changed',
        subject: 'subscription:sub',
        detail: { from: 'basic', plan: 'pro', refund: 2_100, charge: 4_200 }
      }
    ])
  })

  it('twice at the same time refunds no more than the plan of a moment was charged (A9)', async () => {
    const { change, clock, waiting } = await stage()
    clock.jumpWallTo(JANUARY.from + 10 * DAY)
    await change('k1')
    await change('k2', { to: basic })
    const lines = await waiting()
    expect(lines).toEqual([
      ['plan', 3_100n],
      ['proration', -2_100n],
      ['proration', 4_200n],
      ['proration', -4_200n],
      ['proration', 2_100n]
    ])
    expect(lines.reduce((sum, [, amount]) => sum + amount, 0n)).toBe(3_100n)
  })

  it('of one key at the same time happens once', async () => {
    const { change, clock, waiting } = await stage()
    clock.jumpWallTo(JANUARY.from + 10 * DAY)
    const answers = await Promise.all(Array.from({ length: 8 }, () => change('k1')))
    for (const answer of answers) expect(answer).toEqual(answers[0])
    expect(await waiting()).toHaveLength(3)
  })

  it('of one key happens once, also when another process makes it while this one looks for it', async () => {
    const { change, clock, platform, request, store, waiting } = await stage()
    clock.jumpWallTo(JANUARY.from + 10 * DAY)
    let answers: unknown
    const slow = createPlanChanges({
      store: {
        ...store,
        async findChange(...of) {
          const found = await store.findChange(...of)
          // What it found is old by the time that it is told.
          answers ??= await change('k1')
          return found
        }
      },
      profile: 'second',
      rounding: 'half-even',
      platform
    })
    expect(await slow.change(request(), { idempotencyKey: 'k1' })).toEqual(answers)
    expect(await waiting()).toHaveLength(3)
  })

  it('of a subscription that nobody knows is said so', async () => {
    const { change } = await stage()
    expect(await change('k', { subscription: 'none' })).toEqual({ outcome: 'unknown-subscription' })
  })

  it.each([
    ['a hostile key', {}, 'k\u0000'],
    ['a plan of NaN', { to: plan('x', Number.NaN) }, 'k'],
    ['another currency', { to: plan('x', 1, { currency: 'USD' }) }, 'k'],
    ['a misspelt strategy', { strategy: 'later' as never }, 'k']
  ])('with %s is refused, and changes nothing', async (_what, fields, key) => {
    const { change, record } = await stage()
    const before = await record()
    await expect(change(key, fields)).rejects.toMatchObject({ code: 'INVALID_OPTIONS' })
    expect(await record()).toEqual(before)
  })
})

describe('a scheduled change', () => {
  it('takes effect at the end of the period, exactly once, whoever comes by', async () => {
    const { change, clock, record, run, store, waiting, changes } = await stage()
    clock.jumpWallTo(JANUARY.from + 10 * DAY)
    expect(await change('k1', { strategy: 'next-period' })).toMatchObject({
      outcome: 'scheduled',
      change: { effectiveAt: JANUARY.to, charge: 6_200, refund: 0 }
    })
    clock.jumpWallTo(JANUARY.to - 1)
    expect(await run()).toBe(0)
    expect(await record()).toMatchObject({ plan: basic, pending: { idempotencyKey: 'k1' } })
    clock.jumpWallTo(JANUARY.to)
    await Promise.all([run(), run(), run()])
    const after = await record()
    expect(after).toMatchObject({ plan: pro, period: FEBRUARY, charged: 6_200 })
    expect(after).not.toHaveProperty('pending')
    expect(await waiting()).toEqual([
      ['plan', 3_100n],
      ['plan', 6_200n]
    ])
    expect(store.evidence('org').map(({ action }) => action)).toEqual([
      'plan.subscribed',
      'plan.change-scheduled',
      'plan.changed'
    ])
    expect(await changes.withdraw({ tenant: 'org', subscription: 'sub' })).toEqual({ outcome: 'none' })
  })

  it('is superseded by a later one, by a change at once, or withdrawn', async () => {
    const { change, changes, clock, record, run } = await stage()
    const [small, large] = [plan('small', 100), plan('large', 9_900)]
    await change('k1', { to: small, strategy: 'next-period' })
    await change('k2', { to: large, strategy: 'next-period' })
    expect(await record()).toMatchObject({ pending: { plan: large, idempotencyKey: 'k2' } })
    expect(await change('k1', { to: small, strategy: 'next-period' })).toMatchObject({ outcome: 'scheduled' })
    expect(await record()).toMatchObject({ pending: { idempotencyKey: 'k2' } })
    await change('k3')
    expect(await record()).not.toHaveProperty('pending')
    await change('k4', { to: small, strategy: 'next-period' })
    expect(await changes.withdraw({ tenant: 'org', subscription: 'sub' })).toEqual({ outcome: 'withdrawn' })
    clock.jumpWallTo(JANUARY.to)
    await run()
    expect(await record()).toMatchObject({ plan: pro, charged: 6_200, period: FEBRUARY })
  })

  it('has taken effect before a change that comes after it, also without the duty', async () => {
    const { change, clock, record, waiting } = await stage()
    await change('k1', { strategy: 'next-period' })
    clock.jumpWallTo(FEBRUARY.from + 14 * DAY)
    expect(await change('k2', { to: basic })).toMatchObject({ change: { refund: 3_100, charge: 1_550 } })
    expect(await waiting()).toEqual([
      ['plan', 3_100n],
      ['plan', 6_200n],
      ['proration', -3_100n],
      ['proration', 1_550n]
    ])
    expect(await record()).toMatchObject({ plan: basic, period: FEBRUARY })
  })
})

describe('a change that is paid at once', () => {
  it('takes effect when it is paid, and the next invoice says so', async () => {
    const { payments, asked } = bank()
    const taxOf = () => ({ name: 'VAT', rate: '0.2', per: 'invoice' }) as const
    const { change, clock, platform, store, waiting } = await stage({ payments, taxOf })
    clock.jumpWallTo(JANUARY.from + 10 * DAY)
    expect(await change('k1')).toMatchObject({ outcome: 'changed' })
    expect(asked).toMatchObject([{ minorUnits: 2_520n, currency: 'EUR', tenant: 'org', subscription: 'sub' }])
    expect((await waiting()).at(-1)).toEqual(['credit', -2_520n])
    // What was paid is not owed again: the invoice owes the first month alone, and its tax.
    const invoicing = createInvoicing({
      usage: usageLedger(MONTH).usage,
      invoices: store,
      rateCardOf: () =>
        createRateCard({ currency: 'EUR', rounding: 'half-up', metrics: {}, onUnratedMetric: 'refuse' }),
      roundedPer: 'line',
      taxOf,
      taxRounding: 'half-up',
      platform
    })
    const invoice = await invoicing.preview({ tenant: 'org', subscription: 'sub', calendar: MONTH, at: JANUARY.from })
    expect(invoice.minorUnits).toBe(3_720n)
  })

  it('leaves the subscription as it was when the payment fails (F3)', async () => {
    const { payments, script, asked } = bank()
    const { change, clock, record, seen, waiting } = await stage({ payments })
    clock.jumpWallTo(JANUARY.from + 10 * DAY)
    await change('scheduled', { strategy: 'next-period' })
    const { revision: _, ...before } = (await record()) as NonNullable<Awaited<ReturnType<typeof record>>>
    script.push('declined')
    expect(await change('k1')).toEqual({ outcome: 'declined', reason: 'card expired' })
    expect(await record()).toMatchObject(before)
    expect(await record()).not.toHaveProperty('paying')
    expect(await waiting()).toEqual([['plan', 3_100n]])
    expect(seen.at(-1)).toMatchObject({ type: 'plan.change-declined' })
    // The key is decided; another one asks anew.
    expect(await change('k1')).toEqual({ outcome: 'declined', reason: 'card expired' })
    expect(asked).toHaveLength(1)
    expect(await change('k2')).toMatchObject({ outcome: 'changed' })
  })

  it('whose answer was lost is asked for again under the same key, by the caller or the duty, and charged once', async () => {
    for (const by of ['caller', 'duty']) {
      const { payments, script, asked, charged } = bank()
      const { change, changes, clock, record, request, run, waiting } = await stage({ payments })
      clock.jumpWallTo(JANUARY.from + 10 * DAY)
      script.push('lost', 'lost')
      expect(await change('k1')).toMatchObject({ outcome: 'payment-unknown' })
      expect(await record()).toMatchObject({ plan: basic, paying: 'k1' })
      expect(await change('k2')).toEqual({ outcome: 'busy' })
      expect(await changes.preview(request())).toEqual({ outcome: 'busy' })
      expect(await changes.withdraw({ tenant: 'org', subscription: 'sub' })).toEqual({ outcome: 'busy' })
      // The amount is that of the change, however much later it is settled.
      clock.jumpWallTo(JANUARY.to + 60_000)
      if (by === 'caller') expect(await change('k1')).toMatchObject({ outcome: 'payment-unknown' })
      else expect(await run()).toBe(1)
      expect(await record()).toMatchObject({ plan: basic, paying: 'k1', period: JANUARY })
      clock.jumpWallTo(JANUARY.to + 120_000)
      if (by === 'caller') expect(await change('k1')).toMatchObject({ outcome: 'changed', change: { net: 2_100 } })
      await run()
      expect(await record()).toMatchObject({ plan: pro, period: FEBRUARY, charged: 6_200 })
      expect(new Set(asked.map(({ idempotencyKey }) => idempotencyKey)).size).toBe(1)
      expect([...charged.values()]).toEqual([2_100n])
      expect(await waiting()).toEqual([
        ['plan', 3_100n],
        ['proration', -2_100n],
        ['proration', 4_200n],
        ['credit', -2_100n],
        ['plan', 6_200n]
      ])
    }
  })

  it('is not asked for where nothing is owed', async () => {
    const { payments, asked } = bank()
    const { change, clock } = await stage({ payments })
    clock.jumpWallTo(JANUARY.from + 10 * DAY)
    expect(await change('k1', { to: plan('free', 0) })).toMatchObject({ outcome: 'changed', change: { net: -2_100 } })
    expect(asked).toEqual([])
  })
})

describe('a subscription', () => {
  it('begins once, for the rest of its period', async () => {
    const { changes } = await stage()
    const at = JANUARY.from + 15.5 * DAY
    const request = { tenant: 'org', subscription: 'late', plan: basic, at }
    expect(await changes.subscribe(request)).toMatchObject({
      outcome: 'subscribed',
      subscription: { charged: 1_550, since: at }
    })
    expect(await changes.subscribe({ ...request, plan: pro })).toMatchObject({
      outcome: 'exists',
      subscription: { plan: basic }
    })
  })

  it('renews at the end of each period, once, also after months without a worker', async () => {
    const { clock, record, run, waiting } = await stage()
    clock.jumpWallTo(Date.UTC(2026, 3, 15))
    await Promise.all([run(), run()])
    expect(await record()).toMatchObject({ period: { from: Date.UTC(2026, 3, 1), to: Date.UTC(2026, 4, 1) } })
    expect(await waiting()).toEqual(Array(4).fill(['plan', 3_100n]))
  })
})

describe('the end of a subscription', () => {
  const sub = { tenant: 'org', subscription: 'sub' }

  it('comes at once with a refund of the unused part, once for a key, and drops what waited', async () => {
    const { change, changes, clock, record, run, seen, store, waiting } = await stage()
    clock.jumpWallTo(JANUARY.from + 10 * DAY)
    await change('k1', { strategy: 'next-period' })
    const first = await changes.cancel({ ...sub, when: 'now' }, { idempotencyKey: 'end' })
    expect(first).toMatchObject({
      outcome: 'cancelled',
      endedAt: JANUARY.from + 10 * DAY,
      termination: { refund: 2_100 }
    })
    clock.jumpWallTo(FEBRUARY.to + DAY)
    expect(await changes.cancel({ ...sub, when: 'now' }, { idempotencyKey: 'end' })).toEqual(first)
    expect(await changes.cancel({ ...sub, when: 'period-end' }, { idempotencyKey: 'end' })).toEqual({
      outcome: 'conflict'
    })
    expect(await run()).toBe(0)
    expect(await record()).toMatchObject({ plan: basic, endedAt: JANUARY.from + 10 * DAY })
    expect(await record()).not.toHaveProperty('pending')
    expect(await waiting()).toEqual([
      ['plan', 3_100n],
      ['proration', -2_100n]
    ])
    expect(store.evidence('org').at(-1)).toMatchObject({
      action: 'plan.ended',
      detail: { plan: 'basic', refund: 2_100, supersedes: 'pro' }
    })
    expect(seen.at(-1)).toMatchObject({ type: 'plan.ended' })
  })

  it('comes with the period, to the millisecond, without a refund or a renewal', async () => {
    const { change, changes, clock, record, run, store, waiting } = await stage()
    await change('k1', { strategy: 'next-period' })
    const cancel = () => changes.cancel({ ...sub, when: 'period-end' }, { idempotencyKey: 'end' })
    expect(await cancel()).toEqual({ outcome: 'scheduled', endsAt: JANUARY.to })
    clock.jumpWallTo(JANUARY.to - 1)
    expect(await run()).toBe(0)
    expect(await record()).toMatchObject({ pending: { kind: 'end' } })
    clock.jumpWallTo(JANUARY.to)
    await Promise.all([run(), run(), run()])
    expect(await record()).toMatchObject({ plan: basic, period: JANUARY, endedAt: JANUARY.to })
    clock.jumpWallTo(FEBRUARY.to)
    expect(await run()).toBe(0)
    expect(await cancel()).toEqual({ outcome: 'scheduled', endsAt: JANUARY.to })
    expect(await waiting()).toEqual([['plan', 3_100n]])
    expect(store.evidence('org').map(({ action }) => action)).toEqual([
      'plan.subscribed',
      'plan.change-scheduled',
      'plan.end-scheduled',
      'plan.ended'
    ])
  })

  it('has come before what is asked after it, also without the duty', async () => {
    const { change, changes, clock, request } = await stage()
    await changes.cancel({ ...sub, when: 'period-end' }, { idempotencyKey: 'end' })
    clock.jumpWallTo(FEBRUARY.from + 5 * DAY)
    const over = { outcome: 'ended', endedAt: JANUARY.to }
    expect(await changes.preview(request())).toEqual(over)
    expect(await change('k1')).toEqual(over)
    expect(await changes.cancel({ ...sub, when: 'now' }, { idempotencyKey: 'again' })).toEqual(over)
    expect(await changes.withdraw(sub)).toEqual(over)
    expect(await changes.subscribe({ ...sub, plan: pro })).toMatchObject({ outcome: 'exists' })
  })

  it('that waits keeps the plan from changing until it is withdrawn, or comes at once', async () => {
    const { change, changes, clock, record, request, run } = await stage()
    await changes.cancel({ ...sub, when: 'period-end' }, { idempotencyKey: 'end' })
    const ending = { outcome: 'ending', endsAt: JANUARY.to }
    for (const strategy of ['prorate', 'next-period', 'immediate-switch'] as const) {
      expect(await change(strategy, { strategy })).toEqual(ending)
    }
    expect(await changes.preview(request())).toEqual(ending)
    expect(await changes.withdraw(sub)).toEqual({ outcome: 'withdrawn' })
    expect(await change('k1')).toMatchObject({ outcome: 'changed' })
    await changes.cancel({ ...sub, when: 'period-end' }, { idempotencyKey: 'end-2' })
    expect(await changes.cancel({ ...sub, when: 'now' }, { idempotencyKey: 'end-3' })).toMatchObject({
      outcome: 'cancelled'
    })
    clock.jumpWallTo(JANUARY.to)
    expect(await run()).toBe(0)
    expect(await record()).toMatchObject({ endedAt: JANUARY.from })
  })

  it('waits for a payment that nobody knows of', async () => {
    const { payments, script } = bank()
    const { change, changes, clock, run, waiting } = await stage({ payments })
    clock.jumpWallTo(JANUARY.from + 10 * DAY)
    script.push('lost')
    await change('k1')
    const cancel = () => changes.cancel({ ...sub, when: 'now' }, { idempotencyKey: 'end' })
    expect(await cancel()).toEqual({ outcome: 'busy' })
    clock.jumpWallTo(JANUARY.from + 20 * DAY)
    await run()
    // 11 of the 31 days of what was charged for the new plan, and it was paid.
    expect(await cancel()).toMatchObject({ outcome: 'cancelled', termination: { refund: 2_200 } })
    expect(await waiting()).toEqual([
      ['plan', 3_100n],
      ['proration', -2_100n],
      ['proration', 4_200n],
      ['credit', -2_100n],
      ['proration', -2_200n]
    ])
  })

  it('of many at the same time, and of changes with it, is one', async () => {
    const { change, changes, clock, waiting, store } = await stage()
    clock.jumpWallTo(JANUARY.from + 10 * DAY)
    const answers = await Promise.all(
      Array.from({ length: 6 }, (_, at) => changes.cancel({ ...sub, when: 'now' }, { idempotencyKey: `end-${at % 3}` }))
    )
    expect(new Set(answers.map(({ outcome }) => outcome))).toEqual(new Set(['cancelled', 'ended']))
    expect((await waiting()).filter(([, amount]) => amount < 0n)).toEqual([['proration', -2_100n]])
    expect(store.evidence('org').filter(({ action }) => action === 'plan.ended')).toHaveLength(1)
    expect(await change('k1')).toMatchObject({ outcome: 'ended' })
  })

  it('refunds no more than the unused credits are worth, nor by a clock that is behind', async () => {
    const { changes, clock } = await stage()
    const other = { tenant: 'org', subscription: 'credits' }
    await changes.subscribe({ ...other, plan: plan('credits', 3_100, { credits: 100 }), at: JANUARY.from + 10 * DAY })
    clock.jumpWallTo(JANUARY.from)
    expect(await changes.cancel({ ...other, when: 'now', unusedCredits: 10 }, { idempotencyKey: 'end' })).toMatchObject(
      { endedAt: JANUARY.from + 10 * DAY, termination: { refund: 210 } }
    )
  })

  it.each([
    ['credits at the end of the period', { when: 'period-end', unusedCredits: 1 }, 'k'],
    ['a misspelt time', { when: 'later' }, 'k'],
    ['a hostile key', { when: 'now' }, 'k\u0000'],
    ['a refund of NaN', { when: 'now', unusedCredits: Number.NaN }, 'k']
  ])('with %s is refused, and changes nothing', async (_what, fields, idempotencyKey) => {
    const { changes, record } = await stage()
    const before = await record()
    await expect(changes.cancel({ ...sub, ...fields } as never, { idempotencyKey })).rejects.toMatchObject({
      code: 'INVALID_OPTIONS'
    })
    expect(await record()).toEqual(before)
  })
})

describe('the duty of subscriptions', () => {
  it('asks for a payment once, however many workers run it', async () => {
    const { payments, script, asked } = bank()
    const { change, changes, clock, make } = await stage({ payments })
    script.push('lost')
    clock.jumpWallTo(JANUARY.from + 10 * DAY)
    await change('k1')
    clock.jumpWallTo(JANUARY.from + 11 * DAY)
    const signal = new AbortController().signal
    await Promise.all([changes, make(), make()].map(async ({ duties: [duty] }) => duty?.run({ signal })))
    expect(asked).toHaveLength(2)
  })

  it('takes an answer of another form for no answer, and goes on with the others', async () => {
    let answer: unknown = { outcome: 'paid' }
    const { change, changes, clock, record, run, seen } = await stage({
      payments: { collect: async () => answer as never }
    })
    await changes.subscribe({ tenant: 'org', subscription: 'other', plan: basic })
    clock.jumpWallTo(JANUARY.from + 10 * DAY)
    expect(await change('k1')).toMatchObject({ outcome: 'payment-unknown' })
    for (const other of [undefined, 'paid', { outcome: 'paid', reference: 7 }, { outcome: 'pending' }]) {
      answer = other
      expect(await change('k1')).toMatchObject({ outcome: 'payment-unknown' })
    }
    clock.jumpWallTo(JANUARY.to)
    expect(await run()).toBe(2)
    expect(await changes.find('org', 'other')).toMatchObject({ period: FEBRUARY })
    expect(seen).toContainEqual(expect.objectContaining({ type: 'plan.payment-unknown' }))
    answer = { outcome: 'paid', reference: 'pay_1', more: 1 }
    expect(await change('k1')).toMatchObject({ outcome: 'changed' })
    expect(await record()).toMatchObject({ plan: pro })
  })

  it('is not held up by a subscription that cannot be settled, and says so', async () => {
    const { changes, clock, platform, run, seen, store } = await stage()
    await changes.subscribe({ tenant: 'org', subscription: 'other', plan: basic })
    const broken = createPlanChanges({
      store: {
        ...store,
        commitSubscription: async (write) => {
          if (write.subscription.subscription === 'sub') throw new TypeError('broken')
          return store.commitSubscription(write)
        }
      },
      profile: 'second',
      rounding: 'half-even',
      observe: (event) => seen.push(event),
      platform
    })
    clock.jumpWallTo(JANUARY.to)
    const signal = new AbortController().signal
    expect(await broken.duties[0]?.run({ signal })).toMatchObject({ handled: 2 })
    expect(await changes.find('org', 'other')).toMatchObject({ period: FEBRUARY })
    expect(seen.filter(({ type }) => type === 'plan.duty-failed')).toMatchObject([
      { subscription: 'sub', retryInMs: 60_000 }
    ])
    expect(await broken.duties[0]?.run({ signal })).toMatchObject({ handled: 0 })
    clock.jumpWallTo(JANUARY.to + 60_000)
    expect(await run()).toBe(1)
    expect(await changes.find('org', 'sub')).toMatchObject({ period: FEBRUARY })
  })
})
