import type { Issue } from '@enablement/core'
import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js'
import { Temporal } from 'temporal-polyfill'
import { fitsInBytes, IDENTIFIER_LENGTH_MAX } from '../event/identifier.ts'
import { parseUsageEvent } from '../event/parse-usage-event.ts'
import type { UsageEvent } from '../event/usage-event.ts'

/** Whose usage it is, and what it is known by. */
export interface FromCloudEventOptions {
  /** From whoever authenticated the sender: an event must not choose whom it is charged to. */
  readonly tenant: string
  /**
   * `source-and-id`, unless given, as CloudEvents has it: two sources may use one id. `id` for senders of one name space,
   * which may report the same use from several sources: it is then counted once.
   */
  readonly identity?: 'source-and-id' | 'id'
}

/** Whether a CloudEvent is usage. */
export type FromCloudEvent =
  | { readonly outcome: 'accepted'; readonly usage: UsageEvent }
  /** Paths are those of the CloudEvent: `data.quantity`. */
  | { readonly outcome: 'rejected'; readonly issues: readonly Issue[] }

/** Characters of a time of RFC 3339 with all digits that anybody gives. */
const TIME_LENGTH_MAX = 64

/** RFC 3339 §5.6. A leap second counts as the one before it, as in Unix time. */
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/i

/** The names of the event's fields in a CloudEvent. */
const PATHS: Readonly<Record<string, string>> = {
  tenant: 'tenant',
  subscription: 'subject',
  transactionId: 'id',
  source: 'source',
  metric: 'type',
  quantity: 'data.quantity',
  at: 'time',
  properties: 'data'
}

/**
 * Usage out of a CloudEvent 1.0 in its JSON format, whatever it is; never throws. `id` and `source` are the identity,
 * `subject` is the subscription, `type` the metric, `time` the time of use to the millisecond, `data.quantity` the
 * quantity, and what else is in `data` the properties. Other attributes and extensions are left out: traces and
 * sequence numbers differ from one attempt to the next, and a repetition must not look like a contradiction.
 */
export function fromCloudEvent(input: unknown, options: FromCloudEventOptions): FromCloudEvent {
  try {
    return converted(input, options)
  } catch {
    // A getter or a proxy threw.
    return rejected('', 'cannot be read: its attributes throw or change')
  }
}

function converted(input: unknown, { tenant, identity = 'source-and-id' }: FromCloudEventOptions): FromCloudEvent {
  if (typeof input !== 'object' || input === null || Array.isArray(input)) return rejected('', 'must be a CloudEvent')
  const { specversion, id, source, type, subject, time, data, data_base64: base64 } = input as Record<string, unknown>
  if (specversion !== '1.0') return rejected('specversion', 'must be 1.0')
  // Without one the time would be that of the receipt, another one at each attempt.
  if (time === undefined || time === null) return rejected('time', 'must be given: it is the time of use')
  const at = instantOf(time)
  if (at === undefined) return rejected('time', 'must be a time of RFC 3339')
  if (base64 !== undefined && base64 !== null) return rejected('data_base64', 'must be JSON, in data')
  if (typeof data !== 'object' || data === null || Array.isArray(data)) return rejected('data', 'must be a JSON object')
  if (typeof id !== 'string' || id === '') return rejected('id', 'must be text')
  if (typeof source !== 'string' || source === '' || /\s/.test(source))
    return rejected('source', 'must be a URI reference')
  const { quantity, ...properties } = data as Record<string, unknown>
  const parsed = parseUsageEvent({
    tenant,
    subscription: subject,
    transactionId: identity === 'id' ? id : transactionIdOf(source, id),
    metric: type,
    quantity,
    at,
    source,
    properties
  })
  if (parsed.outcome === 'accepted') return { outcome: 'accepted', usage: parsed.usage }
  return {
    outcome: 'rejected',
    issues: parsed.issues.map((issue) => ({ ...issue, path: PATHS[issue.path] ?? issue.path }))
  }
}

/**
 * Source and id as one: a URI reference has no space in it, so the first one parts the two, whatever the id is. What is
 * too long for an identifier is named by its SHA-256, which has no space and so is no such pair.
 */
function transactionIdOf(source: string, id: string): string {
  const joined = `${source} ${id}`
  const fits = joined.length <= IDENTIFIER_LENGTH_MAX && fitsInBytes(joined)
  return fits ? joined : `sha256:${bytesToHex(sha256(utf8ToBytes(joined)))}`
}

function instantOf(time: unknown): number | undefined {
  if (typeof time !== 'string' || time.length > TIME_LENGTH_MAX || !TIME.test(time)) return undefined
  try {
    // RFC 3339 has more digits than Temporal takes; a millisecond is what counts.
    const text = time.toUpperCase().replace(/(\.\d{9})\d+/, '$1')
    return Temporal.Instant.from(text).epochMilliseconds
  } catch {
    return undefined
  }
}

function rejected(path: string, message: string): FromCloudEvent {
  return { outcome: 'rejected', issues: [{ path, message }] }
}
