import { days, hours, minutes, parseOptions, systemPlatform } from '@enablement/core'
import { z } from 'zod'
import { keyOf } from '../billing/billing-key.ts'
import type { UsageIdentity } from '../event/usage-event.ts'
import { type ExportOptions, exportShape, keySchema, nameSchema, urlSchema } from '../export/export-options.ts'
import { mapUsage } from '../export/mapped-usage.ts'
import { createTargetCall, type ExportKey, type TargetAnswer } from '../export/target-call.ts'
import { createUsageExport, type UsageExport } from '../export/usage-export.ts'
import { failed, type SendOutcome, type UsageSink } from '../export/usage-sink.ts'
import { callable } from '../option-checks.ts'
import type { RecordedUsage } from '../usage/usage-feed.ts'

/** An event for a Stripe meter. */
export interface StripeMeterEvent {
  /** The meter's `event_name`, at most 100 characters. */
  readonly eventName: string
  /** Stripe's id of the customer: `cus_…`. */
  readonly customer: string
  /** The quantity unless given: a plain decimal. */
  readonly value?: string
  /** More of the payload, for meters with dimensions. */
  readonly payload?: Readonly<Record<string, string>>
}

/** Where the usage is exported to, and as what. */
export interface StripeExportOptions extends ExportOptions {
  /** A restricted key that may write meter events, or what gives the current one. */
  readonly apiKey: ExportKey
  /** What an event is to Stripe; undefined where it is none. One that throws is asked again. */
  readonly eventOf: (usage: RecordedUsage) => StripeMeterEvent | undefined | Promise<StripeMeterEvent | undefined>
  /** `stripe` unless given: exports of one database that have different ones are different exports. */
  readonly name?: string
  /** `https://api.stripe.com` unless given. */
  readonly apiUrl?: string
  /** For `Stripe-Version`; the account's unless given. */
  readonly apiVersion?: string
  /** Requests under way at the same time: 8 unless given, at most 64. Those of one customer and meter go one by one. */
  readonly concurrency?: number
}

/** Sent before the place is stored: a few seconds of work, which a crash repeats. */
const BATCH = 128
const CONCURRENCY = 8

/** Stripe takes meter events of the last 35 days, up to 5 minutes ahead. A minute is for the way there. */
const AGE_MAX_MS = days(35) - minutes(1)
const AHEAD_MAX_MS = minutes(5)

/** Stripe knows an identifier again for 24 hours at least. An hour is for a send that is under way. */
const IDENTIFIER_MS = hours(23)

const optionsSchema: z.ZodType<StripeExportOptions> = z.strictObject({
  ...exportShape,
  apiKey: keySchema,
  eventOf: callable(),
  name: nameSchema.exactOptional(),
  apiUrl: urlSchema.exactOptional(),
  apiVersion: z
    .string()
    .regex(/^[\w.-]{1,64}$/, 'must be a version such as 2026-03-25.dahlia')
    .exactOptional(),
  concurrency: z.int().min(1).max(64).exactOptional()
})

const text = z.string().min(1).max(1_024)
const eventSchema: z.ZodType<StripeMeterEvent> = z.strictObject({
  eventName: z.string().min(1).max(100),
  customer: text,
  value: z
    .string()
    .regex(/^-?\d{1,18}(\.\d{1,12})?$/, 'must be a plain decimal')
    .exactOptional(),
  payload: z.record(text, z.string().max(1_024)).exactOptional()
})

/**
 * Exports usage to Stripe's meters: `POST /v1/billing/meter_events`, one event a call, for v1 takes no more. Its
 * `identifier` is made of the usage's identity, so that it is one event there however often it is sent. No
 * `Idempotency-Key` goes with it: Stripe keeps answers under such a key, a 500 too, and gives that again for a day.
 * Throws `INVALID_OPTIONS`.
 */
export function createStripeExport(options: StripeExportOptions): UsageExport {
  const parsed = parseOptions(optionsSchema, 'createStripeExport', options)
  const { db, feed, begin, apiKey, eventOf, name = 'stripe', apiUrl = 'https://api.stripe.com', apiVersion } = parsed
  const { concurrency = CONCURRENCY, platform = systemPlatform, observe, fetch = globalThis.fetch } = parsed
  const target = createTargetCall({
    target: name,
    baseUrl: apiUrl,
    key: apiKey,
    headers: apiVersion === undefined ? {} : { 'stripe-version': apiVersion },
    fetch,
    platform
  })

  /** Why Stripe would refuse the time, before it is asked. */
  const untimely = (at: number): string | undefined => {
    const ageMs = platform.clock.now() - at
    if (ageMs > AGE_MAX_MS) return 'too-old'
    return ageMs < -AHEAD_MAX_MS ? 'too-far-ahead' : undefined
  }

  async function sendOne(usage: RecordedUsage, event: StripeMeterEvent, signal: AbortSignal): Promise<SendOutcome> {
    const form = new URLSearchParams({
      event_name: event.eventName,
      identifier: stripeIdentifier(usage),
      timestamp: String(Math.floor(usage.at / 1_000))
    })
    for (const [field, value] of Object.entries(event.payload ?? {})) form.set(`payload[${field}]`, value)
    form.set('payload[stripe_customer_id]', event.customer)
    form.set('payload[value]', event.value ?? String(usage.quantity))
    const body = { contentType: 'application/x-www-form-urlencoded', body: form.toString() }
    const posted = await target.post('/v1/billing/meter_events', body, signal)
    if ('failure' in posted) return failed(posted.failure.error, posted.failure.mayBeThere)
    const { answer } = posted
    const failure = target.failureOf(answer)
    if (failure !== undefined) return failed(failure.error, failure.mayBeThere)
    if ((answer.status >= 200 && answer.status < 300) || isDuplicate(answer)) return { outcome: 'accepted' }
    return { outcome: 'refused', reason: reasonOf(answer) }
  }

  const sink: UsageSink = {
    async send(usages, { signal }) {
      const outcomes = usages.map((): SendOutcome => ({ outcome: 'unsent' }))
      /** By customer and meter: Stripe answers 409 to two at the same time. */
      const lanes = new Map<string, { at: number; usage: RecordedUsage; event: StripeMeterEvent }[]>()
      for (const [at, usage] of usages.entries()) {
        if (signal.aborted) break
        const mapped = await mapUsage(name, usage, eventOf)
        if ('ended' in mapped) {
          outcomes[at] = mapped.ended
          continue
        }
        const reason = eventSchema.safeParse(mapped.event).success ? untimely(usage.at) : 'not-a-meter-event'
        if (reason !== undefined) {
          outcomes[at] = { outcome: 'refused', reason }
          continue
        }
        const { event } = mapped
        const lane = JSON.stringify([event.customer, event.eventName])
        lanes.set(lane, [...(lanes.get(lane) ?? []), { at, usage, event }])
      }
      const waiting = [...lanes.values()]
      let isStopped = false
      const worker = async (): Promise<void> => {
        for (let lane = waiting.shift(); lane !== undefined; lane = waiting.shift()) {
          for (const { at, usage, event } of lane) {
            if (signal.aborted || isStopped) return
            const ended = await sendOne(usage, event, signal)
            outcomes[at] = ended
            // A wrong key or a limit is everybody's: the rest would only meet the same.
            isStopped ||= ended.outcome === 'failed' && isEverybodys(ended.error)
          }
        }
      }
      await Promise.all(Array.from({ length: concurrency }, worker))
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
    identifierMs: IDENTIFIER_MS,
    observe,
    platform
  })
}

/** What usage is called at Stripe: 64 characters of the 100 that it takes. */
export function stripeIdentifier({ tenant, subscription, transactionId }: UsageIdentity): string {
  return keyOf('stripe', tenant, subscription, transactionId)
}

interface StripeErrorBody {
  readonly error?: { readonly code?: unknown; readonly type?: unknown; readonly message?: unknown } | null
}

function errorIn({ body }: TargetAnswer): NonNullable<StripeErrorBody['error']> {
  try {
    return (JSON.parse(body) as StripeErrorBody | null)?.error ?? {}
  } catch {
    return {}
  }
}

/** Stripe refuses an identifier that it knows; its v1 gives a code for that in some accounts, and in others words alone. */
function isDuplicate(answer: TargetAnswer): boolean {
  if (answer.status !== 400) return false
  const { code, message } = errorIn(answer)
  if (code === 'duplicate_meter_event') return true
  return typeof message === 'string' && message.startsWith('An event already exists with identifier')
}

/** The code, if it is one: its message may quote a customer. */
function reasonOf(answer: TargetAnswer): string {
  const { code, type } = errorIn(answer)
  const word = [code, type].find((one): one is string => typeof one === 'string' && /^[a-z0-9_]{1,80}$/.test(one))
  return word === undefined ? `http-${answer.status}` : `http-${answer.status} ${word}`
}

function isEverybodys(error: unknown): boolean {
  const { code, detail } = error as { readonly code?: unknown; readonly detail?: { readonly reason?: unknown } }
  return code === 'EXPORT_UNAUTHORIZED' || detail?.reason === 'http-429' || detail?.reason === 'circuit-open'
}
