import type { BreakerStateStore } from '../../fleet/breaker-state-store.ts'
import type { TokenBucketStore } from '../../fleet/token-bucket-store.ts'
import { breakerStateStoreOn } from '../../redis/redis-breaker-state-store.ts'
import { tokenBucketStoreOn } from '../../redis/redis-token-bucket-store.ts'
import type { ScriptClient } from '../../redis/script-client.ts'
import { createScriptRunner } from '../../redis/script-runner.ts'

/**
 * `redisBreakerStateStore` with `clock` in place of the server's; without one it is the server's that counts. Keys still
 * expire by the latter, so `clock` must show the present or later.
 */
export function redisBreakerStateStoreOnClock(client: ScriptClient, clock?: { now(): number }): BreakerStateStore {
  return breakerStateStoreOn(createScriptRunner(client), clock)
}

/** As `redisBreakerStateStoreOnClock`, for `redisTokenBucketStore`. */
export function redisTokenBucketStoreOnClock(client: ScriptClient, clock?: { now(): number }): TokenBucketStore {
  return tokenBucketStoreOn(createScriptRunner(client), clock)
}
