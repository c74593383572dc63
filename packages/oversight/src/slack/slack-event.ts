import type { VoteAnswer } from '../oversight-calls.ts'
import type { SlackMethod } from './slack-limits.ts'

/** What the Slack channel and its interactivity endpoint tell `observe`. No token, secret, URL or payload is in it. */
export type SlackEvent =
  /** A call had to wait or was given up: for a token of the bucket, or because Slack answered 429. */
  | {
      readonly type: 'slack.limited'
      readonly method: SlackMethod
      readonly by: 'bucket' | 'slack'
      readonly retryAfterMs: number
    }
  /** Slack answered a call with an error, such as `channel_not_found`. */
  | { readonly type: 'slack.refused'; readonly method: SlackMethod; readonly error: string }
  /** A request to the endpoint was turned away before anybody looked at what it wants. */
  | {
      readonly type: 'slack.turned-away'
      readonly because: 'signature' | 'timestamp' | 'replayed' | 'workspace' | 'malformed' | 'too-large'
    }
  /** Somebody used a button or a form that is not for them, or is nobody's approver. Nothing was counted. */
  | {
      readonly type: 'slack.stranger'
      readonly requestId: string
      readonly teamId: string
      readonly userId: string
      readonly because: 'not-mapped' | 'not-theirs'
    }
  /** A vote from Slack was answered. */
  | {
      readonly type: 'slack.voted'
      readonly requestId: string
      readonly approver: string
      readonly decision: 'approve' | 'deny'
      readonly outcome: VoteAnswer['outcome']
    }
  /** A vote was not counted as far as is known, or a form, a note or a message did not get through. */
  | {
      readonly type: 'slack.failed'
      readonly requestId: string
      readonly what: 'vote' | 'form' | 'note'
      readonly error: unknown
    }
