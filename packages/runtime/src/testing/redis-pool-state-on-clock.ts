import { createScriptRunner, type ScriptClient } from '@enablement/core/redis'
import type { PoolStateStore } from '../pool/pool-state-store.ts'
import { poolStateOn } from '../redis/redis-pool-state.ts'

/**
 * `redisPoolState` with `clock` in place of the server's, so that a test moves leases. Keys still expire by the server's
 * clock, so `clock` must show the present or later.
 */
export function redisPoolStateOnClock(client: ScriptClient, clock: { now(): number }): PoolStateStore {
  return poolStateOn(createScriptRunner(client), clock)
}
