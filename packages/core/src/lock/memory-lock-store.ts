import { z } from 'zod'
import { CoreError } from '../failure/core-error.ts'
import { parseOptions } from '../failure/options.ts'
import { type Platform, systemPlatform } from '../platform.ts'
import { checkClaim, checkOwned, fenceAfter, type LockStore } from './lock-store.ts'

export interface MemoryLockStoreOptions {
  readonly platform?: Platform
  /** Names remembered at once, 10,000 unless given. Beyond it those that nobody holds are forgotten, the oldest first. */
  readonly namesMax?: number
}

interface Lease {
  readonly owner: string
  readonly fence: number
  /** Epoch milliseconds; 0 once released. */
  readonly expiresAt: number
}

/** A few MB. Honest use has one name per thing that is worked on at the moment. */
const NAMES_MAX = 10_000

const optionsSchema: z.ZodType<MemoryLockStoreOptions> = z.strictObject({
  platform: z.custom<Platform>((value) => typeof value === 'object' && value !== null).exactOptional(),
  namesMax: z.int().min(1).max(1_000_000).exactOptional()
})

/**
 * Locks of one process, for tests and demos: the model that the other stores are held to. Its clock is the platform's
 * wall clock, as theirs is their server's. Throws `INVALID_OPTIONS`; `acquire` throws `OVERLOADED` when `namesMax` names
 * are held.
 */
export function memoryLockStore(options: MemoryLockStoreOptions = {}): LockStore {
  const { platform = systemPlatform, namesMax = NAMES_MAX } = parseOptions(optionsSchema, 'memoryLockStore', options)
  const { clock } = platform
  const leases = new Map<string, Lease>()
  /** The highest fence among forgotten names, above which every name that is not known begins. */
  let forgottenFence = 0

  const makeRoom = (now: number): void => {
    if (leases.size < namesMax) return
    for (const [name, { fence, expiresAt }] of leases) {
      if (expiresAt > now) continue
      leases.delete(name)
      forgottenFence = Math.max(forgottenFence, fence)
      return
    }
    throw new CoreError('OVERLOADED', `${leases.size} locks are held in memory, the most it takes`, {
      what: 'memory lock store',
      waiting: leases.size,
      limit: namesMax
    })
  }

  return {
    supports: { durable: 'none', shared: false },
    async acquire(claim, { signal } = {}) {
      signal?.throwIfAborted()
      const { name, owner, ttlMs } = checkClaim('memoryLockStore.acquire', claim)
      const now = clock.now()
      const last = leases.get(name)
      const lasts = last !== undefined && last.expiresAt > now
      if (lasts && last.owner !== owner) {
        return { outcome: 'busy', until: last.expiresAt, remainingMs: last.expiresAt - now }
      }
      if (last === undefined) makeRoom(now)
      const fence = lasts ? last.fence : fenceAfter(last?.fence ?? forgottenFence, now)
      const expiresAt = Math.max(now + ttlMs, lasts ? last.expiresAt : 0)
      // Set anew, so that the map's order is that of use.
      leases.delete(name)
      leases.set(name, { owner, fence, expiresAt })
      return { outcome: 'granted', fence }
    },
    async extend(claim) {
      const { name, owner, ttlMs } = checkClaim('memoryLockStore.extend', claim)
      const now = clock.now()
      const last = leases.get(name)
      if (last === undefined || last.owner !== owner || last.expiresAt <= now) return 'lost'
      leases.set(name, { ...last, expiresAt: Math.max(last.expiresAt, now + ttlMs) })
      return 'extended'
    },
    async release(owned) {
      const { name, owner } = checkOwned('memoryLockStore.release', owned)
      const last = leases.get(name)
      if (last?.owner !== owner) return 'lost'
      leases.set(name, { ...last, expiresAt: 0 })
      return 'released'
    }
  }
}
