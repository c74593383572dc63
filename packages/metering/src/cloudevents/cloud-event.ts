import type { JsonObject, JsonValue } from '@enablement/core'

/**
 * A CloudEvent 1.0 as its JSON format has it, as far as usage takes and gives it. Names of extensions are lower-case
 * letters and digits.
 */
export interface CloudEvent {
  readonly specversion: '1.0'
  /** With the source, what the event is known by. */
  readonly id: string
  /** A URI reference: which gateway, which host. */
  readonly source: string
  /** The metric. */
  readonly type: string
  /** The subscription. */
  readonly subject: string
  /** RFC 3339. */
  readonly time: string
  readonly datacontenttype?: string
  readonly data: JsonObject & { readonly quantity: number }
  readonly [extension: string]: JsonValue | undefined
}
