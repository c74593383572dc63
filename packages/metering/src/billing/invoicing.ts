import { days, hours, minutes, type Platform, parseOptions, reporter, systemPlatform } from '@enablement/core'
import type { AuditDraft } from '@enablement/core/audit'
import type { Duty } from '@enablement/core/schedule'
import { z } from 'zod'
import type { Calendar, CalendarPeriod } from '../calendar/calendar.ts'
import { calendarSchema, periodFinder } from '../calendar/period-finder.ts'
import { identifierSchema, usedAtSchema } from '../event/usage-event-schema.ts'
import { MeteringError, storeFailure } from '../metering-error.ts'
import { ROUNDINGS, type Rounding } from '../money/rounding.ts'
import { callable, hasMethods } from '../option-checks.ts'
import type { UsageStore } from '../usage/usage-store.ts'
import type { BillingEvent } from './billing-event.ts'
import type { Invoice } from './invoice.ts'
import { createInvoiceMaker } from './invoice-maker.ts'
import type { BillingAccount, InvoiceStore } from './invoice-store.ts'
import type { RateCard } from './rate-card.ts'
import type { TaxRule } from './tax.ts'

/** Until then usage of a period that is over still belongs to its own invoice (MT-3), which is final only after it. */
export const CLOSES_AFTER_MS: number = hours(24)

/** Whose period an invoice is for. */
export interface BilledPeriod {
  readonly tenant: string
  readonly subscription: string
  readonly period: CalendarPeriod
}

/** Which period to invoice: the one of the subscription's calendar that `at` (epoch milliseconds) lies in. */
export interface InvoiceQuery {
  readonly tenant: string
  readonly subscription: string
  /** By which the meter tells what is late: one and the same for the life of a subscription. */
  readonly calendar: Calendar
  readonly at: number
}

/** What invoices are made from. */
export interface InvoicingOptions {
  readonly usage: Pick<UsageStore, 'totals' | 'adjustments'>
  readonly invoices: InvoiceStore
  /**
   * The prices of a period. Asked again when late usage of it turns up, so that it must know them for as long. Undefined
   * for a subscription that has none, which is an error: nobody is billed nothing by an oversight.
   */
  readonly rateCardOf: (billed: BilledPeriod) => RateCard | undefined | Promise<RateCard | undefined>
  /** Each usage line rounded for itself, or all so that they add up to the rounded sum. No default. */
  readonly roundedPer: 'line' | 'invoice'
  /** The tax on a period's invoice; undefined for none. */
  readonly taxOf?: (billed: BilledPeriod) => TaxRule | undefined | Promise<TaxRule | undefined>
  /** How taxes are rounded, which need not be how prices are. No default where there are taxes. */
  readonly taxRounding?: Rounding
  /** For how long after its receipt late usage is looked for: 400 days unless given. Usage of earlier is not billed. */
  readonly lookBackMs?: number
  /** Is told what happens. What it throws is ignored. */
  readonly observe?: (event: BillingEvent) => void
  readonly platform?: Platform
}

/** What became of an invoice. */
export type DraftOutcome = { readonly outcome: 'drafted' | 'exists'; readonly invoice: Invoice }

/** What became of a final invoice. `exists`: it was final before, and is not changed. */
export type FinalOutcome =
  | { readonly outcome: 'finalized' | 'exists'; readonly invoice: Invoice }
  /** Usage may still come that belongs on it, until `closesAt`. */
  | { readonly outcome: 'too-early'; readonly closesAt: number }
  /** The subscription was over before the period, and nothing came late: there is no invoice. */
  | { readonly outcome: 'nothing-due' }
  /** The bills of the subscription kept changing meanwhile. Nothing was stored; try again. */
  | { readonly outcome: 'contended' }

/** Invoices from usage, exactly: each accepted event on one line, once. */
export interface Invoicing {
  /**
   * What the period's invoice would be now; writes nothing. All throw `INVALID_OPTIONS`, `NOT_BILLABLE`, `UNRATED_METRIC`,
   * `TOO_MANY_METRICS` and `STORE_FAILED`.
   */
  preview(query: InvoiceQuery): Promise<Invoice>
  /** Stores it as a draft, in place of an earlier one. */
  draft(query: InvoiceQuery): Promise<DraftOutcome>
  /**
   * Stores it for good, once, with all that waits for it, from 24 hours after the period's end on. Idempotent: call it
   * again when in doubt.
   */
  final(query: InvoiceQuery): Promise<FinalOutcome>
  /** Lets the duty finalize the periods of a subscription, beginning with the one that `at` lies in. */
  enroll(query: InvoiceQuery): Promise<{ readonly outcome: 'enrolled' | 'known' }>
  /** For `startWorker`: final invoices as soon as they may be. */
  readonly duties: readonly Duty[]
}

/** Attempts at an invoice whose ground changes meanwhile: each needs somebody else's success, of which there are few. */
const ATTEMPTS_MAX = 20

/** Accounts that one run of the duty takes on, all at once. */
const ACCOUNTS_PER_RUN = 16

/** An account is one worker's for so long. What cannot be invoiced is tried again then, and holds up nobody else. */
const RETRY_MS = minutes(5)

const optionsSchema: z.ZodType<InvoicingOptions> = z
  .strictObject({
    usage: z.custom<InvoicingOptions['usage']>(hasMethods('totals', 'adjustments'), 'must be a usage store'),
    invoices: z.custom<InvoiceStore>(hasMethods('put', 'pass', 'billed', 'pending'), 'must be an invoice store'),
    rateCardOf: callable<InvoicingOptions['rateCardOf']>(),
    roundedPer: z.enum(['line', 'invoice']),
    taxOf: callable<NonNullable<InvoicingOptions['taxOf']>>().exactOptional(),
    taxRounding: z.enum(ROUNDINGS).exactOptional(),
    lookBackMs: z.number().int().min(days(8)).max(days(4_000)).exactOptional(),
    observe: callable<(event: BillingEvent) => void>().exactOptional(),
    platform: z.custom<Platform>((value) => typeof value === 'object' && value !== null).exactOptional()
  })
  .refine(({ taxOf, taxRounding }) => (taxOf === undefined) === (taxRounding === undefined), {
    path: ['taxRounding'],
    message: 'must be given with taxOf'
  })

const querySchema: z.ZodType<InvoiceQuery> = z.strictObject({
  tenant: identifierSchema,
  subscription: identifierSchema,
  calendar: calendarSchema,
  at: usedAtSchema
})

/** Makes invoices of usage. Throws `INVALID_OPTIONS`. */
export function createInvoicing(options: InvoicingOptions): Invoicing {
  const {
    usage,
    invoices,
    rateCardOf,
    roundedPer,
    taxOf,
    taxRounding,
    lookBackMs = days(400),
    observe,
    platform = systemPlatform
  } = parseOptions(optionsSchema, 'createInvoicing', options)
  const { clock } = platform
  const report = reporter(observe)

  const maker = createInvoiceMaker({
    usage,
    invoices,
    rateCardOf,
    roundedPer,
    ...(taxOf === undefined ? {} : { taxOf }),
    taxRounding,
    lookBackMs,
    report
  })

  /** Without `orNothing` there always is one. */
  const drafted = async (query: InvoiceQuery): Promise<Invoice> =>
    (await maker.make(query, { status: 'draft', now: clock.now() })).invoice as Invoice

  async function draft(query: InvoiceQuery): Promise<DraftOutcome> {
    const invoice = await drafted(query)
    const put = await invoices.put(invoice, { takes: [], evidence: [] })
    return put.outcome === 'exists' ? put : { outcome: 'drafted', invoice }
  }

  async function final(query: InvoiceQuery, now: number): Promise<FinalOutcome> {
    const { tenant, subscription, calendar } = query
    const finder = periodFinder(calendar)
    const period = finder.periodAt(query.at)
    const closesAt = period.to + CLOSES_AFTER_MS
    if (now < closesAt) return { outcome: 'too-early', closesAt }
    const following = finder.shift(period, 1)
    const next = { period: following, dueAt: following.to + CLOSES_AFTER_MS }
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const made = await maker.make(query, { status: 'final', now: clock.now(), orNothing: true })
      const { invoice, takes, revision, endedAt } = made
      if (invoice === undefined) {
        // What comes now was received too long after the end to be looked for.
        const isLast = endedAt !== undefined && following.from >= endedAt + lookBackMs
        const passed = await invoices.pass({ tenant, subscription, period }, { revision, ...(isLast ? {} : { next }) })
        if (passed.outcome === 'stale') continue
        const found = await invoices.find(tenant, subscription, period)
        return found?.status === 'final' ? { outcome: 'exists', invoice: found } : { outcome: 'nothing-due' }
      }
      const put = await invoices.put(invoice, { takes, revision, next, evidence: [evidenceOf(invoice)] })
      if (put.outcome === 'exists') return put
      if (put.outcome === 'stale') continue
      const { id, currency, minorUnits } = invoice
      report({ type: 'invoice.finalized', tenant, subscription, invoice: id, currency, minorUnits })
      return { outcome: 'finalized', invoice }
    }
    return { outcome: 'contended' }
  }

  /** A store's failure in metering's terms. */
  async function guarded<T>(operation: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      if (error instanceof MeteringError) throw error
      const failure = isRefusal(error) ? undefined : storeFailure(operation, error, undefined)
      if (failure === undefined) throw error
      report({ type: 'billing.store-failed', error: failure })
      throw failure
    }
  }

  /** One account; what cannot be billed is reported, and due again when its claim ends. */
  async function finalizeDue({ tenant, subscription, calendar, next }: BillingAccount, now: number): Promise<void> {
    const failed = (error: unknown): void =>
      report({ type: 'invoice.failed', tenant, subscription, retryInMs: RETRY_MS, error })
    try {
      const { outcome } = await final({ tenant, subscription, calendar, at: next.from }, now)
      if (outcome === 'contended' || outcome === 'too-early') failed(undefined)
    } catch (error) {
      failed(error)
    }
  }

  const duty: Duty = {
    name: 'metering.invoicing',
    async run() {
      const claimed = await invoices.claimAccounts({ limit: ACCOUNTS_PER_RUN, leaseMs: RETRY_MS })
      const { accounts, now, nextDueInMs } = claimed
      await Promise.all(accounts.map((account) => finalizeDue(account, now)))
      return { handled: accounts.length, nextDueInMs }
    }
  }

  const checked = (method: string, query: InvoiceQuery): InvoiceQuery =>
    parseOptions(querySchema, `invoicing.${method}`, query)

  return {
    async preview(query) {
      const known = checked('preview', query)
      return guarded('make an invoice', () => drafted(known))
    },
    async draft(query) {
      const known = checked('draft', query)
      return guarded('store a draft', () => draft(known))
    },
    async final(query) {
      const known = checked('final', query)
      return guarded('finalize an invoice', () => final(known, clock.now()))
    },
    async enroll(query) {
      const { tenant, subscription, calendar, at } = checked('enroll', query)
      const next = periodFinder(calendar).periodAt(at)
      const account = { tenant, subscription, calendar, next }
      return guarded('enroll an account', () => invoices.enroll(account, { dueAt: next.to + CLOSES_AFTER_MS }))
    },
    duties: [duty]
  }
}

/** Names and numbers; what the lines say is in the store. */
function evidenceOf({ id, tenant, subscription, currency, period, lines, minorUnits }: Invoice): AuditDraft {
  const events = lines.reduce((sum, line) => sum + (line.events ?? 0), 0)
  return {
    tenant,
    actor: 'system:invoicing',
    action: 'invoice.finalized',
    subject: `invoice:${id}`,
    detail: {
      subscription,
      currency,
      from: period.from,
      to: period.to,
      minorUnits: minorUnits.toString(),
      lines: lines.length,
      events
    }
  }
}

function isRefusal(error: unknown): boolean {
  return typeof error === 'object' && error !== null && (error as { code?: unknown }).code === 'INVALID_OPTIONS'
}
