import type { Clock } from '@enablement/core'
import { emptyPoolRecord, exchangeOn } from './pool-record.ts'
import type { PoolStateStore } from './pool-state-store.ts'

/** The state of a pool that is one process's own. On the monotonic clock: no jump of the wall clock changes the order. */
export function ownPoolState(clock: Clock): PoolStateStore {
  const record = emptyPoolRecord()
  return {
    supports: { durable: 'none', shared: false },
    async exchange(_pool, exchange) {
      // Fences guard what outlives the process, whose monotonic clock does not.
      record.fence = Math.max(record.fence, clock.now() * 1_000)
      return exchangeOn(record, exchange, Math.floor(clock.monotonic()))
    }
  }
}
