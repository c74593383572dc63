import type { BreakerEvent } from '@enablement/core'
import type { EgressRefusal } from './egress.ts'

/** What an operator should hear of. `endpoint` is its host and a hash of its URL: a path may hold a secret. */
export type WebhookEvent =
  | {
      readonly type: 'webhook.delivered'
      readonly endpoint: string
      readonly approver: string
      readonly durationMs: number
    }
  /** An attempt failed; `next` is what follows from it. `reason` is `HTTP_503`, `ECONNREFUSED`, `TIMED_OUT` and the like. */
  | {
      readonly type: 'webhook.failed'
      readonly endpoint: string
      readonly approver: string
      readonly reason: string
      readonly next: 'retry' | 'postponed' | 'unreachable'
    }
  /** Nothing was sent: `endpointOf` knows no endpoint, or a malformed one, or the guard refuses it. Somebody must see to it. */
  | {
      readonly type: 'webhook.refused'
      readonly approver: string
      readonly because: EgressRefusal | 'unknown-endpoint' | 'malformed-endpoint'
    }
  /** It answered 410: take it out of the directory. This process leaves it alone for a day. */
  | {
      readonly type: 'webhook.endpoint-gone'
      readonly endpoint: string
      readonly approver: string
    }
  /** Of a breaker that the channel made itself. */
  | BreakerEvent
