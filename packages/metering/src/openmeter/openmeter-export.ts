import { days, isJson, type JsonObject, parseOptions, systemPlatform } from '@enablement/core'
import { Temporal } from 'temporal-polyfill'
import { z } from 'zod'
import { type ExportOptions, exportShape, keySchema, nameSchema, urlSchema } from '../export/export-options.ts'
import { mapUsage } from '../export/mapped-usage.ts'
import { createTargetCall, type ExportKey } from '../export/target-call.ts'
import { createUsageExport, type UsageExport } from '../export/usage-export.ts'
import { failed, POISON_ATTEMPTS, type SendOutcome, type UsageSink } from '../export/usage-sink.ts'
import { callable } from '../option-checks.ts'
import type { RecordedUsage } from '../usage/usage-feed.ts'

/** An event as OpenMeter is to have it: a CloudEvent but for what tells it from others. */
export interface OpenMeterEvent {
  /** What meters select by: the metric unless given. */
  readonly type?: string
  /** Who it is billed to: the customer's key or one of its subjects. */
  readonly subject: string
  /** `{ quantity }` unless given. A meter's value property is a path into it. Properties go along only if you put them in. */
  readonly data?: JsonObject
}

/** Where the usage is exported to, and as what. */
export interface OpenMeterExportOptions extends ExportOptions {
  /** Such as `https://openmeter.cloud`; yours, where you run it. */
  readonly apiUrl: string
  /** Undefined for a server without keys. */
  readonly apiKey?: ExportKey
  /** What an event is to OpenMeter; undefined where it is none. One that throws is asked again. */
  readonly eventOf: (usage: RecordedUsage) => OpenMeterEvent | undefined | Promise<OpenMeterEvent | undefined>
  /** `openmeter` unless given: exports of one database that have different ones are different exports. */
  readonly name?: string
  /**
   * For how long the server knows an event again by source and id: 32 days unless given, which is what its dedupe is set
   * to where it is on. It is off unless the operator turns it on, and must be on.
   */
  readonly dedupeMs?: number
}

/** Events of one call: well within what a server takes as one body. */
const BATCH = 100

const optionsSchema: z.ZodType<OpenMeterExportOptions> = z.strictObject({
  ...exportShape,
  apiUrl: urlSchema,
  apiKey: keySchema.exactOptional(),
  eventOf: callable(),
  name: nameSchema.exactOptional(),
  dedupeMs: z.int().min(1).max(days(3_660)).exactOptional()
})

const eventSchema: z.ZodType<OpenMeterEvent> = z.strictObject({
  type: z.string().min(1).max(1_024).exactOptional(),
  subject: z.string().min(1).max(1_024),
  data: z
    .custom<JsonObject>(
      (value) => typeof value === 'object' && value !== null && !Array.isArray(value) && isJson(value)
    )
    .exactOptional()
})

interface Prepared {
  readonly at: number
  readonly cloudEvent: JsonObject
}

/**
 * Exports usage to OpenMeter: `POST /api/v1/events` in batches of CloudEvents 1.0. The source is made of tenant and
 * subscription and the id is the transaction's, so that source and id are one event there however often it is sent. A batch
 * that is refused is halved until it is known which events are at fault. Throws `INVALID_OPTIONS`.
 */
export function createOpenMeterExport(options: OpenMeterExportOptions): UsageExport {
  const parsed = parseOptions(optionsSchema, 'createOpenMeterExport', options)
  const { db, feed, begin, apiUrl, apiKey, eventOf, name = 'openmeter', dedupeMs = days(32) } = parsed
  const { platform = systemPlatform, observe, fetch = globalThis.fetch } = parsed
  const target = createTargetCall({ target: name, baseUrl: apiUrl, key: apiKey, headers: {}, fetch, platform })

  async function sendBatch(
    batch: readonly Prepared[],
    outcomes: SendOutcome[],
    options: { readonly signal: AbortSignal; readonly attempt: number }
  ): Promise<void> {
    const { signal, attempt } = options
    if (batch.length === 0 || signal.aborted) return
    const all = (outcome: SendOutcome): void => {
      for (const { at } of batch) outcomes[at] = outcome
    }
    const halves = async (): Promise<void> => {
      const half = batch.length >> 1
      await sendBatch(batch.slice(0, half), outcomes, options)
      await sendBatch(batch.slice(half), outcomes, options)
    }
    const body = JSON.stringify(batch.map(({ cloudEvent }) => cloudEvent))
    const posted = await target.post(
      '/api/v1/events',
      { contentType: 'application/cloudevents-batch+json', body },
      signal
    )
    if ('failure' in posted) return all(failed(posted.failure.error, posted.failure.mayBeThere))
    const { answer } = posted
    if (answer.status >= 200 && answer.status < 300) return all({ outcome: 'accepted' })
    const failure = target.failureOf(answer)
    const isOneForAll = failure === undefined || (answer.status >= 500 && attempt >= POISON_ATTEMPTS)
    if (isOneForAll && batch.length > 1) return halves()
    if (failure !== undefined) return all(failed(failure.error, failure.mayBeThere))
    all({ outcome: 'refused', reason: `http-${answer.status}` })
  }

  const sink: UsageSink = {
    async send(usages, options) {
      const outcomes = usages.map((): SendOutcome => ({ outcome: 'unsent' }))
      const batch: Prepared[] = []
      for (const [at, usage] of usages.entries()) {
        if (options.signal.aborted) return outcomes
        const mapped = await mapUsage(name, usage, eventOf)
        if ('ended' in mapped) outcomes[at] = mapped.ended
        else if (!eventSchema.safeParse(mapped.event).success) {
          outcomes[at] = { outcome: 'refused', reason: 'not-an-event' }
        } else batch.push({ at, cloudEvent: cloudEventOf(usage, mapped.event) })
      }
      await sendBatch(batch, outcomes, options)
      return outcomes
    }
  }

  return createUsageExport({
    db,
    feed,
    name,
    begin,
    sink,
    batchMax: BATCH,
    identifierMs: dedupeMs,
    observe,
    platform
  })
}

function cloudEventOf(usage: RecordedUsage, { type, subject, data }: OpenMeterEvent): JsonObject {
  const { tenant, subscription, transactionId, metric, quantity, at } = usage
  return {
    specversion: '1.0',
    id: transactionId,
    source: `/tenants/${encodeURIComponent(tenant)}/subscriptions/${encodeURIComponent(subscription)}`,
    type: type ?? metric,
    subject,
    time: Temporal.Instant.fromEpochMilliseconds(at).toString(),
    datacontenttype: 'application/json',
    data: data ?? { quantity }
  }
}
