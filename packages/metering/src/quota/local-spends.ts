import type { Clock } from '@enablement/core'

/** Keys remembered here. When it is full, spends with a key are not made from leases. */
const LOCAL_SPENDS_MAX = 100_000

interface LocalSpend {
  readonly amount: number
  /** Monotonic. */
  readonly until: number
}

/**
 * Keys under which leased units were spent while the store failed: it does not know them, so that this process must, or a
 * retry would spend a second time. A retry that reaches another process is not found.
 */
export interface LocalSpends {
  readonly size: number
  /** The amount that was spent under the key. */
  find(tenant: string, scope: string, key: string): number | undefined
  /** Whether there is room for one more. */
  mayAdd(): boolean
  add(tenant: string, scope: string, key: string, amount: number): void
}

export function localSpends(clock: Clock, idempotencyMs: number): LocalSpends {
  const spends = new Map<string, LocalSpend>()
  // No part of it can hold a line break, so that no two names are alike.
  const nameOf = (tenant: string, scope: string, key: string): string => `${tenant}\n${scope}\n${key}`

  return {
    get size() {
      return spends.size
    },
    find(tenant, scope, key) {
      const found = spends.get(nameOf(tenant, scope, key))
      return found === undefined || clock.monotonic() >= found.until ? undefined : found.amount
    },
    mayAdd() {
      const now = clock.monotonic()
      // All are remembered equally long, so the order of insertion is that of expiry.
      for (const [name, { until }] of spends) {
        if (now < until) break
        spends.delete(name)
      }
      return spends.size < LOCAL_SPENDS_MAX
    },
    add(tenant, scope, key, amount) {
      const name = nameOf(tenant, scope, key)
      spends.delete(name)
      spends.set(name, { amount, until: clock.monotonic() + idempotencyMs })
    }
  }
}
