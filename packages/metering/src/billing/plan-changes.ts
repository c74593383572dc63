import { type Platform, parseOptions, reporter, systemPlatform } from '@enablement/core'
import type { Duty } from '@enablement/core/schedule'
import { z } from 'zod'
import { identifierSchema, usedAtSchema } from '../event/usage-event-schema.ts'
import { storeFailure } from '../metering-error.ts'
import { ROUNDINGS, type Rounding } from '../money/rounding.ts'
import { callable } from '../option-checks.ts'
import type { BillingEvent } from './billing-event.ts'
import type {
  CancelOutcome,
  CancelRequest,
  ChangeOutcome,
  ChangeRefusal,
  ChangeRequest,
  PreviewOutcome,
  WithdrawOutcome
} from './change-outcome.ts'
import { createChangePayment } from './change-payment.ts'
import { createCurrentSubscriptions, isPeriodOver } from './current-subscription.ts'
import { amountSchema, type Plan, planSchema } from './plan.ts'
import { type PlanChange, type PlanChangeRequest, type PlanUse, planChange, planTermination } from './plan-change.ts'
import { cancelFingerprintOf, decidedAs, fingerprintOf, replayedCancel, replayedChange } from './plan-decision.ts'
import type { PlanPayments } from './plan-payments.ts'
import { PRORATION_PROFILES, type ProrationProfile } from './proration-profile.ts'
import { begun, changed, ended, paymentBegun, periodEnded, scheduled, withdrawn } from './subscription-step.ts'
import { PAYMENT_RETRY_MS, type SubscriptionRecord, type SubscriptionStore } from './subscription-store.ts'
import { type TaxRule, taxOnLines, taxRuleSchema } from './tax.ts'

/** How subscriptions change. */
export interface PlanChangesOptions {
  readonly store: SubscriptionStore
  readonly profile: ProrationProfile
  readonly rounding: Rounding
  /** For changes that cost something now: they are paid at once, or they do not happen. Without it the next invoice says so. */
  readonly payments?: PlanPayments
  /** The tax on what is paid at once. What the next invoice says is taxed there. */
  readonly taxOf?: (subscription: SubscriptionRecord) => TaxRule | undefined
  /** Is told what happens. What it throws is ignored. */
  readonly observe?: (event: BillingEvent) => void
  readonly platform?: Platform
}

/** Subscriptions to plans. */
export interface PlanChanges {
  /**
   * Begins a subscription, at `at` (epoch milliseconds; now unless given): the rest of the plan's period is charged on the
   * next invoice. One that exists stays as it is. All throw `INVALID_OPTIONS`, `UNKNOWN_CURRENCY` and `STORE_FAILED`.
   */
  subscribe(request: {
    readonly tenant: string
    readonly subscription: string
    readonly plan: Plan
    readonly at?: number
  }): Promise<{ readonly outcome: 'subscribed' | 'exists'; readonly subscription: SubscriptionRecord }>
  /** What a change would be now. Writes nothing. */
  preview(request: ChangeRequest): Promise<PreviewOutcome>
  /** Changes the plan, once for a key: of changes and cancellations of a subscription, each has its own. */
  change(
    request: ChangeRequest,
    options: { readonly idempotencyKey: string; readonly signal?: AbortSignal }
  ): Promise<ChangeOutcome>
  /** Ends the subscription, now or with its period, once for a key. What waited for the end of the period is dropped. */
  cancel(request: CancelRequest, options: { readonly idempotencyKey: string }): Promise<CancelOutcome>
  /** What waits for the end of the period, a change or the end itself, will not happen. */
  withdraw(query: { readonly tenant: string; readonly subscription: string }): Promise<WithdrawOutcome>
  find(tenant: string, subscription: string): Promise<SubscriptionRecord | undefined>
  /** For `startWorker`: periods end, plans renew, scheduled changes take effect, payments in doubt are asked for again. */
  readonly duties: readonly Duty[]
}

/** Steps lost to others before an answer: each needs somebody else's success. */
const ATTEMPTS_MAX = 20

/** Subscriptions that one run takes on, all at once. */
const SUBSCRIPTIONS_PER_RUN = 32

const optionsSchema: z.ZodType<PlanChangesOptions> = z.strictObject({
  store: z.custom<SubscriptionStore>(
    (value) => typeof value === 'object' && value !== null && 'claimSubscriptions' in value,
    'must be a subscription store, such as sqlInvoiceStore(db)'
  ),
  profile: z.enum(PRORATION_PROFILES),
  rounding: z.enum(ROUNDINGS),
  payments: z
    .custom<PlanPayments>((value) => typeof value === 'object' && value !== null && 'collect' in value, 'must collect')
    .exactOptional(),
  taxOf: callable<NonNullable<PlanChangesOptions['taxOf']>>().exactOptional(),
  observe: callable<(event: BillingEvent) => void>().exactOptional(),
  platform: z.custom<Platform>((value) => typeof value === 'object' && value !== null).exactOptional()
})

const identity = { tenant: identifierSchema, subscription: identifierSchema }
const subscribeSchema: z.ZodType<{ tenant: string; subscription: string; plan: Plan; at?: number }> = z.strictObject({
  ...identity,
  plan: planSchema,
  at: usedAtSchema.exactOptional()
})
const changeSchema: z.ZodType<ChangeRequest> = z.strictObject({
  ...identity,
  to: planSchema,
  strategy: z.enum(['prorate', 'next-period', 'immediate-switch']),
  unusedCredits: amountSchema.exactOptional()
})
const cancelSchema: z.ZodType<CancelRequest> = z
  .strictObject({ ...identity, when: z.enum(['now', 'period-end']), unusedCredits: amountSchema.exactOptional() })
  .refine(({ when, unusedCredits }) => when === 'now' || unusedCredits === undefined, {
    path: ['unusedCredits'],
    message: 'must be left out: nothing is refunded at the end of the period'
  })
const keySchema: z.ZodType<{ idempotencyKey: string }> = z.strictObject({ idempotencyKey: identifierSchema })

/** Subscriptions that change their plans, durably and once. Throws `INVALID_OPTIONS`. */
export function createPlanChanges(options: PlanChangesOptions): PlanChanges {
  const {
    store,
    profile,
    rounding,
    payments,
    taxOf,
    observe,
    platform = systemPlatform
  } = parseOptions(optionsSchema, 'createPlanChanges', options)
  const { clock } = platform
  const report = reporter(observe)

  const terms = { profile, rounding }
  const { commit, endPeriod, current } = createCurrentSubscriptions(store, terms, report)
  const pay = createChangePayment(payments, commit, report)

  /** The record's plan at an instant, for the arithmetic. */
  const useOf = (record: SubscriptionRecord, at: number, unusedCredits: number | undefined): PlanUse => ({
    from: record.plan,
    // Never before the plan began: a clock that is behind would refund what was not charged.
    at: Math.max(at, record.since),
    period: record.period,
    charged: record.charged,
    ...(unusedCredits === undefined ? {} : { unusedCredits })
  })

  const changeRequestOf = (
    record: SubscriptionRecord,
    { to, strategy, unusedCredits }: ChangeRequest,
    at: number
  ): PlanChangeRequest => ({ ...useOf(record, at, unusedCredits), ...terms, to, strategy })

  /** Attempts a step until nobody else comes in between. */
  async function untilAlone<Outcome>(
    attempt: () => Promise<Outcome | undefined>,
    signal?: AbortSignal
  ): Promise<Outcome | { readonly outcome: 'contended' }> {
    for (let tried = 0; tried < ATTEMPTS_MAX; tried++) {
      signal?.throwIfAborted()
      const answer = await attempt()
      if (answer !== undefined) return answer
    }
    return { outcome: 'contended' }
  }

  /** What is to be paid now, tax included. */
  function dueNow(record: SubscriptionRecord, change: PlanChange): bigint {
    const rule = taxOf?.(record)
    const net = BigInt(change.net)
    if (rule === undefined) return net
    return net + taxOnLines(change.lines, parseOptions(taxRuleSchema, 'taxOf', rule), rounding)
  }

  /** One attempt at a change; undefined when the subscription changed meanwhile. */
  async function attemptChange(
    asked: ChangeRequest,
    idempotencyKey: string,
    signal: AbortSignal | undefined
  ): Promise<ChangeOutcome | undefined> {
    const { tenant, subscription } = asked
    const key = { tenant, subscription, idempotencyKey, fingerprint: fingerprintOf(asked) }
    const now = clock.now()
    // In this order: what was decided under the key since then has moved the record, and the commit below is stale.
    const record = await current(tenant, subscription, now)
    const known = await store.findChange(tenant, subscription, idempotencyKey)
    if (known !== undefined && known.fingerprint !== key.fingerprint) return { outcome: 'conflict' }
    if (known?.status === 'done') return replayedChange(known)
    if (record?.paying === idempotencyKey) return known === undefined ? undefined : pay(record, known, signal)
    const refusal = refusalOf(record) ?? endingOf(record)
    if (record === undefined || refusal !== undefined) return refusal
    if (known !== undefined) return undefined

    const request = changeRequestOf(record, asked, now)
    const change = planChange(request)
    const plan = change.plan.name
    if (change.strategy === 'next-period') {
      const pending = { kind: 'change', plan: asked.to, idempotencyKey } as const
      const step = scheduled(record, pending, decidedAs(key, { outcome: 'scheduled', request }))
      const isDone = await commit(step, { type: 'plan.change-scheduled', tenant, subscription, plan })
      return isDone ? { outcome: 'scheduled', change } : undefined
    }
    const gross = dueNow(record, change)
    if (payments === undefined || gross <= 0n) {
      const step = changed(record, change, decidedAs(key, { outcome: 'changed', request }))
      const isDone = await commit(step, { type: 'plan.changed', tenant, subscription, plan })
      return isDone ? { outcome: 'changed', change } : undefined
    }
    // Durable before anybody is asked for money, so that a process that dies now leaves something to ask again with.
    const paying = decidedAs(key, { outcome: 'paying', request, gross: gross.toString() })
    const step = paymentBegun(record, change, paying)
    return (await commit(step)) ? pay(step.subscription, paying, signal) : undefined
  }

  /** One attempt at an end; undefined when the subscription changed meanwhile. */
  async function attemptCancel(asked: CancelRequest, idempotencyKey: string): Promise<CancelOutcome | undefined> {
    const { tenant, subscription, when, unusedCredits } = asked
    const key = { tenant, subscription, idempotencyKey, fingerprint: cancelFingerprintOf(asked) }
    const now = clock.now()
    // In this order, as in `attemptChange`.
    const record = await current(tenant, subscription, now)
    const known = await store.findChange(tenant, subscription, idempotencyKey)
    if (known !== undefined)
      return known.fingerprint === key.fingerprint ? replayedCancel(known) : { outcome: 'conflict' }
    const refusal = refusalOf(record)
    if (record === undefined || refusal !== undefined) return refusal
    const plan = record.plan.name
    if (when === 'period-end') {
      const endsAt = record.period.to
      const pending = { kind: 'end', idempotencyKey } as const
      const step = scheduled(record, pending, decidedAs(key, { outcome: 'end-scheduled', endsAt }))
      const isDone = await commit(step, { type: 'plan.end-scheduled', tenant, subscription, plan })
      return isDone ? { outcome: 'scheduled', endsAt } : undefined
    }
    const request = { ...useOf(record, now, unusedCredits), ...terms, since: record.since }
    const termination = planTermination(request)
    const step = ended(record, request.at, termination, decidedAs(key, { outcome: 'cancelled', termination: request }))
    const isDone = await commit(step, { type: 'plan.ended', tenant, subscription, plan })
    return isDone ? { outcome: 'cancelled', endedAt: request.at, termination } : undefined
  }

  async function guarded<T>(operation: string, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      const isRefusal = (error as { code?: unknown } | undefined)?.code === 'INVALID_OPTIONS'
      const isOwn = (error as { name?: unknown } | undefined)?.name === 'MeteringError'
      const failure = isRefusal || isOwn ? undefined : storeFailure(operation, error, signal)
      if (failure === undefined) throw error
      report({ type: 'billing.store-failed', error: failure })
      throw failure
    }
  }

  /** One due subscription. What fails is reported, and due again when its claim ends. */
  async function settle(record: SubscriptionRecord, cutoff: AbortSignal | undefined): Promise<void> {
    const { tenant, subscription, paying } = record
    try {
      if (paying === undefined) {
        await endPeriod(record)
        return
      }
      const known = await store.findChange(tenant, subscription, paying)
      if (known?.status === 'paying') await pay(record, known, cutoff)
    } catch (error) {
      report({ type: 'plan.duty-failed', tenant, subscription, retryInMs: PAYMENT_RETRY_MS, error })
    }
  }

  const duty: Duty = {
    name: 'metering.plan-changes',
    async run({ cutoff }) {
      const claim = { limit: SUBSCRIPTIONS_PER_RUN, leaseMs: PAYMENT_RETRY_MS }
      const { subscriptions, nextDueInMs } = await store.claimSubscriptions(claim)
      await Promise.all(subscriptions.map((record) => settle(record, cutoff)))
      return { handled: subscriptions.length, nextDueInMs }
    }
  }

  return {
    async subscribe(request) {
      const { tenant, subscription, plan, at = clock.now() } = parseOptions(subscribeSchema, 'subscribe', request)
      return guarded('begin a subscription', undefined, async () => {
        const found = await store.findSubscription(tenant, subscription)
        if (found !== undefined) return { outcome: 'exists', subscription: found }
        const step = begun({ tenant, subscription, plan, at }, terms)
        if (await commit(step)) return { outcome: 'subscribed', subscription: step.subscription }
        const other = (await store.findSubscription(tenant, subscription)) as SubscriptionRecord
        return { outcome: 'exists', subscription: other }
      })
    },
    async preview(request) {
      const checked = parseOptions(changeSchema, 'preview', request)
      return guarded('preview a change', undefined, async (): Promise<PreviewOutcome> => {
        const now = clock.now()
        let record = await store.findSubscription(checked.tenant, checked.subscription)
        // As the ends of its periods will have it, without writing them.
        while (record !== undefined && isPeriodOver(record, now)) {
          record = periodEnded(record, terms).subscription
        }
        if (record === undefined) return { outcome: 'unknown-subscription' }
        const refusal = refusalOf(record) ?? endingOf(record)
        return refusal ?? { outcome: 'previewed', change: planChange(changeRequestOf(record, checked, now)) }
      })
    },
    async change(request, { idempotencyKey, signal }) {
      const checked = parseOptions(changeSchema, 'change', request)
      parseOptions(keySchema, 'change', { idempotencyKey })
      return guarded('change a plan', signal, () =>
        untilAlone(() => attemptChange(checked, idempotencyKey, signal), signal)
      )
    },
    async cancel(request, { idempotencyKey }) {
      const checked = parseOptions(cancelSchema, 'cancel', request)
      parseOptions(keySchema, 'cancel', { idempotencyKey })
      return guarded('end a subscription', undefined, () => untilAlone(() => attemptCancel(checked, idempotencyKey)))
    },
    async withdraw(query) {
      const { tenant, subscription } = parseOptions(z.strictObject(identity), 'withdraw', query)
      return guarded('withdraw a change', undefined, () =>
        untilAlone<WithdrawOutcome>(async () => {
          const record = await current(tenant, subscription, clock.now())
          const refusal = refusalOf(record)
          if (record === undefined || refusal !== undefined) return refusal
          if (record.pending === undefined) return { outcome: 'none' }
          return (await commit(withdrawn(record, record.pending))) ? { outcome: 'withdrawn' } : undefined
        })
      )
    },
    find: (tenant, subscription) =>
      guarded('find a subscription', undefined, () => store.findSubscription(tenant, subscription)),
    duties: [duty]
  }
}

function refusalOf(record: SubscriptionRecord | undefined): ChangeRefusal | undefined {
  if (record === undefined) return { outcome: 'unknown-subscription' }
  if (record.endedAt !== undefined) return { outcome: 'ended', endedAt: record.endedAt }
  return record.paying === undefined ? undefined : { outcome: 'busy' }
}

function endingOf(record: SubscriptionRecord | undefined): { outcome: 'ending'; endsAt: number } | undefined {
  return record?.pending?.kind === 'end' ? { outcome: 'ending', endsAt: record.period.to } : undefined
}
