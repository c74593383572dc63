import {
  days,
  hours,
  isSuiteError,
  minutes,
  type Platform,
  parseOptions,
  reporter,
  systemPlatform
} from '@enablement/core'
import { createSchedule, type Duty, every, type Recurrence, type RunningTask } from '@enablement/core/schedule'
import type { Sql, SqlDatabase } from '@enablement/core/sql'
import { z } from 'zod'
import type { InvoiceStore } from '../billing/invoice-store.ts'
import { type BilledPeriod, CLOSES_AFTER_MS } from '../billing/invoicing.ts'
import type { RateCard } from '../billing/rate-card.ts'
import { periodFinder } from '../calendar/period-finder.ts'
import { MeteringError, storeFailure } from '../metering-error.ts'
import { callable, methods } from '../option-checks.ts'
import { storeNow } from '../store-clock.ts'
import type { UsageStore } from '../usage/usage-store.ts'
import { correct } from './correction.ts'
import type { Finding, ReconciliationRun } from './finding.ts'
import {
  type CheckGround,
  checkPeriod,
  type PeriodCheck,
  type PeriodComparison,
  type ReconciliationQuery
} from './period-check.ts'
import type { ReconciliationEvent } from './reconciliation-event.ts'
import {
  endPage,
  type FindingPlace,
  forgetRuns,
  insertFinding,
  insertRun,
  markAdjusted,
  type RunState,
  readFindings,
  readRun,
  readRuns
} from './run-rows.ts'
import type { ListedSubscription, SubscriptionLister } from './subscription-lister.ts'
import { type Tolerance, toleranceSchema } from './tolerance.ts'

const NIGHT = 'metering.reconciliation'
const PAGE = 'metering.reconciliation.page'

/** Subscriptions that one task compares, some tenths of a second of work: what a crash makes it compare again. */
const PAGE_MAX = 64

/** How long a page may take. */
const PAGE_TIMEOUT_MS = minutes(10)

/** Attempts at a page: with the pauses, some days. A run is not dropped because a database was down over a weekend. */
const ATTEMPTS_MAX = 1_000

/** Attempts at a page over which a store's failure is taken for everybody's; from then on it is the one subscription's. */
const STORE_ATTEMPTS = 5

/** How long runs are kept, with what they found. */
const KEEP_MS = days(400)
const FORGOTTEN_AT_ONCE = 8

/** A period that could have been invoiced for so long, and was not, is a finding. */
const INVOICE_DUE_MS = hours(24)

/** What was counted so close to the issue of an invoice may be on it or not: as far as clocks may be apart, MT-1. */
const SETTLE_MS = minutes(5)

const PERIODS_MAX = 100
const LISTED_MAX = 1_000

/** What is compared, and what becomes of it. */
export interface ReconciliationOptions {
  /** Where runs and findings are. Needs `meteringSchema` and core's `scheduleSchema`. */
  readonly db: SqlDatabase
  readonly usage: Pick<UsageStore, 'totals' | 'adjustments'>
  /** Appends the evidence of adjustments to its own audit log. */
  readonly invoices: Pick<InvoiceStore, 'find' | 'billed' | 'endedAt' | 'adjust' | 'revision'>
  /** The prices of a period, as invoicing has them. */
  readonly rateCardOf: (billed: BilledPeriod) => RateCard | undefined | Promise<RateCard | undefined>
  /** As invoicing rounds: amounts that were rounded together may be one minor unit off their own. */
  readonly roundedPer: 'line' | 'invoice'
  /** All that are to be compared each night. */
  readonly subscriptions: SubscriptionLister
  /** What a nightly run does about what differs: keep it for somebody to look at, or adjust it too. No default. */
  readonly onDifference: 'report' | 'adjust'
  /** Exact unless given. */
  readonly tolerance?: Tolerance
  /** How many of a subscription's last closed periods a nightly run compares: 2 unless given, at most 100. */
  readonly periods?: number
  /** 5 minutes unless given: see `PeriodComparison.watermarkAt`. */
  readonly settleMs?: number
  /** When runs begin: at 3 o'clock UTC unless given. */
  readonly nightly?: Recurrence
  /** Is told what happened, after it is on record. What it throws is ignored. */
  readonly observe?: (event: ReconciliationEvent) => void
  readonly platform?: Platform
}

/** What became of a reconciliation. */
export type Reconciled =
  | PeriodCheck
  /** What was found, and is put right now on the next invoice. */
  | { readonly outcome: 'adjusted'; readonly comparison: PeriodComparison }
  /** The bills kept changing meanwhile; what is left differs. Try again. */
  | { readonly outcome: 'contended'; readonly comparison: PeriodComparison }

/** Compares what was billed with what was metered, and puts it right. MT-9. */
export interface Reconciliation {
  /**
   * Compares a period; writes nothing. Throws `INVALID_OPTIONS`, `NOT_BILLABLE`, `UNRATED_METRIC`, `TOO_MANY_METRICS` and
   * `STORE_FAILED`.
   */
  check(query: ReconciliationQuery): Promise<PeriodCheck>
  /**
   * Compares a period, keeps what it finds under the name of the run, and puts what differs on the next invoice as
   * adjustments that name the period. The same run again changes nothing more; no invoice is ever edited. Throws as `check`.
   */
  reconcile(query: ReconciliationQuery, options: { readonly run: string }): Promise<Reconciled>
  /** Begins a run over all subscriptions now; one that is known goes on as it was. Throws as `check`. */
  start(run: string): Promise<{ readonly outcome: 'started' | 'known' }>
  /** The latest runs: 100 unless given, at most 1,000. Throws as `check`. */
  runs(options?: { readonly limit?: number }): Promise<readonly ReconciliationRun[]>
  /** What a run found that was not in order, a page at a time. Throws as `check`. */
  findings(query: {
    readonly run: string
    /** `next` of the page before. */
    readonly after?: FindingPlace
    /** 100 unless given, at most 1,000. */
    readonly limit?: number
  }): Promise<{ readonly findings: readonly Finding[]; readonly next: FindingPlace | undefined }>
  /** Runs over all subscriptions every night; for core's `startWorker`. Any number of processes may. */
  readonly duties: readonly Duty[]
}

const optionsSchema: z.ZodType<ReconciliationOptions> = z.strictObject({
  db: methods('run'),
  usage: methods('totals', 'adjustments'),
  invoices: methods('find', 'billed', 'endedAt', 'adjust', 'revision'),
  rateCardOf: callable(),
  roundedPer: z.enum(['line', 'invoice']),
  subscriptions: methods('list'),
  onDifference: z.enum(['report', 'adjust']),
  tolerance: toleranceSchema.exactOptional(),
  periods: z.int().min(1).max(PERIODS_MAX).exactOptional(),
  settleMs: z.int().min(0).max(hours(24)).exactOptional(),
  nightly: methods('next').exactOptional(),
  observe: callable().exactOptional(),
  platform: z.custom<Platform>((value) => typeof value === 'object' && value !== null).exactOptional()
})

/** It is part of the keys of adjustments, which colons separate. */
const runSchema: z.ZodType<{ readonly run: string }> = z.strictObject({
  run: z.string().regex(/^[A-Za-z0-9][\w.@-]{0,63}$/, 'must be at most 64 letters, digits, and any of _ . @ -')
})
const limitSchema = z.int().min(1).max(LISTED_MAX).exactOptional()
const runsSchema: z.ZodType<{ readonly limit?: number }> = z.strictObject({ limit: limitSchema })
const findingsSchema: z.ZodType<{ readonly run: string; readonly after?: FindingPlace; readonly limit?: number }> =
  z.strictObject({
    run: z.string().min(1).max(64),
    after: z.strictObject({ account: z.string().max(64), periodFrom: z.int() }).exactOptional(),
    limit: limitSchema
  })
const pageSchema: z.ZodType<{
  readonly subscriptions: readonly ListedSubscription[]
  readonly next?: string | undefined
}> = z.object({
  subscriptions: z.array(z.custom<ListedSubscription>((value) => typeof value === 'object' && value !== null)),
  next: z.string().min(1).max(1_024).optional()
})

/** Reconciliation in a database. Throws `INVALID_OPTIONS`. */
export function createReconciliation(options: ReconciliationOptions): Reconciliation {
  const parsed = parseOptions(optionsSchema, 'createReconciliation', options)
  const { db, usage, invoices, rateCardOf, roundedPer, subscriptions, onDifference } = parsed
  const { tolerance = {}, periods = 2, settleMs = SETTLE_MS, observe, platform = systemPlatform } = parsed
  const { nightly = every(days(1), { offsetMs: hours(3) }) } = parsed
  const ground: CheckGround = { usage, invoices, rateCardOf, roundedPer, tolerance, settleMs }
  const report = reporter(observe)
  const { clock } = platform

  const schedule = createSchedule({
    db,
    name: NIGHT,
    platform,
    concurrency: 1,
    tasks: {
      [NIGHT]: {
        recurrence: nightly,
        misfire: { policy: 'once', graceMs: hours(12) },
        *unit(dues) {
          for (const { dueAt } of dues) yield* begin(`nightly-${dueAt}`)
        }
      },
      [PAGE]: {
        run: page,
        timeoutMs: PAGE_TIMEOUT_MS,
        attemptsMax: ATTEMPTS_MAX,
        backoff: { jitter: 'equal', baseMs: 1_000, maxMs: 600_000 }
      }
    }
  })

  function* begin(run: string): Sql<boolean> {
    const now = yield* storeNow(db.dialect)
    yield* forgetRuns(now - KEEP_MS, FORGOTTEN_AT_ONCE)
    if (!(yield* insertRun(run, now))) return false
    yield* schedule.put({ task: PAGE, id: `${run}:0`, dueAt: now, payload: { run, page: 0 } })
    return true
  }

  /** A store's failure in metering's terms. */
  async function guarded<T>(operation: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      if (error instanceof MeteringError || isSuiteError(error, 'INVALID_OPTIONS')) throw error
      throw storeFailure(operation, error, undefined) ?? error
    }
  }

  const check = (query: ReconciliationQuery): Promise<PeriodCheck> => checkPeriod(ground, query, clock.now())

  /** Keeps what is not in order, tells of it, and adjusts it if it is to. */
  async function visit(query: ReconciliationQuery, run: string, adjusts: boolean): Promise<Reconciled> {
    const found = await check(query)
    const { tenant, subscription } = query
    if (found.outcome === 'not-invoiced' && isOverdue(found)) {
      const { outcome, period, events } = found
      await db.run(() => insertFinding(run, { outcome, tenant, subscription, period, events }))
      report({ type: 'reconciliation.not-invoiced', tenant, subscription, periodAt: period.from, events })
    }
    if (found.outcome !== 'compared' || found.comparison.verdict !== 'differs') return found
    const { comparison } = found
    const { period, currency, watermarkAt, minorUnits } = comparison
    const metrics = comparison.metrics.filter(({ verdict }) => verdict === 'differs')
    const finding: Finding = {
      outcome: 'differs',
      tenant,
      subscription,
      period,
      currency,
      watermarkAt,
      minorUnits,
      metrics,
      adjusted: false
    }
    // Before it is put right: afterwards nobody could tell what it was.
    await db.run(() => insertFinding(run, finding))
    report({
      type: 'reconciliation.differs',
      tenant,
      subscription,
      periodAt: period.from,
      currency,
      minorUnits,
      metrics: metrics.map(({ metric }) => metric)
    })
    if (!adjusts) return found
    const outcome = await correct(invoices, run, async () => {
      const again = await check(query)
      return again.outcome === 'compared' ? again.comparison : undefined
    })
    if (outcome === 'contended') return { outcome, comparison }
    await db.run(() => markAdjusted(run, finding))
    report({ type: 'reconciliation.adjusted', tenant, subscription, periodAt: period.from, run })
    return { outcome: 'adjusted', comparison }
  }

  const isOverdue = ({ period, events }: Extract<PeriodCheck, { outcome: 'not-invoiced' }>): boolean =>
    events > 0 && clock.now() >= period.to + CLOSES_AFTER_MS + INVOICE_DUE_MS

  /** The last closed periods of a subscription, the earliest first. */
  function closedPeriods({ calendar, billedFrom = Number.NEGATIVE_INFINITY }: ListedSubscription): readonly number[] {
    const finder = periodFinder(calendar)
    const closed = finder.shift(finder.periodAt(clock.now() - CLOSES_AFTER_MS), -1)
    const starts: number[] = []
    for (let back = periods - 1; back >= 0; back--) starts.push(finder.shift(closed, -back).from)
    return starts.filter((from) => from >= billedFrom)
  }

  /** Visits the periods of a subscription, and gives how many were compared. What is wrong with it is its own affair. */
  async function visitAll(one: ListedSubscription, run: string, attempt: number): Promise<number> {
    const { tenant, subscription, calendar } = one
    let checked = 0
    try {
      for (const at of closedPeriods(one)) {
        await visit({ tenant, subscription, calendar, at }, run, onDifference === 'adjust')
        checked += 1
      }
    } catch (error) {
      if (isOutage(error) && attempt <= STORE_ATTEMPTS) throw error
      report({ type: 'reconciliation.failed', tenant, subscription, run, error })
      const finding: Finding = {
        outcome: 'failed',
        // It may be its very name that no store takes.
        tenant: storable(tenant),
        subscription: storable(subscription),
        period: { from: 0, to: 0 },
        reason: nameOf(error)
      }
      await db.run(() => insertFinding(run, finding))
    }
    return checked
  }

  /** One page of a run. Done again after a crash: each visit is idempotent, and the page is counted once. */
  async function page({ payload, attempt, signal }: RunningTask): Promise<void> {
    const { run, page: number } = payload as { run: string; page: number }
    const before = await db.run(() => readRun(run))
    if (before === undefined || before.endedAt !== undefined || before.page !== number) return
    const asked = { after: before.after, limit: PAGE_MAX }
    const listed = parseOptions(pageSchema, 'subscriptions.list', await subscriptions.list(asked, { signal }))
    if (listed.next !== undefined && listed.next === before.after) {
      throw new Error('the lister of subscriptions goes round in circles: its next page begins where this one did')
    }
    let checked = 0
    for (const one of listed.subscriptions) {
      signal.throwIfAborted()
      checked += await visitAll(one, run, attempt)
    }
    const ended = await db.run(() => end(run, number, checked, listed.next))
    if (ended === undefined) return
    report({
      type: 'reconciliation.run-ended',
      run,
      checked: ended.checked,
      differing: ended.differing,
      failed: ended.failed
    })
  }

  /** Ends a page and puts the next one; gives the run if this was the last. */
  function* end(run: string, number: number, checked: number, after: string | undefined): Sql<RunState | undefined> {
    const now = yield* storeNow(db.dialect)
    const isLast = after === undefined
    // Another worker had the page too, and was faster.
    if (!(yield* endPage(run, number, { checked, after, endedAt: isLast ? now : undefined }))) return undefined
    if (isLast) return yield* readRun(run)
    const next = number + 1
    yield* schedule.put({ task: PAGE, id: `${run}:${next}`, dueAt: now, payload: { run, page: next } })
    return undefined
  }

  return {
    check: (query) => guarded('compare a period', () => check(query)),
    async reconcile(query, given) {
      const { run } = parseOptions(runSchema, 'reconciliation.reconcile', given)
      return guarded('reconcile a period', () => visit(query, run, true))
    },
    async start(given) {
      const { run } = parseOptions(runSchema, 'reconciliation.start', { run: given })
      const isNew = await guarded('begin a run', () => db.run(() => begin(run)))
      return { outcome: isNew ? 'started' : 'known' }
    },
    async runs(given = {}) {
      const { limit = 100 } = parseOptions(runsSchema, 'reconciliation.runs', given)
      const found = await guarded('read runs', () => db.run(() => readRuns(limit)))
      return found.map(({ page: _page, after: _after, ...run }) => run)
    },
    async findings(given) {
      const { run, after, limit = 100 } = parseOptions(findingsSchema, 'reconciliation.findings', given)
      const found = await guarded('read findings', () => db.run(() => readFindings(run, after, limit)))
      return {
        findings: found.map(({ finding }) => finding),
        next: found.length < limit ? undefined : found.at(-1)?.place
      }
    },
    duties: schedule.duties
  }
}

/** Whether it is the store's failure, which the other subscriptions would meet too. */
function isOutage(error: unknown): boolean {
  const codes = ['STORE_FAILED', 'STORE_UNAVAILABLE', 'COMMIT_UNKNOWN', 'OVERLOADED']
  return isSuiteError(error) && codes.includes(error.code)
}

const storable = (name: unknown): string => String(name).slice(0, 255).replaceAll('\0', '').toWellFormed()

/** Of an error only what names it: its message may quote what nobody should read in a report. */
function nameOf(error: unknown): string {
  const name = error instanceof Error ? error.name : typeof error
  return storable(isSuiteError(error) ? `${name} ${error.code}` : name)
}
