import type { Clock, Timer } from '@enablement/core'
import type { BoundQuota } from './bound-quota.ts'

/** Quotas that hold a lease at the same time in one process; beyond it `tryConsume` says `ask`. */
export const LEASES_MAX = 100_000

/** Looks at leases so often, as a part of how long they last: half of the margin by which they end early. */
const SWEEP_RATIO = 0.05

/**
 * The quotas that hold leases, so that those are given back in time, and found by whoever binds the same again. Who bound it
 * before that has a lease of their own.
 */
export interface LeaseRegistry {
  readonly size: number
  find(key: string): BoundQuota | undefined
  add(key: string, quota: BoundQuota): void
  remove(key: string, quota: BoundQuota): void
  /** Gives all leases back. */
  close(): Promise<void>
}

export function leaseRegistry(clock: Clock, ttlMs: number): LeaseRegistry {
  const quotas = new Set<BoundQuota>()
  const found = new Map<string, BoundQuota>()
  let timer: Timer | undefined

  const arm = (): void => {
    timer = clock.startTimer(ttlMs * SWEEP_RATIO, sweep, { background: true })
  }
  const sweep = (): void => {
    timer = undefined
    const now = clock.monotonic()
    for (const quota of quotas) quota.units.look(now)
    if (quotas.size > 0) arm()
  }

  return {
    get size() {
      return quotas.size
    },
    find: (key) => found.get(key),
    add(key, quota) {
      quotas.add(quota)
      found.set(key, quota)
      if (timer === undefined) arm()
    },
    remove(key, quota) {
      quotas.delete(quota)
      if (found.get(key) === quota) found.delete(key)
      if (quotas.size > 0) return
      timer?.cancel()
      timer = undefined
    },
    async close() {
      await Promise.all(Array.from(quotas, ({ units }) => units.giveBack()))
      timer?.cancel()
      timer = undefined
    }
  }
}
