import type { ScriptClient } from '@enablement/core/redis'
import type { QuotaStore } from '../quota/quota-store.ts'
import { type RedisQuotaStoreOptions, redisQuotaStoreWith } from '../redis/redis-quota-store.ts'

/**
 * `redisQuotaStore` with `clock` in place of the server's, so that a test moves the windows. Keys still expire by the
 * server's clock, so `clock` must show the present or later.
 */
export function redisQuotaStoreOnClock(
  client: ScriptClient,
  clock: { now(): number },
  options: RedisQuotaStoreOptions = { durability: 'fast' }
): QuotaStore {
  return redisQuotaStoreWith(client, options, clock)
}
