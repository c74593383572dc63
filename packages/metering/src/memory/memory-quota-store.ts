import { CoreError, type Platform, parseOptions, systemPlatform } from '@enablement/core'
import { z } from 'zod'
import type { QuotaStore } from '../quota/quota-store.ts'
import { decideSpend, type QuotaCounter, type RememberedSpend } from '../quota/spend.ts'

/** Counters or remembered spends, some 100 MB of them: a bound for tests and demos, which is what this store is for. */
const ENTRIES_MAX = 500_000

/** Remembered spends looked at for expiry in each call: two go for each one that comes, so the map shrinks by itself. */
const EXPIRED_PER_CALL = 2

/** The clock that decides windows. */
export interface MemoryQuotaStoreOptions {
  readonly platform?: Platform
  /** Counters and remembered spends it holds, each; beyond it `consume` throws `OVERLOADED`. 500,000 unless given. */
  readonly entriesMax?: number
}

const optionsSchema: z.ZodType<MemoryQuotaStoreOptions> = z.strictObject({
  platform: z.custom<Platform>((value) => typeof value === 'object' && value !== null).exactOptional(),
  entriesMax: z.number().int().min(1).exactOptional()
})

/**
 * Quotas in this process's memory, for tests and demos: they end with it, and no other process sees them. Throws
 * `INVALID_OPTIONS`.
 */
export function memoryQuotaStore(options: MemoryQuotaStoreOptions = {}): QuotaStore {
  const { platform = systemPlatform, entriesMax = ENTRIES_MAX } = parseOptions(
    optionsSchema,
    'memoryQuotaStore',
    options
  )
  const counters = new Map<string, QuotaCounter>()
  const remembered = new Map<string, RememberedSpend>()

  /** A map keeps the order of insertion, which is the order of expiry as long as all spends are remembered equally long. */
  const forgetExpired = (now: number): void => {
    let looked = 0
    for (const [key, { expiresAt }] of remembered) {
      if (looked === EXPIRED_PER_CALL || now < expiresAt) return
      remembered.delete(key)
      looked += 1
    }
  }

  return {
    supports: { durable: 'none', shared: false },
    // One synchronous block: nothing can come between the check and the spend.
    async consume(spend, { signal } = {}) {
      signal?.throwIfAborted()
      const { tenant, limit, subject = null, idempotencyKey } = spend
      const now = platform.clock.now()
      const counterKey = JSON.stringify([tenant, limit, subject])
      const spendKey = JSON.stringify([tenant, limit, subject, idempotencyKey])
      forgetExpired(now)
      const { answer, write } = decideSpend(spend, now, counters.get(counterKey), remembered.get(spendKey))
      if (write !== undefined) {
        const held = Math.max(
          counters.has(counterKey) ? 0 : counters.size,
          remembered.has(spendKey) ? 0 : remembered.size
        )
        if (held >= entriesMax) throw overloaded(held, entriesMax)
        counters.set(counterKey, write.counter)
        // An expired spend leaves its old place in the order.
        remembered.delete(spendKey)
        remembered.set(spendKey, write.remembered)
      }
      return answer
    }
  }
}

function overloaded(held: number, limit: number): CoreError<'OVERLOADED'> {
  const what = 'the memory quota store'
  return new CoreError('OVERLOADED', `${what} holds ${held} entries and takes no more`, { what, waiting: held, limit })
}
