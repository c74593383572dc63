import { createScriptRunner, type ScriptClient } from '@enablement/core/redis'
import type { DedupStore } from '../dedup/dedup-store.ts'
import { dedupStoreOn, type RedisDedupStoreOptions } from '../redis/redis-dedup-store.ts'

/**
 * `redisDedupStore` with `clock` in place of the server's, so that a test moves the buckets. Keys still expire by the
 * server's clock, so `clock` must show the present or later.
 */
export function redisDedupStoreOnClock(
  client: ScriptClient,
  clock: { now(): number },
  options: RedisDedupStoreOptions = {}
): DedupStore {
  return dedupStoreOn(createScriptRunner(client), options, clock)
}
