import {
  CoreError,
  createCircuitBreaker,
  type Platform,
  parseOptions,
  reporter,
  systemPlatform,
  type Usage,
  type UsageSink
} from '@enablement/core'
import type { Duty } from '@enablement/core/schedule'
import { z } from 'zod'
import type { ConsensusTime } from './clock-skew/consensus-time.ts'
import { createDriftMonitor, type DriftMonitor } from './clock-skew/drift-monitor.ts'
import { type CheckedUsage, parseUsageEvent } from './event/parse-usage-event.ts'
import type { BatchOutcome, RecordOutcome } from './event/record-outcome.ts'
import type { UsageEvent } from './event/usage-event.ts'
import { identifierSchema, usedAtSchema } from './event/usage-event-schema.ts'
import { claimsOn, type UsageDedup } from './intake/claims.ts'
import { createIntake } from './intake/intake.ts'
import { journalDuty } from './intake/journal-duty.ts'
import { type CalendarOf, usageJudge } from './intake/judgement.ts'
import { type Quarantine, type Reviews, setAsideDesk } from './intake/set-aside-desk.ts'
import type { UsageJournal } from './intake/usage-journal.ts'
import { type LatenessLimits, latenessLimitsSchema } from './lateness/lateness.ts'
import { MeteringError, storeFailure } from './metering-error.ts'
import type { MeteringObserver } from './metering-event.ts'
import type { MetricDefinition } from './usage/rollup.ts'
import { type AdjustmentQuery, type LateUsage, METRICS_MAX, type TotalsQuery, type UsageTotal } from './usage/totals.ts'
import type { UsageStore } from './usage/usage-store.ts'

/** Events of one batch. Each is small, so a full batch is a few megabytes; more would hold memory, not save calls. */
const BATCH_EVENTS_MAX = 10_000

/** Where usage goes, and what is asked on the way. */
export interface MeterOptions {
  readonly store: UsageStore
  /** How metrics add up; one that is not here is a sum. Change it, and what was recorded before adds up as it did. */
  readonly metrics?: Readonly<Record<string, MetricDefinition>>
  /**
   * The billing periods of a subscription, by which late events are told. Called for each event: answer from memory. Where
   * it gives nothing no event is late.
   */
  readonly calendarOf?: CalendarOf
  /** How late usage may come: 24 hours for its own bill and 7 days for the next one unless given. */
  readonly latenessLimits?: LatenessLimits
  /** Asked before the ledger, which spares it the repetitions. */
  readonly dedup?: UsageDedup
  /**
   * What becomes of an event when dedup does not answer: `journal` keeps it there until it does; `accept` leaves it to the
   * ledger's unique index and marks it unconfirmed; `reject` refuses it. A required word where there is `dedup`.
   */
  readonly onDedupUnknown?: 'journal' | 'accept' | 'reject'
  /**
   * A journal of this meter's own, `openJournal` of `@enablement/core/journal`: what a store does not take waits there, and
   * `duties` settles it. The caller opens it, and closes it after the meter.
   */
  readonly journal?: UsageJournal
  /**
   * `throw`, unless given, tells the caller; `journal` keeps the event there and answers `held`: after five failures in a
   * row at once, without asking the store, which is asked again after five seconds, and a minute at most.
   */
  readonly onStoreFailure?: 'throw' | 'journal'
  /** The time that several sources agree on, in the place of this machine's clock. */
  readonly consensus?: Pick<ConsensusTime, 'now'>
  /** Watches the clocks of the events' sources. One of the meter's own, which tells `observe`, unless given. */
  readonly drift?: Pick<DriftMonitor, 'note'>
  /** Is told of every outcome. What it throws is ignored. */
  readonly observe?: MeteringObserver
  readonly platform?: Platform
}

const metricSchema: z.ZodType<MetricDefinition> = z.discriminatedUnion('rollup', [
  z.strictObject({ rollup: z.enum(['sum', 'max', 'latest']) }),
  z.strictObject({ rollup: z.literal('unique'), property: z.string().min(1) })
])

/** A meter with more metrics has put ids in their names. */
const DEFINITIONS_MAX = 10_000

const optionsSchema: z.ZodType<MeterOptions> = z
  .strictObject({
    store: withMethods<UsageStore>(
      'must be a usage store, such as sqlUsageStore(db)',
      'record',
      'totals',
      'adjustments',
      'setAside',
      'find',
      'decide'
    ),
    metrics: z
      .record(identifierSchema, metricSchema)
      .refine((metrics) => Object.keys(metrics).length <= DEFINITIONS_MAX, `has more than ${DEFINITIONS_MAX} metrics`)
      .exactOptional(),
    calendarOf: z.custom<CalendarOf>((value) => typeof value === 'function', 'must be a function').exactOptional(),
    latenessLimits: latenessLimitsSchema.exactOptional(),
    dedup: withMethods<UsageDedup>('must be what createDedup gives', 'claim', 'settle', 'release').exactOptional(),
    onDedupUnknown: z.enum(['journal', 'accept', 'reject']).exactOptional(),
    journal: withMethods<UsageJournal>(
      'must be a journal: await openJournal({ folder })',
      'append',
      'replay',
      'trim'
    ).exactOptional(),
    onStoreFailure: z.enum(['throw', 'journal']).exactOptional(),
    consensus: withMethods<ConsensusTime>('must be a consensus time', 'now').exactOptional(),
    drift: withMethods<DriftMonitor>('must be a drift monitor', 'note').exactOptional(),
    observe: z.custom<MeteringObserver>((value) => typeof value === 'function', 'must be a function').exactOptional(),
    platform: z.custom<Platform>((value) => typeof value === 'object' && value !== null).exactOptional()
  })
  .check(({ value, issues }) => {
    const refuse = (path: string, message: string): void => {
      issues.push({ code: 'custom', input: value, path: [path], message })
    }
    const { dedup, onDedupUnknown, onStoreFailure, journal } = value
    if (dedup !== undefined && onDedupUnknown === undefined)
      refuse('onDedupUnknown', 'must be said where there is dedup')
    if (dedup === undefined && onDedupUnknown !== undefined) refuse('onDedupUnknown', 'needs dedup')
    const needed = onDedupUnknown === 'journal' || onStoreFailure === 'journal'
    if (needed && journal === undefined) refuse('journal', 'must be given where events are to be held in it')
  })

function withMethods<T>(message: string, ...names: readonly string[]) {
  return z.custom<T>((value) => {
    if (typeof value !== 'object' || value === null) return false
    return names.every((name) => typeof (value as Record<string, unknown>)[name] === 'function')
  }, message)
}

const querySchema: z.ZodType<TotalsQuery> = z
  .strictObject({
    tenant: identifierSchema,
    subscription: identifierSchema,
    from: usedAtSchema,
    to: usedAtSchema,
    metric: identifierSchema.exactOptional(),
    late: z.enum(['included', 'excluded']).exactOptional()
  })
  .refine(({ from, to }) => from <= to, { path: ['to'], message: 'must not be before from' })

const adjustmentSchema: z.ZodType<AdjustmentQuery> = z
  .strictObject({
    tenant: identifierSchema,
    subscription: identifierSchema,
    receivedFrom: usedAtSchema,
    receivedTo: usedAtSchema
  })
  .refine(({ receivedFrom, receivedTo }) => receivedFrom <= receivedTo, {
    path: ['receivedTo'],
    message: 'must not be before receivedFrom'
  })

/** Failures in a row after which a store is taken for down: what comes goes to the journal at once. */
const BREAKER_FAILURES = 5

/** How long a call that finds out whether the store is back may take: longer than a database waits for a statement. */
const PROBE_LEASE_MS = 60_000

/** Counts usage exactly: each event once, however often it is sent. */
export interface Meter extends UsageSink, AsyncDisposable {
  /**
   * Counts one event. Resolves once it is durable, as far as the store promises. Whatever the input is, the answer is an
   * outcome; throws `STORE_FAILED` when the store failed and `JOURNAL_FAILED` when the journal did, too (send the event
   * again), `CLOSED` (core), and the signal's reason.
   */
  record(event: UsageEvent, options?: { readonly signal?: AbortSignal }): Promise<RecordOutcome>
  /**
   * Counts up to 10,000 events, with an outcome for each in order: a bad one does not stop the others, nor does a store
   * that fails half-way (`unknown`). Throws `BATCH_TOO_LARGE`, `CLOSED` (core), and the signal's reason, after which what
   * was counted is found by sending the batch again.
   */
  recordBatch(
    events: readonly UsageEvent[],
    options?: { readonly signal?: AbortSignal }
  ): Promise<readonly BatchOutcome[]>
  /**
   * Adds up what was used in [from, to) by time of use, per metric in the order of their names; a metric without events
   * is not listed. Throws `INVALID_OPTIONS`, `TOO_MANY_METRICS` and `STORE_FAILED`.
   */
  totals(query: TotalsQuery, options?: { readonly signal?: AbortSignal }): Promise<readonly UsageTotal[]>
  /**
   * What late events, received in a range, add to earlier periods, by period and metric. Throws `INVALID_OPTIONS`,
   * `TOO_MANY_METRICS` and `STORE_FAILED`.
   */
  adjustments(query: AdjustmentQuery, options?: { readonly signal?: AbortSignal }): Promise<readonly LateUsage[]>
  /** Events whose time is too far ahead. Each call throws `INVALID_OPTIONS` and `STORE_FAILED`. */
  readonly quarantine: Quarantine
  /** Events that came too late for any bill. Each call throws `INVALID_OPTIONS` and `STORE_FAILED`. */
  readonly reviews: Reviews
  /**
   * `record` for packages that report through core's seam. Resolves when the usage is durable: counted now or before, in
   * the journal, or kept for somebody to decide. Throws `USAGE_REJECTED`, `USAGE_CONFLICT`, `STORE_FAILED`,
   * `JOURNAL_FAILED` and `CLOSED` (core).
   */
  accept(usage: Usage): Promise<void>
  /** For core's `startWorker`: settles what the journal holds. None without a journal. */
  readonly duties: readonly Duty[]
  /** Refuses what comes, and waits for what is under way. The store and the journal are the caller's to close, after it. */
  close(): Promise<void>
}

/** A meter over a usage store. Throws `INVALID_OPTIONS`. */
export function createMeter(options: MeterOptions): Meter {
  const parsed = parseOptions(optionsSchema, 'createMeter', options)
  const { store, dedup, journal, consensus, observe, platform = systemPlatform } = parsed
  const report = reporter(observe)
  const drift = parsed.drift ?? createDriftMonitor({ observe: report })
  const now = (): number => consensus?.now() ?? platform.clock.now()
  const claims =
    dedup === undefined ? undefined : claimsOn(dedup, (error) => report({ type: 'usage.store-failed', error }))
  const judge = usageJudge({
    metrics: new Map(Object.entries(parsed.metrics ?? {})),
    calendarOf: parsed.calendarOf,
    latenessLimits: parsed.latenessLimits
  })
  const breaker =
    parsed.onStoreFailure !== 'journal'
      ? undefined
      : createCircuitBreaker({
          name: 'usage-store',
          window: { kind: 'consecutive', failures: BREAKER_FAILURES },
          probeLeaseMs: PROBE_LEASE_MS,
          platform,
          observe: report
        })
  const intake = createIntake({
    store:
      breaker === undefined
        ? store
        : { record: (entries, call) => breaker.execute(() => store.record(entries, call), call) },
    judge,
    claims,
    journal,
    posture: {
      onDedupUnknown: parsed.onDedupUnknown ?? 'accept',
      onStoreFailure: parsed.onStoreFailure ?? 'throw'
    },
    now,
    noteDrift({ tenant, source }, driftMs, receivedAt) {
      if (source !== undefined) drift.note({ tenant, source, driftMs, receivedAt })
    },
    report
  })
  const underWay = new Set<Promise<unknown>>()
  let closing: Promise<void> | undefined

  const take = async (
    usages: readonly CheckedUsage[],
    signal: AbortSignal | undefined
  ): Promise<readonly BatchOutcome[]> => {
    if (closing !== undefined) throw new CoreError('CLOSED', 'the meter was closed', { what: 'meter' })
    const receivedAt = now()
    const work = intake.take(
      usages.map((usage) => ({ usage, receivedAt })),
      signal
    )
    underWay.add(work)
    try {
      return await work
    } finally {
      underWay.delete(work)
    }
  }

  const reject = (rejected: RecordOutcome & { readonly outcome: 'rejected' }): RecordOutcome => {
    report({ type: 'usage.rejected', paths: rejected.issues.map(({ path }) => path) })
    return rejected
  }

  const ask = async <T>(
    operation: string,
    work: () => Promise<T>,
    call: { readonly signal?: AbortSignal } | undefined
  ): Promise<T> => {
    try {
      return await work()
    } catch (error) {
      const failure = storeFailure(operation, error, call?.signal)
      if (failure === undefined) throw error
      report({ type: 'usage.store-failed', error: failure })
      throw failure
    }
  }

  const desk = setAsideDesk({
    store,
    judge,
    now,
    ask,
    onSettled({ tenant, subscription, transactionId, metric, quantity, reason }, settled) {
      if (settled.outcome !== 'settled') return
      report({ type: 'usage.settled', tenant, subscription, transactionId, from: reason, as: settled.as })
      if (settled.as !== 'counted') return
      const { lateness } = settled
      report({ type: 'usage.recorded', tenant, subscription, metric, quantity, lateness })
    }
  })

  const meter: Meter = {
    ...desk,
    duties: journal === undefined ? [] : [journalDuty(journal, (held, signal) => intake.settle(held, signal))],

    async record(event, call) {
      const given = parseUsageEvent(event)
      if (given.outcome === 'rejected') return reject(given)
      const [outcome] = await take([given.usage], call?.signal)
      if (outcome?.outcome === 'unknown') throw outcome.error
      return outcome as RecordOutcome
    },

    async recordBatch(events, call) {
      checkBatch(events)
      const outcomes = Array.from<BatchOutcome>({ length: events.length })
      const usages: CheckedUsage[] = []
      const places: number[] = []
      for (let at = 0; at < events.length; at++) {
        const given = parseUsageEvent(events[at])
        if (given.outcome === 'rejected') outcomes[at] = reject(given)
        else {
          usages.push(given.usage)
          places.push(at)
        }
      }
      const taken = await take(usages, call?.signal)
      for (const [index, at] of places.entries()) outcomes[at] = taken[index] as BatchOutcome
      return outcomes
    },

    async totals(query, call) {
      const checked = parseOptions(querySchema, 'meter.totals', query)
      const totals = await ask('add up usage', () => store.totals(checked, call), call)
      checkCount(totals, checked)
      return totals
    },

    async adjustments(query, call) {
      const checked = parseOptions(adjustmentSchema, 'meter.adjustments', query)
      const adjustments = await ask('add up late usage', () => store.adjustments(checked, call), call)
      checkCount(adjustments, checked)
      return adjustments
    },

    async accept(usage) {
      const recorded = await meter.record(usage)
      if (recorded.outcome === 'refused') throw recorded.error
      if (recorded.outcome === 'rejected') {
        const { issues } = recorded
        const summary = issues.map(({ path, message }) => `${path}: ${message}`).join('; ')
        throw new MeteringError('USAGE_REJECTED', `the usage is malformed and was not counted: ${summary}`, { issues })
      }
      if (recorded.outcome === 'conflict') {
        const { tenant, subscription, transactionId } = usage
        const { firstReceivedAt } = recorded
        throw new MeteringError(
          'USAGE_CONFLICT',
          `transaction ${transactionId} was counted before with another payload, received at ${firstReceivedAt}`,
          { tenant, subscription, transactionId, firstReceivedAt }
        )
      }
    },

    close() {
      closing ??= (async () => {
        await Promise.allSettled(underWay)
        await claims?.flush()
      })()
      return closing
    },
    [Symbol.asyncDispose]: () => meter.close()
  }
  return meter
}

function checkBatch(events: readonly unknown[]): void {
  // Not by `parseOptions`, which would read what is in the events, and throw what their getters throw.
  if (!Array.isArray(events)) {
    const issue = { path: '', message: 'must be an array of events' }
    throw new CoreError('INVALID_OPTIONS', `meter.recordBatch refused its options: ${issue.message}`, {
      subject: 'meter.recordBatch',
      issues: [issue]
    })
  }
  if (events.length <= BATCH_EVENTS_MAX) return
  throw new MeteringError('BATCH_TOO_LARGE', `a batch of ${events.length} events exceeds ${BATCH_EVENTS_MAX}`, {
    events: events.length,
    limit: BATCH_EVENTS_MAX
  })
}

function checkCount(
  found: readonly unknown[],
  whose: { readonly tenant: string; readonly subscription: string }
): void {
  if (found.length <= METRICS_MAX) return
  const { tenant, subscription } = whose
  const message = `subscription ${subscription} used more than ${METRICS_MAX} metrics: ask for them one by one`
  throw new MeteringError('TOO_MANY_METRICS', message, { tenant, subscription, limit: METRICS_MAX })
}
