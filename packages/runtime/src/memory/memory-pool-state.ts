import { type Clock, systemClock } from '@enablement/core'
import { emptyPoolRecord, exchangeOn, type PoolRecord } from '../pool/pool-record.ts'
import { checkExchange, type PoolStateStore } from '../pool/pool-state-store.ts'

/**
 * Pool state in this process's memory, for the pools of one process: the model that the other stores are held to. Its
 * clock is the monotonic one, so that no jump of the wall clock gives up a member or changes the order. Pools are
 * forgotten with the store.
 */
export function memoryPoolState(options: { readonly clock?: Clock } = {}): PoolStateStore {
  const { clock = systemClock } = options
  const pools = new Map<string, { readonly record: PoolRecord; readonly watchers: Map<string, () => void> }>()

  const poolOf = (name: string) => {
    let pool = pools.get(name)
    if (pool === undefined) {
      pool = { record: emptyPoolRecord(), watchers: new Map() }
      pools.set(name, pool)
    }
    return pool
  }

  return {
    supports: { durable: 'none', shared: false },
    async exchange(name, exchange) {
      const checked = checkExchange('memoryPoolState.exchange', name, exchange)
      const { record, watchers } = poolOf(name)
      // Fences guard what outlives the process, whose monotonic clock does not.
      record.fence = Math.max(record.fence, clock.now() * 1_000)
      const view = exchangeOn(record, checked, Math.floor(clock.monotonic()))
      const concerned = [...record.concerned].filter((member) => member !== checked.member)
      record.concerned.clear()
      for (const member of concerned) watchers.get(member)?.()
      return view
    },
    watch(name, member, onChange) {
      const { watchers } = poolOf(name)
      watchers.set(member, onChange)
      return () => void watchers.delete(member)
    }
  }
}
