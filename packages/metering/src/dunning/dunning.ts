import {
  createIdSource,
  isSuiteError,
  minutes,
  type Platform,
  parseOptions,
  reporter,
  systemPlatform
} from '@enablement/core'
import type { AuditDraft, AuditLog } from '@enablement/core/audit'
import { createSchedule, type Duty, type RunningTask } from '@enablement/core/schedule'
import { rows, type Sql, type SqlDatabase } from '@enablement/core/sql'
import { z } from 'zod'
import { identifierSchema, usedAtSchema } from '../event/usage-event-schema.ts'
import { storeFailure } from '../metering-error.ts'
import type { MeteringObserver } from '../metering-event.ts'
import { minorUnitDigits } from '../money/currency.ts'
import { methods } from '../option-checks.ts'
import { storeNow } from '../store-clock.ts'
import {
  caseOf,
  insertCase,
  lockCase,
  lockOpenCase,
  nextOrder,
  reassignFailure,
  rememberFailure,
  updateCase
} from './case-row.ts'
import {
  amountOf,
  type DunningCase,
  type DunningStep,
  firstTimers,
  mayAttempt,
  nextRetry,
  openCase,
  paidTwice,
  withAttemptBegun,
  withAttemptEnded,
  withPaid,
  withUnpaid
} from './dunning-case.ts'
import type { DunningEvent } from './dunning-event.ts'
import { checkPolicy, DUNNING_POLICY, type DunningPolicy } from './dunning-policy.ts'
import type { Notifier } from './notifier.ts'
import type { PaymentRetry } from './payment-retry.ts'
import type { RestrictionOrder, ServiceRestriction } from './service-restriction.ts'
import { standingsOf } from './standing.ts'

const TASK = 'metering.dunning'

/** Attempts at one step: with the pauses, some six weeks. A step is never dropped because a port was down over a weekend. */
const ATTEMPTS_MAX = 1_000

/** How long a port may take. */
const TIMEOUT_MS = minutes(1)

/** Invoices unpaid at the same time in one case: more than that is not dunning any more. */
const UNPAID_MAX = 1_000

/** The largest amount, in minor units: what a signed 64-bit integer holds everywhere. */
const MINOR_UNITS_MAX = 9_000_000_000_000_000n

/** Rolls a unit back: the open case that it found was recovered before it could be locked. It is run anew. */
const RECOVERED = new Error('the case was recovered meanwhile')

const ANSWERS: ReadonlySet<unknown> = new Set(['paid', 'declined', 'pending'])

/** Where cases are, and who does what they ask for. */
export interface DunningOptions {
  /** Needs `meteringSchema` and core's `scheduleSchema`. */
  readonly db: SqlDatabase
  readonly notifier: Notifier
  readonly payments: PaymentRetry
  readonly restriction: ServiceRestriction
  /** `DUNNING_POLICY` unless given: seven days, as MT-8 has it. */
  readonly policy?: DunningPolicy
  /** A log in the same database: each step is appended in the unit that records it. */
  readonly audit?: AuditLog
  /** Is told what happened, after it is on record. What it throws is ignored. */
  readonly observe?: MeteringObserver
  readonly platform?: Platform
}

/** A payment that failed. */
export interface PaymentFailure {
  readonly tenant: string
  readonly subscription: string
  readonly invoice: string
  /** ISO 4217. */
  readonly currency: string
  /** What is unpaid, in the currency's minor unit; positive, at most 9e15. */
  readonly minorUnits: bigint
  /** The failure's own id: reported twice, it counts once, also after it was paid. */
  readonly idempotencyKey: string
  /** Epoch milliseconds; the store's present unless given. Every day counts from the first one of a case. */
  readonly failedAt?: number
}

/** A payment that came in after all. */
export interface PaymentSuccess {
  readonly tenant: string
  readonly subscription: string
  readonly currency: string
  /** Which invoice; all that is unpaid when absent. */
  readonly invoice?: string
}

/** Follows up failed payments: attempts, notices, restriction, and the way back. MT-8. */
export interface Dunning {
  /**
   * Reports a failed payment. The first one of a subscription in a currency opens a case, from whose time on its quota is
   * cut and its timers run; more add to it. Throws `INVALID_OPTIONS`, `UNKNOWN_CURRENCY` and `STORE_FAILED`.
   */
  failed(
    failure: PaymentFailure,
    options?: { readonly signal?: AbortSignal }
  ): Promise<{ readonly outcome: 'opened' | 'added' | 'known'; readonly caseId: string }>
  /**
   * Reports a success, at any point. When nothing is left unpaid the case is recovered: the quota is the plan's again, what
   * was used of it stays used, and a restriction is restored. Throws as `failed`.
   */
  succeeded(
    success: PaymentSuccess,
    options?: { readonly signal?: AbortSignal }
  ): Promise<{ readonly outcome: 'recovered' | 'reduced' | 'not-unpaid' }>
  /** The open cases of a subscription. Throws as `failed`. */
  cases(
    of: { readonly tenant: string; readonly subscription: string },
    options?: { readonly signal?: AbortSignal }
  ): Promise<readonly DunningCase[]>
  /**
   * What the subscription's quotas are cut to just now, as plain decimal text, or undefined when they are the plan's: for
   * the lookup of limits, which cannot wait. Answers from what was read at most five seconds ago, or last, when the
   * store is down; a subscription that is asked for the first time is not cut until it has been read.
   */
  quotaRatio(tenant: string, subscription: string): string | undefined
  /** Does what falls due; for core's `startWorker`. Any number of processes may. */
  readonly duties: readonly Duty[]
}

const optionsSchema: z.ZodType<DunningOptions> = z.strictObject({
  db: methods('run'),
  notifier: methods('notify'),
  payments: methods('retry'),
  restriction: methods('restrict', 'restore'),
  policy: z.custom<DunningPolicy>(() => true).exactOptional(),
  audit: methods('append').exactOptional(),
  observe: z.custom<MeteringObserver>((value) => typeof value === 'function', 'must be a function').exactOptional(),
  platform: z.custom<Platform>((value) => typeof value === 'object' && value !== null).exactOptional()
})

const currencySchema = z.string().regex(/^[A-Z]{3}$/, 'must be three capital letters, such as EUR')

const failureSchema: z.ZodType<PaymentFailure> = z.strictObject({
  tenant: identifierSchema,
  subscription: identifierSchema,
  invoice: identifierSchema,
  currency: currencySchema,
  minorUnits: z.bigint().min(1n).max(MINOR_UNITS_MAX),
  idempotencyKey: identifierSchema,
  failedAt: usedAtSchema.exactOptional()
})

const successSchema: z.ZodType<PaymentSuccess> = z.strictObject({
  tenant: identifierSchema,
  subscription: identifierSchema,
  currency: currencySchema,
  invoice: identifierSchema.exactOptional()
})

const subscriptionSchema: z.ZodType<{ readonly tenant: string; readonly subscription: string }> = z.strictObject({
  tenant: identifierSchema,
  subscription: identifierSchema
})

/** Dunning in a database. Throws `INVALID_OPTIONS`. */
export function createDunning(options: DunningOptions): Dunning {
  const parsed = parseOptions(optionsSchema, 'createDunning', options)
  const { db, notifier, payments, restriction, audit, observe, platform = systemPlatform } = parsed
  const policy = checkPolicy(parsed.policy ?? DUNNING_POLICY)
  const report = reporter(observe)
  const nextId = createIdSource(platform)
  const { forUpdate } = db.dialect

  const schedule = createSchedule({
    db,
    name: TASK,
    platform,
    tasks: {
      [TASK]: {
        run: runStep,
        timeoutMs: TIMEOUT_MS,
        attemptsMax: ATTEMPTS_MAX,
        backoff: { jitter: 'equal', baseMs: 1_000, maxMs: 3_600_000 }
      }
    }
  })

  const standings = standingsOf({
    clock: platform.clock,
    read: async (tenant, subscription) => (await db.run(() => openCases(tenant, subscription))).length > 0,
    failed: (tenant, error) => report({ type: 'dunning.standing-unknown', tenant, error })
  })

  const clockOf = (): Sql<number> => storeNow(db.dialect)

  function* put(of: DunningCase, timers: readonly { step: DunningStep; dueAt: number }[]): Sql<void> {
    yield* schedule.putAll(
      timers.map(({ step, dueAt }) => ({
        task: TASK,
        id: `${of.id}:${nameOf(step)}`,
        dueAt,
        payload: { caseId: of.id, step: { ...step } }
      }))
    )
  }

  function* record(of: DunningCase, action: string, detail: AuditDraft['detail'] = {}): Sql<void> {
    if (audit === undefined) return
    const { id, tenant, subscription, currency } = of
    yield* audit.append({
      tenant,
      actor: 'system:metering',
      action: `dunning.${action}`,
      subject: `dunning:${id}`,
      detail: { subscription, currency, minorUnits: String(amountOf(of.unpaid)), ...detail }
    })
  }

  /** Stores what became of a case through a payment, and puts what follows from its recovery. */
  function* settle(before: DunningCase, after: DunningCase, now: number): Sql<DunningCase> {
    if (before.status === 'recovered' || after.status !== 'recovered') {
      yield* updateCase(after)
      return after
    }
    yield* record(after, 'recovered')
    if (after.restriction !== 'none') return yield* restoring(after, now)
    yield* updateCase(after)
    return after
  }

  /** Orders a restriction back that is in force, or may be. */
  function* restoring(of: DunningCase, now: number): Sql<DunningCase> {
    const next: DunningCase = { ...of, restriction: 'restoring', order: yield* nextOrder(of, now) }
    yield* updateCase(next)
    yield* put(next, [{ step: { kind: 'restore', order: next.order }, dueAt: now }])
    return next
  }

  const tell = (type: DunningEvent['type'], of: DunningCase, more: object = {}): void => {
    const { id: caseId, tenant, subscription } = of
    report({ type, tenant, subscription, caseId, ...more } as DunningEvent)
  }

  /** After a payment: `open` counts the cases of the subscription that are left, in whatever currency. */
  const learn = (before: DunningCase, after: DunningCase, open: number): void => {
    standings.learn(after.tenant, after.subscription, open > 0)
    if (before.status === 'open' && after.status === 'recovered') tell('dunning.recovered', after)
  }

  async function run<T>(operation: string, work: () => Sql<T>, signal: AbortSignal | undefined): Promise<T> {
    try {
      return await db.run(work, signal === undefined ? {} : { signal })
    } catch (error) {
      if (error === RECOVERED || isSuiteError(error, 'INVALID_OPTIONS')) throw error
      throw storeFailure(operation, error, signal) ?? error
    }
  }

  /** The case that a failure opens or adds to; undefined with one that is known. */
  async function recordFailure(
    failure: PaymentFailure,
    signal: AbortSignal | undefined
  ): Promise<{
    readonly answer: { readonly outcome: 'opened' | 'added' | 'known'; readonly caseId: string }
    readonly of: DunningCase | undefined
  }> {
    for (;;) {
      try {
        return await run('record a failed payment', () => failureUnit(failure), signal)
      } catch (error) {
        if (error !== RECOVERED) throw error
      }
    }
  }

  function* failureUnit({
    idempotencyKey,
    invoice,
    minorUnits,
    failedAt,
    ...whose
  }: PaymentFailure): Sql<Awaited<ReturnType<typeof recordFailure>>> {
    const id = nextId()
    // First: whoever reports the same failure at the same time waits here, and then knows it.
    const known = yield* rememberFailure(whose.tenant, idempotencyKey, id)
    if (known !== id) return { answer: { outcome: 'known', caseId: known }, of: undefined }
    const now = yield* clockOf()
    const fresh = openCase({ id, ...whose, failedAt: failedAt ?? now }, { invoice, minorUnits }, policy)
    if (yield* insertCase(fresh)) {
      yield* put(fresh, firstTimers(fresh, policy))
      yield* record(fresh, 'opened', { invoice })
      return { answer: { outcome: 'opened', caseId: id }, of: fresh }
    }
    const current = yield* lockOpenCase(forUpdate, fresh)
    if (current === undefined) throw RECOVERED
    yield* reassignFailure(whose.tenant, idempotencyKey, current.id)
    if (current.unpaid.length >= UNPAID_MAX) parseOptions(tooMany, 'dunning.failed', { invoice })
    const next = withUnpaid(current, { invoice, minorUnits })
    yield* updateCase(next)
    yield* record(next, 'added', { invoice })
    if (mayAttempt(next, policy) && !mayAttempt(current, policy)) {
      yield* put(next, [{ step: nextRetry(next), dueAt: Math.max(now, next.nextAttemptAt) }])
    }
    return { answer: { outcome: 'added', caseId: current.id }, of: next }
  }

  /** One timer. Throws what a port throws; the schedule asks again. */
  async function runStep({ payload, signal }: RunningTask): Promise<void> {
    const { caseId, step } = payload as unknown as { caseId: string; step: DunningStep }
    try {
      if (step.kind === 'retry') await attempt(caseId, step.attempt, signal)
      else if (step.kind === 'notice') await notice(caseId, step.name, signal)
      else if (step.kind === 'restrict') await restrict(caseId, signal)
      else await restore(caseId, step.order, signal)
    } catch (error) {
      const of = await db.run(() => lockCase('', caseId)).catch(() => undefined)
      if (of !== undefined && !signal.aborted) tell('dunning.step-failed', of, { step: step.kind, error })
      throw error
    }
  }

  /** Asks for the payment: in the attempt of that number, or in the next one. */
  async function attempt(caseId: string, wanted: number | undefined, signal: AbortSignal): Promise<void> {
    const begun = await db.run(function* () {
      const of = yield* lockCase(forUpdate, caseId)
      const next = of === undefined ? undefined : withAttemptBegun(of, policy, wanted)
      if (next !== undefined && next !== of) yield* updateCase(next)
      return next
    })
    if (begun?.underway === undefined) return
    const number = begun.attempts + 1
    const answer = await payments.retry(
      {
        tenant: begun.tenant,
        subscription: begun.subscription,
        invoices: begun.underway.map(({ invoice }) => invoice),
        minorUnits: amountOf(begun.underway),
        currency: begun.currency,
        attempt: number,
        idempotencyKey: `dunning:${caseId}:attempt:${number}`
      },
      { signal }
    )
    const { outcome } = answer
    // Whoever answers something else has not answered: nobody knows whether it was paid.
    if (!ANSWERS.has(outcome)) throw new TypeError('the payment port answered neither paid nor declined nor pending')
    const ended = await db.run(function* () {
      const of = yield* lockCase(forUpdate, caseId)
      // Another worker asked with the same key, and was faster to write its answer down.
      if (of === undefined || of.attempts !== begun.attempts || of.underway === undefined) return undefined
      const now = yield* clockOf()
      const after = withAttemptEnded(of, outcome === 'paid', now, policy)
      const twice = outcome === 'paid' ? paidTwice(of) : 0n
      yield* record(after, 'attempted', {
        attempt: number,
        outcome,
        ...(twice === 0n ? {} : { paidTwice: String(twice) })
      })
      const next = yield* settle(of, after, now)
      if (mayAttempt(next, policy)) yield* put(next, [{ step: nextRetry(next), dueAt: next.nextAttemptAt }])
      return { of, next, twice, open: (yield* openCases(next.tenant, next.subscription)).length }
    })
    if (ended === undefined) return
    const { of, next, twice, open } = ended
    tell('dunning.attempted', next, { attempt: number, outcome })
    if (twice > 0n) tell('dunning.paid-twice', next, { currency: next.currency, minorUnits: twice })
    learn(of, next, open)
  }

  async function notice(caseId: string, name: string, signal: AbortSignal): Promise<void> {
    const of = await db.run(() => lockCase('', caseId))
    const rule = policy.notices.find((one) => one.name === name)
    if (of?.status !== 'open' || of.noticed.includes(name) || rule === undefined) return
    await notifier.notify(
      {
        tenant: of.tenant,
        subscription: of.subscription,
        channel: rule.channel,
        minorUnits: amountOf(of.unpaid),
        currency: of.currency,
        invoices: of.unpaid.map(({ invoice }) => invoice),
        failedAt: of.failedAt,
        restrictsAt: of.failedAt + policy.restrictAfterMs,
        idempotencyKey: `dunning:${caseId}:notice:${name}`
      },
      { signal }
    )
    const sent = await db.run(function* () {
      const found = yield* lockCase(forUpdate, caseId)
      if (found === undefined || found.noticed.includes(name)) return false
      yield* updateCase({ ...found, noticed: [...found.noticed, name] })
      yield* record(found, 'noticed', { notice: name, channel: rule.channel })
      return true
    })
    if (sent) tell('dunning.noticed', of, { notice: name })
  }

  async function restrict(caseId: string, signal: AbortSignal): Promise<void> {
    await attempt(caseId, undefined, signal)
    const ordered = await db.run(function* () {
      const of = yield* lockCase(forUpdate, caseId)
      if (of?.status !== 'open' || of.restriction === 'in-force') return undefined
      if (of.restriction === 'ordered') return of
      const next: DunningCase = { ...of, restriction: 'ordered', order: yield* nextOrder(of, yield* clockOf()) }
      yield* updateCase(next)
      return next
    })
    if (ordered === undefined) return
    await restriction.restrict(orderOf(ordered, 'restrict'), { signal })
    const inForce = await db.run(function* () {
      const of = yield* lockCase(forUpdate, caseId)
      if (of === undefined) return false
      if (of.status === 'open' && of.restriction === 'ordered') {
        yield* updateCase({ ...of, restriction: 'in-force' })
        yield* record(of, 'restricted')
        return true
      }
      // Paid meanwhile: the restriction may have come after the order that was to restore it.
      if (of.status === 'recovered') {
        yield* restoring(of, yield* clockOf())
      }
      return false
    })
    if (inForce) tell('dunning.restricted', ordered)
  }

  async function restore(caseId: string, order: number, signal: AbortSignal): Promise<void> {
    const { of, others } = await db.run(function* () {
      const found = yield* lockCase('', caseId)
      if (found?.restriction !== 'restoring' || found.order !== order) return { of: undefined, others: false }
      const open = yield* openCases(found.tenant, found.subscription)
      return { of: found, others: open.some((other) => other.restriction !== 'none') }
    })
    if (of === undefined) return
    // What is unpaid in another currency restricts the same service: its own success restores it.
    if (!others) await restriction.restore(orderOf(of, 'restore'), { signal })
    const restored = await db.run(function* () {
      const found = yield* lockCase(forUpdate, caseId)
      if (found?.restriction !== 'restoring' || found.order !== order) return false
      yield* updateCase({ ...found, restriction: 'none' })
      if (!others) yield* record(found, 'restored')
      return !others
    })
    if (restored) tell('dunning.restored', of)
  }

  return {
    async failed(failure, runOptions) {
      const checked = parseOptions(failureSchema, 'dunning.failed', failure)
      minorUnitDigits(checked.currency)
      const { answer, of } = await recordFailure(checked, runOptions?.signal)
      if (of !== undefined) {
        standings.learn(of.tenant, of.subscription, true)
        if (answer.outcome === 'opened') tell('dunning.opened', of)
      }
      return answer
    },

    async succeeded(success, runOptions) {
      const checked = parseOptions(successSchema, 'dunning.succeeded', success)
      const { tenant, subscription, invoice } = checked
      const { of, next, open } = await run(
        'record a payment',
        function* () {
          const found = yield* lockOpenCase(forUpdate, checked)
          if (found === undefined) return { of: undefined, next: undefined, open: 0 }
          const now = yield* clockOf()
          const invoices = invoice === undefined ? found.unpaid.map((one) => one.invoice) : [invoice]
          const paid = withPaid(found, invoices)
          if (paid.unpaid.length === found.unpaid.length) return { of: found, next: found, open: 1 }
          if (paid.status === 'open') yield* record(paid, 'reduced', invoice === undefined ? {} : { invoice })
          const after = yield* settle(found, paid, now)
          return { of: found, next: after, open: (yield* openCases(tenant, subscription)).length }
        },
        runOptions?.signal
      )
      if (of === undefined || next === undefined || next.unpaid.length === of.unpaid.length) {
        return { outcome: 'not-unpaid' }
      }
      learn(of, next, open)
      return { outcome: next.status === 'recovered' ? 'recovered' : 'reduced' }
    },

    async cases(of, runOptions) {
      const { tenant, subscription } = parseOptions(subscriptionSchema, 'dunning.cases', of)
      return run('read open cases', () => openCases(tenant, subscription), runOptions?.signal)
    },

    quotaRatio: (tenant, subscription) => (standings.restricted(tenant, subscription) ? policy.quotaRatio : undefined),

    duties: schedule.duties
  }
}

/** In the order of their currencies. */
function* openCases(tenant: string, subscription: string): Sql<readonly DunningCase[]> {
  const found = yield* rows(
    `select case_id, tenant, subscription, currency, status, state from metering_dunning
     where tenant = ? and subscription = ? and status = 'open'`,
    tenant,
    subscription
  )
  return found.map(caseOf).sort((a, b) => (a.currency < b.currency ? -1 : 1))
}

/** Unique among the timers of a case. */
function nameOf(step: DunningStep): string {
  if (step.kind === 'retry') return `retry:${step.attempt}`
  if (step.kind === 'notice') return `notice:${step.name}`
  return step.kind === 'restore' ? `restore:${step.order}` : 'restrict'
}

function orderOf(of: DunningCase, what: string): RestrictionOrder {
  const { id, tenant, subscription, order } = of
  return { tenant, subscription, idempotencyKey: `dunning:${id}:${what}:${order}`, order }
}

const tooMany: z.ZodType<{ readonly invoice: string }> = z
  .strictObject({ invoice: z.string() })
  .refine(() => false, { path: ['invoice'], message: `the case has ${UNPAID_MAX} unpaid invoices already` })
