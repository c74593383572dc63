import { type Issue, isSuiteError, parseOptions } from '@enablement/core'
import { z } from 'zod'
import type { BatchOutcome } from '../event/record-outcome.ts'
import type { UsageEvent } from '../event/usage-event.ts'
import type { Meter } from '../meter.ts'
import { type FromCloudEventOptions, fromCloudEvent } from './from-cloud-event.ts'
import { readHttpMessage } from './http-message.ts'

/** Where usage that comes over HTTP goes. */
export interface CloudEventsHandlerOptions {
  readonly meter: Pick<Meter, 'recordBatch'>
  /** Authenticates the request and says whose it is; undefined answers 401. What it throws, the handler throws. */
  readonly tenantOf: (request: Request) => string | undefined | Promise<string | undefined>
  /** As of `fromCloudEvent`: `source-and-id` unless given. */
  readonly identity?: FromCloudEventOptions['identity']
  /** 1 MiB unless given, up to 64 MiB; a longer body is refused with 413. */
  readonly bodyMaxBytes?: number
  /** Events of a batch: 1,000 unless given, up to 10,000. */
  readonly eventsMax?: number
}

/** Answers requests that bring CloudEvents. */
export type CloudEventsHandler = (request: Request) => Promise<Response>

const optionsSchema: z.ZodType<CloudEventsHandlerOptions> = z.strictObject({
  meter: z.custom<Pick<Meter, 'recordBatch'>>(
    (value) => typeof (value as Partial<Meter> | null)?.recordBatch === 'function',
    'must be a meter'
  ),
  tenantOf: z.custom<CloudEventsHandlerOptions['tenantOf']>(
    (value) => typeof value === 'function',
    'must be a function'
  ),
  identity: z.enum(['source-and-id', 'id']).exactOptional(),
  bodyMaxBytes: z.int().min(1).max(67_108_864).exactOptional(),
  eventsMax: z.int().min(1).max(10_000).exactOptional()
})

const BODY_MAX_BYTES = 1_048_576
const EVENTS_MAX = 1_000

/** What the sender is told of an event. Which store failed and how is not theirs to know. */
type Answer =
  | { readonly outcome: BatchOutcome['outcome'] }
  | { readonly outcome: 'rejected'; readonly issues: readonly Issue[] }

/**
 * A fetch-style handler for CloudEvents 1.0 over HTTP in structured, binary and batched mode, as JSON. Answers
 * `{ outcomes }`, one for each event in order:
 *
 * - 200: each is stored, now or before, or held in the journal. Do not send them again.
 * - 400: none can be read. 422: some are rejected or contradict what was stored; the others are stored.
 * - 503 with `retry-after`: of some it is not known. Send the message again: nothing is counted twice.
 * - 401, 405, 413, 415.
 *
 * Throws `INVALID_OPTIONS`.
 */
export function cloudEventsHandler(options: CloudEventsHandlerOptions): CloudEventsHandler {
  const parsed = parseOptions(optionsSchema, 'cloudEventsHandler', options)
  const { meter, tenantOf, identity, bodyMaxBytes = BODY_MAX_BYTES, eventsMax = EVENTS_MAX } = parsed
  return async (request) => {
    if (request.method !== 'POST') return respond(405, { issues: [issueOf('must be a POST')] }, { allow: 'POST' })
    const tenant = await tenantOf(request)
    if (tenant === undefined) return respond(401, { issues: [issueOf('is not authenticated')] })
    const message = await readHttpMessage(request, { bodyMaxBytes, eventsMax })
    if (message.outcome === 'rejected') return respond(message.status, { issues: message.issues })

    const answers = Array.from<Answer>({ length: message.events.length })
    const usages: UsageEvent[] = []
    const places: number[] = []
    for (const [at, event] of message.events.entries()) {
      const read = fromCloudEvent(event, identity === undefined ? { tenant } : { tenant, identity })
      if (read.outcome === 'rejected') answers[at] = read
      else {
        usages.push(read.usage)
        places.push(at)
      }
    }
    try {
      const outcomes = await meter.recordBatch(usages)
      for (const [index, at] of places.entries()) answers[at] = answerOf(outcomes[index] as BatchOutcome)
    } catch (error) {
      // Closed, or a bug: only the first is an answer.
      if (!isSuiteError(error, 'CLOSED')) throw error
      for (const at of places) answers[at] = { outcome: 'unknown' }
    }
    return respond(statusOf(answers), { outcomes: answers }, answers.some(isOpen) ? { 'retry-after': '1' } : {})
  }
}

function answerOf(outcome: BatchOutcome): Answer {
  return outcome.outcome === 'rejected' ? outcome : { outcome: outcome.outcome }
}

const isOpen = ({ outcome }: Answer): boolean => outcome === 'unknown' || outcome === 'refused'
const isWrong = ({ outcome }: Answer): boolean => outcome === 'rejected' || outcome === 'conflict'

function statusOf(answers: readonly Answer[]): number {
  if (answers.some(isOpen)) return 503
  return answers.some(isWrong) ? 422 : 200
}

const issueOf = (message: string): Issue => ({ path: '', message })

function respond(status: number, body: object, headers: Readonly<Record<string, string>> = {}): Response {
  return Response.json(body, { status, headers })
}
