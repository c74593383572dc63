import { CoreError } from '@enablement/core'
import {
  createScriptRunner,
  defineScript,
  hashTagged,
  replyInteger,
  replyList,
  replyText,
  type ScriptClient,
  type ScriptReply,
  type ScriptRunner
} from '@enablement/core/redis'
import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js'
import type { Period } from '../quota/period.ts'
import type { QuotaAnswer, QuotaSpend, QuotaStore } from '../quota/quota-store.ts'
import lua from './consume.lua'

/** Quotas in Redis. */
export interface RedisQuotaStore extends QuotaStore {
  /**
   * Asks every master whether it would evict keys, which would hand a quota out again. Call it once at start. Throws
   * `STORE_UNSUITABLE`, `STORE_UNAVAILABLE` and the signal's reason.
   */
  checkServer(options?: { readonly signal?: AbortSignal }): Promise<void>
}

/**
 * Quotas in Redis or Redis Cluster, through an ioredis `Redis` or `Cluster` that stays the caller's to close. Each spend
 * is one script call in the tenant's slot; windows follow the server's clock. Nothing is oversold while Redis keeps the
 * writes that it acknowledged; a failover that loses some hands those units out again.
 *
 * Throws `INVALID_OPTIONS` for a connection without deadlines: see core's `redisSettings` and `clusterSettings`.
 */
export function redisQuotaStore(client: ScriptClient): RedisQuotaStore {
  const runner = createScriptRunner(client)
  return { ...quotaStoreOn(runner), checkServer: (options) => runner.checkServer(options) }
}

const script = defineScript({ name: 'metering.consume', lua, keys: 2 })

/** The store on a script runner. `clock` stands in for the server's in tests. */
export function quotaStoreOn(runner: ScriptRunner, clock?: { now(): number }): QuotaStore {
  return {
    // What Redis keeps is a matter of its configuration, and by default it keeps nothing.
    supports: { durable: 'none', shared: true },
    async consume(spend, { signal } = {}) {
      signal?.throwIfAborted()
      const { amount, quantity, period, idempotencyMs } = spend
      const args = [amount, quantity, periodArgument(period), idempotencyMs, clock?.now() ?? '']
      return answerOf(await runner.run(script, keysOf(spend), args))
    }
  }
}

/** The idempotency key goes in by its hash: it comes from outside, and a key of any length must fit a Redis key. */
function keysOf({ tenant, limit, subject, idempotencyKey }: QuotaSpend): [string, string] {
  // The tenant's own counter and a subject's differ in the number of parts, so no subject can be taken for the tenant.
  const counter = subject === undefined ? [limit] : [limit, subject]
  const spend = bytesToHex(sha256(utf8ToBytes(idempotencyKey)))
  return [
    hashTagged({ prefix: 'enablement:quota', tag: tenant, parts: counter }),
    hashTagged({ prefix: 'enablement:quota-spend', tag: tenant, parts: [...counter, spend] })
  ]
}

function periodArgument(period: Period): string | number {
  return typeof period === 'string' ? period : period.everyMs
}

function answerOf(reply: ScriptReply): QuotaAnswer {
  const [outcome, first, resets, replayed] = replyList(reply)
  if (outcome === 'conflict') return { outcome, firstAmount: replyInteger(first) }
  const resetsAt = resets === '' ? null : replyInteger(resets)
  if (outcome === 'refused') return { outcome, remaining: replyInteger(first), resetsAt }
  if (outcome === 'consumed') {
    return { outcome, remaining: replyInteger(first), resetsAt, replayed: replyText(replayed) === '1' }
  }
  const reason = 'metering.consume returned an outcome that it does not have'
  throw new CoreError('STORE_DAMAGED', reason, { store: 'redis', reason })
}
