import type { CounterState } from './counter.ts'
import type { HoldRecord } from './hold-record.ts'
import type { RememberedSpend } from './spend.ts'

/** What a store has of a tenant: counters by limit and path, spends and holds by scope and key, as `joined` makes them. */
interface StoredQuotas {
  counter(key: string): CounterState | undefined
  spend(key: string): RememberedSpend | undefined
  hold(key: string): HoldRecord | undefined
}

/**
 * What a call works on: what its store has read, and what it writes. The steps know nothing else, so a step that throws or
 * refuses has changed nothing. `now` is the store's clock, epoch milliseconds, the same throughout a call.
 */
export class WorkingSet implements StoredQuotas {
  readonly now: number
  readonly counters = new Map<string, CounterState>()
  readonly spends = new Map<string, RememberedSpend>()
  readonly holds = new Map<string, HoldRecord>()
  readonly #stored: StoredQuotas

  constructor(now: number, stored: StoredQuotas) {
    this.now = now
    this.#stored = stored
  }

  counter(key: string): CounterState | undefined {
    return this.counters.get(key) ?? this.#stored.counter(key)
  }

  spend(key: string): RememberedSpend | undefined {
    return this.spends.get(key) ?? this.#stored.spend(key)
  }

  hold(key: string): HoldRecord | undefined {
    return this.holds.get(key) ?? this.#stored.hold(key)
  }
}
