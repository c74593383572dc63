import { type Platform, parseOptions } from '@enablement/core'
import {
  type BucketRefusal,
  type BucketRule,
  createSharedTokenBucket,
  type SharedTokenBucketEvent,
  type TokenBucketStore
} from '@enablement/core/fleet'
import { z } from 'zod'
import { functionSchema, objectWith } from './slack-options.ts'

/** The methods of Slack's Web API that are called. */
export const SLACK_METHODS = ['chat.postMessage', 'chat.update', 'conversations.open', 'views.open'] as const

export type SlackMethod = (typeof SLACK_METHODS)[number]

/** A rate limit: one of core's token buckets, shared or not, has this form. */
export interface SlackBucket {
  /** Takes the token for one call, if it is there. */
  take(): { readonly outcome: 'taken' } | BucketRefusal | Promise<{ readonly outcome: 'taken' } | BucketRefusal>
  /** Gives no tokens for a while: Slack answered 429. */
  pause(durationMs: number): void | Promise<void>
}

/** The limits of one app in one workspace, each method by itself, as Slack counts them. */
export type SlackLimits = { readonly [Method in SlackMethod]: SlackBucket }

export interface SlackLimitsOptions {
  /**
   * Names the buckets, the same in every worker: the workspace's team id. Where several apps of one workspace use one
   * store, add the app, `T012AB3C4/approvals`, for Slack counts each by itself. At most 200 characters.
   */
  readonly workspace: string
  /** Where the buckets are: all workers need the same one, or each has the whole rate. */
  readonly store: TokenBucketStore
  /** What a call does when the store does not answer; see `createSharedTokenBucket`. */
  readonly onStoreFailure: 'throw' | 'alone'
  /** Other rates than `SLACK_RATES`. */
  readonly rates?: { readonly [Method in SlackMethod]?: BucketRule }
  readonly platform?: Platform
  readonly observe?: (event: SharedTokenBucketEvent) => void
}

/**
 * Slack's rates: https://docs.slack.dev/apis/web-api/rate-limits. `chat.postMessage` may post once a second to a channel,
 * and has a limit over the workspace that Slack does not tell; one a second over the workspace keeps both. `chat.update`
 * and `conversations.open` are tier 3 (50 a minute), `views.open` is tier 4 (100 a minute). The bursts are ours: Slack
 * tolerates some, and promises none for messages.
 */
export const SLACK_RATES: { readonly [Method in SlackMethod]: BucketRule } = {
  'chat.postMessage': { perSecond: 1, burst: 1 },
  'chat.update': { perSecond: 50 / 60, burst: 5 },
  'conversations.open': { perSecond: 50 / 60, burst: 5 },
  'views.open': { perSecond: 100 / 60, burst: 10 }
}

const ruleSchema = z.strictObject({ perSecond: z.number(), burst: z.number() })

const optionsSchema: z.ZodType<SlackLimitsOptions> = z.strictObject({
  workspace: z.string().min(1).max(200),
  store: objectWith<TokenBucketStore>('a token bucket store', 'reserve', 'pause'),
  onStoreFailure: z.enum(['throw', 'alone']),
  rates: z
    .strictObject({
      'chat.postMessage': ruleSchema.exactOptional(),
      'chat.update': ruleSchema.exactOptional(),
      'conversations.open': ruleSchema.exactOptional(),
      'views.open': ruleSchema.exactOptional()
    })
    .exactOptional(),
  platform: objectWith<Platform>('a platform', 'clock', 'random').exactOptional(),
  observe: functionSchema<(event: SharedTokenBucketEvent) => void>().exactOptional()
})

/**
 * The limits of a workspace in a store that workers share, so that they hold over all of them together and a `Retry-After`
 * that one is given stops all. Throws `INVALID_OPTIONS` (core).
 */
export function slackLimits(options: SlackLimitsOptions): SlackLimits {
  const { workspace, rates, ...shared } = parseOptions(optionsSchema, 'slackLimits', options)
  const bucket = (method: SlackMethod): SlackBucket =>
    createSharedTokenBucket({
      ...shared,
      ...SLACK_RATES[method],
      ...rates?.[method],
      name: `slack:${workspace}:${method}`
    })
  return {
    'chat.postMessage': bucket('chat.postMessage'),
    'chat.update': bucket('chat.update'),
    'conversations.open': bucket('conversations.open'),
    'views.open': bucket('views.open')
  }
}
