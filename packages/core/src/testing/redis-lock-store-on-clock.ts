import type { LockStore } from '../lock/lock-store.ts'
import { lockStoreOn } from '../redis/redis-lock-store.ts'
import type { ScriptClient } from '../redis/script-client.ts'
import { createScriptRunner } from '../redis/script-runner.ts'

/**
 * `redisLockStore` with `clock` in place of the server's, so that a test moves the expiry of leases; without one it is
 * the server's that counts. Keys still expire by the latter, so `clock` must show the present or later.
 */
export function redisLockStoreOnClock(client: ScriptClient, clock?: { now(): number }): LockStore {
  return lockStoreOn(createScriptRunner(client), clock)
}
