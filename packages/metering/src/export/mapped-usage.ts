import { MeteringError } from '../metering-error.ts'
import type { RecordedUsage } from '../usage/usage-feed.ts'
import { failed, type SendOutcome } from './usage-sink.ts'

/** An event as its target is to have it, or what became of it before it was sent. */
export type Mapped<Event> = { readonly event: Event } | { readonly ended: SendOutcome }

/**
 * Asks the user's mapping. Undefined means that the event is not for the target; what it throws is taken for a database
 * that does not answer, and the event is sent later.
 */
export async function mapUsage<Event>(
  target: string,
  usage: RecordedUsage,
  eventOf: (usage: RecordedUsage) => Event | undefined | Promise<Event | undefined>
): Promise<Mapped<Event>> {
  try {
    const event = await eventOf(usage)
    return event === undefined ? { ended: { outcome: 'skipped' } } : { event }
  } catch (cause) {
    const message = `${target} was not sent usage: its mapping failed`
    const detail = { target, reason: 'mapping-failed', retryAfterMs: undefined }
    return { ended: failed(new MeteringError('EXPORT_FAILED', message, detail, { cause }), false) }
  }
}
