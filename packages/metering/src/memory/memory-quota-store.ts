import { CoreError, type Platform, parseOptions, systemPlatform } from '@enablement/core'
import { z } from 'zod'
import { forgetCounterAt } from '../quota/counter-afterlife.ts'
import { joined } from '../quota/counter-key.ts'
import { decideExtend, decideHold } from '../quota/hold.ts'
import { EXPIRED_PER_CALL, expire } from '../quota/hold-expiry.ts'
import { forgetHoldAt, type HoldRecord } from '../quota/hold-record.ts'
import { decideSettle } from '../quota/hold-settlement.ts'
import { type ExpiredHold, HOLDS_MAX, type QuotaStore } from '../quota/quota-store.ts'
import { readCounters } from '../quota/reading.ts'
import {
  checkConsume,
  checkEndExpired,
  checkExtend,
  checkHold,
  checkRead,
  checkSettle
} from '../quota/request-checks.ts'
import { decideSpends, type RememberedSpend } from '../quota/spend.ts'
import { WorkingSet } from '../quota/working-set.ts'
import { ForgettingMap } from './forgetting-map.ts'
import { OpenHolds } from './open-holds.ts'

/** Counters, remembered spends or holds, some 100 MB of each: a bound for tests and demos, which is what this store is for. */
const ENTRIES_MAX = 500_000

/** The clock that decides windows, and how much is kept. */
export interface MemoryQuotaStoreOptions {
  readonly platform?: Platform
  /** Counters, remembered spends and holds that it has, of each; beyond it a call throws `OVERLOADED`. 500,000 unless given. */
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
  const counters = new ForgettingMap(forgetCounterAt)
  const spends = new ForgettingMap<RememberedSpend>(({ expiresAt }) => expiresAt)
  const holds = new ForgettingMap(forgetHoldAt)
  const openHolds = new Map<string, OpenHolds>()

  const workingSet = (tenant: string): WorkingSet =>
    new WorkingSet(platform.clock.now(), {
      counter: (key) => counters.get(joined(tenant, key)),
      spend: (key) => spends.get(joined(tenant, key)),
      hold: (key) => holds.get(joined(tenant, key))
    })

  /** Ends up to `limit` holds of the tenant whose time is over. */
  const endOverdue = (tenant: string, set: WorkingSet, limit: number): HoldRecord[] =>
    (openHolds.get(tenant)?.overdue(set.now, limit) ?? []).map((key) => expire(set, key, set.hold(key) as HoldRecord))

  const commit = (tenant: string, set: WorkingSet): void => {
    const within = (key: string): string => joined(tenant, key)
    const open = openHolds.get(tenant) ?? new OpenHolds()
    for (const [map, written] of [
      [counters, set.counters],
      [spends, set.spends],
      [holds, set.holds]
    ] as const) {
      map.forget(set.now, written.size)
      if (written.size > 0) checkRoom(map.size + map.missing([...written.keys()].map(within)), entriesMax)
    }
    const opened = [...set.holds].filter(([key, { end }]) => end === undefined && !open.has(key)).length
    if (opened > 0) checkRoom(open.size + opened, HOLDS_MAX)
    for (const [key, state] of set.counters) counters.set(within(key), state)
    for (const [key, spend] of set.spends) spends.set(within(key), spend)
    for (const [key, record] of set.holds) {
      holds.set(within(key), record)
      open.note(key, record)
    }
    open.lookAgain(set.now)
    if (open.size === 0) openHolds.delete(tenant)
    else openHolds.set(tenant, open)
  }

  /** One synchronous block: nothing can come between what is read and what is written. */
  const step = <Answer>(
    tenant: string,
    signal: AbortSignal | undefined,
    decide: (set: WorkingSet) => Answer
  ): Answer => {
    signal?.throwIfAborted()
    const set = workingSet(tenant)
    endOverdue(tenant, set, EXPIRED_PER_CALL)
    const answer = decide(set)
    commit(tenant, set)
    return answer
  }

  return {
    supports: { durable: 'none', shared: false, pipelined: false },
    async consume(tenant, groups, { signal } = {}) {
      checkConsume(tenant, groups)
      return step(tenant, signal, (set) => decideSpends(set, groups))
    },
    async hold(tenant, request, { signal } = {}) {
      checkHold(tenant, request)
      return step(tenant, signal, (set) => decideHold(set, request))
    },
    async settle(tenant, request, { signal } = {}) {
      checkSettle(tenant, request)
      return step(tenant, signal, (set) => decideSettle(set, request))
    },
    async extend(tenant, request, { signal } = {}) {
      checkExtend(tenant, request)
      return step(tenant, signal, (set) => decideExtend(set, request))
    },
    async read(tenant, charges, { signal } = {}) {
      checkRead(tenant, charges)
      return step(tenant, signal, (set) => readCounters(set, charges))
    },
    async endExpired(limit, { signal } = {}) {
      checkEndExpired(limit)
      signal?.throwIfAborted()
      const ended: ExpiredHold[] = []
      for (const tenant of openHolds.keys()) {
        const set = workingSet(tenant)
        const over = endOverdue(tenant, set, limit - ended.length)
        commit(tenant, set)
        ended.push(...over.map(({ scope, key }) => ({ tenant, scope, key })))
      }
      return ended
    }
  }
}

function checkRoom(wanted: number, limit: number): void {
  if (wanted <= limit) return
  const what = 'the memory quota store'
  const message = `${what} would have ${wanted} entries and takes no more than ${limit}`
  throw new CoreError('OVERLOADED', message, { what, waiting: wanted - 1, limit })
}
