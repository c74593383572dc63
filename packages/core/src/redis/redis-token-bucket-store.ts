import { CoreError } from '../failure/core-error.ts'
import {
  type BucketAnswer,
  checkCancel,
  checkClaim,
  checkPause,
  type TokenBucketStore
} from '../fleet/token-bucket-store.ts'
import { hashTagged } from './hash-tag.ts'
import { defineScript } from './script.ts'
import type { ScriptClient } from './script-client.ts'
import type { ScriptArgument } from './script-parameters.ts'
import { replyList, replyText, type ScriptReply } from './script-reply.ts'
import { createScriptRunner, type ScriptRunner } from './script-runner.ts'
import lua from './token-bucket.lua'

/** Shared token buckets in Redis. */
export interface RedisTokenBucketStore extends TokenBucketStore {
  /**
   * Asks every master whether it would evict keys, which would fill buckets. Call it once at start. Throws
   * `STORE_UNSUITABLE`, `STORE_UNAVAILABLE` and the signal's reason.
   */
  checkServer(options?: { readonly signal?: AbortSignal }): Promise<void>
}

/**
 * Shared token buckets in one Redis or Redis Cluster, through an ioredis `Redis` or `Cluster` that stays the caller's to
 * close. Each call is one script in the bucket's slot, on the server's clock; keys expire by themselves. A failover that
 * loses acknowledged writes gives back what they took: at most the burst, and what came in meanwhile, is given twice.
 *
 * Throws `INVALID_OPTIONS` for a connection without deadlines: see `redisSettings` and `clusterSettings`.
 */
export function redisTokenBucketStore(client: ScriptClient): RedisTokenBucketStore {
  const runner = createScriptRunner(client)
  return { ...tokenBucketStoreOn(runner), checkServer: (options) => runner.checkServer(options) }
}

const script = defineScript({ name: 'bucket.claim', lua, keys: 2 })

/** A pause is no claim, and looks at none; the script has the place for its key all the same. */
const PAUSE_KEY = 'pause'

/** The store on a script runner. `clock` stands in for the server's in tests. */
export function tokenBucketStoreOn(runner: ScriptRunner, clock?: { now(): number }): TokenBucketStore {
  const run = async (
    bucket: string,
    idempotencyKey: string,
    operation: string,
    args: readonly ScriptArgument[]
  ): Promise<readonly ScriptReply[]> => {
    const key = (...parts: string[]): string => hashTagged({ prefix: 'enablement:bucket', tag: bucket, parts })
    const keys = [key('level'), key('claim', idempotencyKey)]
    return replyList(await runner.run(script, keys, [operation, clock?.now() ?? '', ...args]))
  }
  return {
    // What Redis keeps is a matter of its configuration, and by default it keeps nothing.
    supports: { durable: 'none', shared: true },
    async reserve(bucket, claim) {
      const { rule, tokens, waitMaxMs, idempotencyKey } = checkClaim('redisTokenBucketStore.reserve', bucket, claim)
      const numbers = [tokens, waitMaxMs, rule.perSecond, rule.burst].map(String)
      return answerIn(await run(bucket, idempotencyKey, 'reserve', numbers))
    },
    async cancel(bucket, idempotencyKey) {
      checkCancel('redisTokenBucketStore.cancel', bucket, idempotencyKey)
      const [outcome, returned] = await run(bucket, idempotencyKey, 'cancel', [])
      if (outcome !== 'returned') throw unknownOutcome()
      return doubleIn(returned)
    },
    async pause(bucket, given) {
      const { rule, durationMs } = checkPause('redisTokenBucketStore.pause', bucket, given)
      const numbers = ['', durationMs, rule.perSecond, rule.burst].map(String)
      const [outcome] = await run(bucket, PAUSE_KEY, 'pause', numbers)
      if (outcome !== 'paused') throw unknownOutcome()
    }
  }
}

function answerIn([outcome, value]: readonly ScriptReply[]): BucketAnswer {
  switch (outcome) {
    case 'reserved':
      return { outcome, waitMs: doubleIn(value) }
    case 'throttled':
      return { outcome, retryAfterMs: doubleIn(value) }
    case 'exceeds-burst':
      return { outcome, burst: doubleIn(value) }
    case 'cancelled':
      return { outcome }
    default:
      throw unknownOutcome()
  }
}

function doubleIn(reply: ScriptReply | undefined): number {
  const value = Number(replyText(reply))
  if (Number.isFinite(value)) return value
  throw unknownOutcome()
}

function unknownOutcome(): CoreError<'STORE_DAMAGED'> {
  const reason = 'bucket.claim returned an answer that it does not have'
  return new CoreError('STORE_DAMAGED', reason, { store: 'redis', reason })
}
