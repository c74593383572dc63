import { CoreError } from '@enablement/core'
import { Temporal } from 'temporal-polyfill'
import { parseUsageEvent } from '../event/parse-usage-event.ts'
import type { UsageEvent } from '../event/usage-event.ts'
import type { CloudEvent } from './cloud-event.ts'

/**
 * A CloudEvent 1.0 of usage, in its JSON format. `source` stands for the reporter where the event names none. Usage that
 * came as a CloudEvent goes out under the id it came with. The tenant stays at home, for the receiver knows the sender.
 *
 * Throws `INVALID_OPTIONS` for what is no usage event, for one with a property `quantity`, which `data` has a place for
 * already, and for a source with a space in it.
 */
export function toCloudEvent(event: UsageEvent, options: { readonly source: string }): CloudEvent {
  const parsed = parseUsageEvent(event)
  if (parsed.outcome === 'rejected') throw refused(parsed.issues)
  const { transactionId, subscription, metric, quantity, at, properties, source = options.source } = parsed.usage
  if (source === '' || /\s/.test(source)) throw refused([{ path: 'source', message: 'must be a URI reference' }])
  if (Object.hasOwn(properties, 'quantity')) {
    throw refused([{ path: 'properties.quantity', message: 'has its place in data taken by the quantity' }])
  }
  const prefix = `${source} `
  return {
    specversion: '1.0',
    id:
      transactionId.startsWith(prefix) && transactionId !== prefix ? transactionId.slice(prefix.length) : transactionId,
    source,
    type: metric,
    subject: subscription,
    time: Temporal.Instant.fromEpochMilliseconds(at).toString(),
    datacontenttype: 'application/json',
    data: { ...properties, quantity }
  }
}

function refused(issues: CoreError<'INVALID_OPTIONS'>['detail']['issues']): CoreError<'INVALID_OPTIONS'> {
  const summary = issues.map(({ path, message }) => `${path}: ${message}`).join('; ')
  return new CoreError('INVALID_OPTIONS', `toCloudEvent refused its event: ${summary}`, {
    subject: 'toCloudEvent',
    issues
  })
}
