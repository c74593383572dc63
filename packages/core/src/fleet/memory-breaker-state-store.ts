import { z } from 'zod'
import { CoreError } from '../failure/core-error.ts'
import { parseOptions } from '../failure/options.ts'
import { type Platform, systemPlatform } from '../platform.ts'
import { platformSchema } from '../resilience/breaker-options.ts'
import { type BreakerRecord, standingOf, takeStep, UNKNOWN_BREAKER } from './breaker-record.ts'
import { type BreakerStateStore, breakerStateStoreOf } from './breaker-state-store.ts'

export interface MemoryBreakerStateStoreOptions {
  readonly platform?: Platform
  /** Breakers remembered at once, 10,000 unless given. Beyond it closed ones are forgotten, the oldest first. */
  readonly namesMax?: number
}

/** A few MB. Honest use has one name per callee. */
const NAMES_MAX = 10_000

const optionsSchema: z.ZodType<MemoryBreakerStateStoreOptions> = z.strictObject({
  platform: platformSchema.exactOptional(),
  namesMax: z.int().min(1).max(1_000_000).exactOptional()
})

/**
 * Breakers that parts of one process share, for tests and demos: the model that the other stores are held to. Its clock
 * is the platform's wall clock, as theirs is their server's. Throws `INVALID_OPTIONS`; `open` throws `OVERLOADED` when
 * `namesMax` breakers are open.
 */
export function memoryBreakerStateStore(options: MemoryBreakerStateStoreOptions = {}): BreakerStateStore {
  const subject = 'memoryBreakerStateStore'
  const { platform = systemPlatform, namesMax = NAMES_MAX } = parseOptions(optionsSchema, subject, options)
  const { clock } = platform
  const records = new Map<string, BreakerRecord>()

  const makeRoom = (): void => {
    if (records.size < namesMax) return
    for (const [name, { state }] of records) {
      if (state === 'open') continue
      records.delete(name)
      return
    }
    const message = `${records.size} breakers are open in memory, the most it takes`
    throw new CoreError('OVERLOADED', message, {
      what: 'memory breaker state store',
      waiting: records.size,
      limit: namesMax
    })
  }

  return breakerStateStoreOf(
    subject,
    { durable: 'none', shared: false },
    {
      read: async (name) => standingOf(records.get(name) ?? UNKNOWN_BREAKER, clock.now()),
      async take(name, step) {
        const known = records.get(name)
        const before = known ?? UNKNOWN_BREAKER
        const { record, answer } = takeStep(before, step, clock.now())
        if (record === before) return answer
        if (known === undefined) makeRoom()
        // Set anew, so that the map's order is that of use.
        records.delete(name)
        records.set(name, record)
        return answer
      }
    }
  )
}
