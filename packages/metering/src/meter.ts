import { type Platform, parseOptions, reporter, systemPlatform, type Usage, type UsageSink } from '@enablement/core'
import { z } from 'zod'
import type { DedupVerdict } from './dedup/dedup.ts'
import { type CheckedUsage, parseUsageEvent } from './event/parse-usage-event.ts'
import { payloadHash } from './event/payload-hash.ts'
import type { BatchOutcome, RecordOutcome } from './event/record-outcome.ts'
import type { UsageEvent } from './event/usage-event.ts'
import { identifierSchema, usedAtSchema } from './event/usage-event-schema.ts'
import { MeteringError, storeFailure } from './metering-error.ts'
import type { MeteringObserver } from './metering-event.ts'
import { METRICS_MAX, type TotalsQuery, type UsageTotal } from './usage/totals.ts'
import { ENTRIES_MAX, type UsageEntry, type UsageStore } from './usage/usage-store.ts'

/** Events of one batch. Each is small, so a full batch is a few megabytes; more would hold memory, not save calls. */
const BATCH_EVENTS_MAX = 10_000

/** Where usage goes. */
export interface MeterOptions {
  readonly store: UsageStore
  /** Is told of every outcome. What it throws is ignored. */
  readonly observe?: MeteringObserver
  readonly platform?: Platform
}

const optionsSchema: z.ZodType<MeterOptions> = z.strictObject({
  store: z.custom<UsageStore>(
    (value) => hasMethods(value, 'record', 'totals'),
    'must be a usage store, such as sqlUsageStore(db)'
  ),
  observe: z.custom<MeteringObserver>((value) => typeof value === 'function', 'must be a function').exactOptional(),
  platform: z.custom<Platform>((value) => typeof value === 'object' && value !== null).exactOptional()
})

const querySchema: z.ZodType<TotalsQuery> = z
  .strictObject({
    tenant: identifierSchema,
    subscription: identifierSchema,
    from: usedAtSchema,
    to: usedAtSchema,
    metric: identifierSchema.exactOptional()
  })
  .refine(({ from, to }) => from <= to, { path: ['to'], message: 'must not be before from' })

/** Counts usage exactly: each event once, however often it is sent. */
export interface Meter extends UsageSink {
  /**
   * Counts one event. Resolves once it is durable, as far as the store promises. Whatever the input is, the answer is an
   * outcome; throws `STORE_FAILED` when the store failed (send the event again) and the signal's reason.
   */
  record(event: UsageEvent, options?: { readonly signal?: AbortSignal }): Promise<RecordOutcome>
  /**
   * Counts up to 10,000 events, with an outcome for each in order: a bad one does not stop the others, nor does a store
   * that fails half-way (`unknown`). Throws `BATCH_TOO_LARGE`, and the signal's reason, after which what was counted is
   * found by sending the batch again.
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
   * `record` for packages that report through core's seam. Resolves when the usage is counted, now or before. Throws
   * `USAGE_REJECTED`, `USAGE_CONFLICT` and `STORE_FAILED`.
   */
  accept(usage: Usage): Promise<void>
}

/** A meter over a usage store. Throws `INVALID_OPTIONS`. */
export function createMeter(options: MeterOptions): Meter {
  const { store, observe, platform = systemPlatform } = parseOptions(optionsSchema, 'createMeter', options)
  const report = reporter(observe)

  const entryOf = (usage: CheckedUsage): UsageEntry => ({
    ...usage,
    payloadHash: payloadHash(usage),
    receivedAt: platform.clock.now()
  })

  const settle = (entry: UsageEntry, verdict: DedupVerdict): RecordOutcome => {
    const { tenant, subscription, transactionId, metric, quantity } = entry
    if (verdict.outcome === 'new') {
      report({ type: 'usage.recorded', tenant, subscription, metric, quantity })
      return { outcome: 'recorded' }
    }
    const { outcome, firstReceivedAt } = verdict
    const type = outcome === 'duplicate' ? 'usage.duplicated' : 'usage.conflicted'
    report({ type, tenant, subscription, transactionId, firstReceivedAt })
    return { outcome, firstReceivedAt }
  }

  const reject = (rejected: RecordOutcome & { readonly outcome: 'rejected' }): RecordOutcome => {
    report({ type: 'usage.rejected', paths: rejected.issues.map(({ path }) => path) })
    return rejected
  }

  const failed = (
    operation: string,
    error: unknown,
    signal: AbortSignal | undefined
  ): MeteringError<'STORE_FAILED'> => {
    const failure = storeFailure(operation, error, signal)
    if (failure === undefined) throw error
    report({ type: 'usage.store-failed', error: failure })
    return failure
  }

  const meter: Meter = {
    async record(event, options) {
      const parsed = parseUsageEvent(event)
      if (parsed.outcome === 'rejected') return reject(parsed)
      const entry = entryOf(parsed.usage)
      let verdicts: readonly DedupVerdict[]
      try {
        verdicts = await store.record([entry], options)
      } catch (error) {
        throw failed('record usage', error, options?.signal)
      }
      return settle(entry, verdicts[0] as DedupVerdict)
    },

    async recordBatch(events, options) {
      checkBatch(events)
      const outcomes = Array.from<BatchOutcome>({ length: events.length })
      const accepted: { readonly at: number; readonly entry: UsageEntry }[] = []
      for (let at = 0; at < events.length; at++) {
        const parsed = parseUsageEvent(events[at])
        if (parsed.outcome === 'rejected') outcomes[at] = reject(parsed)
        else accepted.push({ at, entry: entryOf(parsed.usage) })
      }
      for (let from = 0; from < accepted.length; from += ENTRIES_MAX) {
        const part = accepted.slice(from, from + ENTRIES_MAX)
        try {
          const verdicts = await store.record(
            part.map(({ entry }) => entry),
            options
          )
          part.forEach(({ at, entry }, index) => {
            outcomes[at] = settle(entry, verdicts[index] as DedupVerdict)
          })
        } catch (error) {
          const unknown: BatchOutcome = { outcome: 'unknown', error: failed('record usage', error, options?.signal) }
          for (const { at } of part) outcomes[at] = unknown
        }
      }
      return outcomes
    },

    async totals(query, options) {
      const checked = parseOptions(querySchema, 'meter.totals', query)
      let totals: readonly UsageTotal[]
      try {
        totals = await store.totals(checked, options)
      } catch (error) {
        throw failed('add up usage', error, options?.signal)
      }
      if (totals.length > METRICS_MAX) {
        const { tenant, subscription } = checked
        const message = `subscription ${subscription} used more than ${METRICS_MAX} metrics: ask for them one by one`
        throw new MeteringError('TOO_MANY_METRICS', message, { tenant, subscription, limit: METRICS_MAX })
      }
      return totals
    },

    async accept(usage) {
      const recorded = await meter.record(usage)
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
    }
  }
  return meter
}

function checkBatch(events: readonly unknown[]): void {
  parseOptions(z.custom<readonly unknown[]>(Array.isArray, 'must be an array of events'), 'meter.recordBatch', events)
  if (events.length <= BATCH_EVENTS_MAX) return
  throw new MeteringError('BATCH_TOO_LARGE', `a batch of ${events.length} events exceeds ${BATCH_EVENTS_MAX}`, {
    events: events.length,
    limit: BATCH_EVENTS_MAX
  })
}

function hasMethods(value: unknown, ...names: readonly string[]): boolean {
  if (typeof value !== 'object' || value === null) return false
  return names.every((name) => typeof (value as Record<string, unknown>)[name] === 'function')
}
