import type { Clock } from '@enablement/core'

/** How long what was read of a subscription is good: longer, and a payment frees nobody for a while. */
const STANDING_REFRESH_MS = 5_000

/** Subscriptions whose standing is kept, some 20 MB of them. */
const STANDINGS_MAX = 100_000

/** Reads under way: those who are asked for beyond that are read when they are asked for again. */
const READS_MAX = 64

interface Kept {
  restricted: boolean
  /** Monotonic. */
  readAt: number
  reading: boolean
}

/** Whether subscriptions are restricted, answered at once from what was read last. */
export interface Standings {
  /** False until it was read once: a subscription nobody has asked for is not restricted before the store was asked. */
  restricted(tenant: string, subscription: string): boolean
  /** What this process has just learned. */
  learn(tenant: string, subscription: string, restricted: boolean): void
}

export function standingsOf(options: {
  readonly clock: Clock
  readonly read: (tenant: string, subscription: string) => Promise<boolean>
  readonly failed: (tenant: string, error: unknown) => void
}): Standings {
  const { clock, read, failed } = options
  const kept = new Map<string, Kept>()
  let reads = 0
  const keyOf = (tenant: string, subscription: string): string => JSON.stringify([tenant, subscription])

  const keep = (key: string, restricted: boolean): void => {
    kept.delete(key)
    // The one that was read longest ago makes room.
    if (kept.size >= STANDINGS_MAX) kept.delete(kept.keys().next().value as string)
    kept.set(key, { restricted, readAt: clock.monotonic(), reading: false })
  }

  return {
    restricted(tenant, subscription) {
      const key = keyOf(tenant, subscription)
      const found = kept.get(key)
      const due = found === undefined || clock.monotonic() - found.readAt >= STANDING_REFRESH_MS
      if (due && found?.reading !== true && reads < READS_MAX) {
        reads += 1
        if (found === undefined) keep(key, false)
        const entry = kept.get(key) as Kept
        entry.reading = true
        read(tenant, subscription).then(
          (restricted) => {
            reads -= 1
            // Not over what was learned meanwhile.
            if (kept.get(key) === entry) keep(key, restricted)
          },
          (error: unknown) => {
            reads -= 1
            entry.readAt = clock.monotonic()
            entry.reading = false
            failed(tenant, error)
          }
        )
      }
      return found?.restricted ?? false
    },
    learn: (tenant, subscription, restricted) => keep(keyOf(tenant, subscription), restricted)
  }
}
