import type { Family } from './name-server.ts'

/** How long what was learned is kept. Durations in milliseconds. */
export interface CacheRules {
  /** Names remembered; the one used least recently makes room. */
  readonly namesMax: number
  /** No answer is fresh for longer, whatever it says. */
  readonly ttlMaxMs: number
  /** How long past its time an answer may be served while all name servers fail. */
  readonly staleMaxMs: number
  /** How long a name that does not exist is taken not to exist. */
  readonly missingMs: number
  /** Whether answers with a TTL of zero may be served stale. */
  readonly staleZeroTtl: boolean
}

interface Slot {
  readonly addresses: readonly string[]
  readonly expiresAt: number
  /** Served stale before this instant. At `expiresAt` for an answer that must be used once. */
  readonly staleUntil: number
  /** The name counts as one that exists before this instant. */
  readonly knownUntil: number
}

interface Entry {
  readonly slots: Map<Family, Slot>
  /** Families that had nothing, or failed, when the other had addresses: not waited for until then. */
  readonly quietUntil: Map<Family, number>
  missingUntil: number
  /** All name servers failed: until then they are not asked again, if there is something else to serve. */
  restUntil: number
}

/** Addresses from before, past their time. */
export interface StaleAddresses {
  readonly addresses: readonly string[]
  readonly expiredForMs: number
}

/** Addresses within their time. */
export interface FreshAddresses {
  readonly addresses: readonly string[]
  readonly ttlMs: number
}

/**
 * What is known of names. Holds no clock: `now` is monotonic milliseconds, so that a wall clock that jumps makes nothing
 * fresh or stale. All intervals are half-open: an answer with a TTL of 5 s is fresh at 4,999 ms and not at 5,000.
 */
export class NameCache {
  readonly #rules: CacheRules
  /** In the order of use, the least recent first. */
  readonly #entries = new Map<string, Entry>()

  constructor(rules: CacheRules) {
    this.#rules = rules
  }

  get size(): number {
    return this.#entries.size
  }

  /** What can be answered without asking: every family asked for is fresh, or quiet beside a fresh one. */
  fresh(name: string, families: readonly Family[], now: number): FreshAddresses | undefined {
    const entry = this.#used(name)
    if (entry === undefined) return undefined
    const found = families.flatMap((family) => freshSlot(entry, family, now) ?? [])
    if (found.length === 0) return undefined
    const covered = families.every(
      (family) => freshSlot(entry, family, now) !== undefined || (entry.quietUntil.get(family) ?? 0) > now
    )
    if (!covered) return undefined
    return {
      addresses: found.flatMap((slot) => slot.addresses),
      ttlMs: Math.min(...found.map((slot) => slot.expiresAt - now))
    }
  }

  /** What may be served while all name servers fail, fresh or not. */
  stale(name: string, families: readonly Family[], now: number): StaleAddresses | undefined {
    const slots = families.flatMap((family) => this.#entries.get(name)?.slots.get(family) ?? [])
    const found = slots.filter((slot) => now < slot.staleUntil)
    if (found.length === 0) return undefined
    return {
      addresses: found.flatMap((slot) => slot.addresses),
      expiredForMs: Math.max(0, ...found.map((slot) => now - slot.expiresAt))
    }
  }

  /** Whether the name had addresses of this family not long ago: one server that denies it is then mistaken. */
  isKnownGood(name: string, family: Family, now: number): boolean {
    return (this.#entries.get(name)?.slots.get(family)?.knownUntil ?? 0) > now
  }

  /** Whether all that were asked said, just now, that there is no such name. */
  isMissing(name: string, now: number): boolean {
    return (this.#entries.get(name)?.missingUntil ?? 0) > now
  }

  /** Whether all name servers failed for this name just now. */
  isResting(name: string, now: number): boolean {
    return (this.#entries.get(name)?.restUntil ?? 0) > now
  }

  /**
   * Takes in an answer and returns how long it is fresh, which is 0 for a TTL of zero: an answer to be used once. Any other
   * TTL counts from a second up to the bound.
   */
  store(name: string, family: Family, addresses: readonly string[], ttlSeconds: number, now: number): number {
    const { ttlMaxMs, staleMaxMs, staleZeroTtl } = this.#rules
    const ttlMs = ttlSeconds === 0 ? 0 : Math.min(Math.max(ttlSeconds, 1) * 1_000, ttlMaxMs)
    const expiresAt = now + ttlMs
    const entry = this.#made(name)
    entry.slots.set(family, {
      addresses,
      expiresAt,
      staleUntil: ttlMs === 0 && !staleZeroTtl ? expiresAt : expiresAt + staleMaxMs,
      knownUntil: expiresAt + staleMaxMs
    })
    entry.quietUntil.delete(family)
    entry.missingUntil = 0
    entry.restUntil = 0
    return ttlMs
  }

  /** A family had no addresses or failed beside one that had: it is not waited for while that one is fresh. */
  quieten(name: string, family: Family, until: number): void {
    this.#entries.get(name)?.quietUntil.set(family, until)
  }

  /** The name has no addresses of a family any more, as all that were asked agree. */
  forget(name: string, family: Family): void {
    this.#entries.get(name)?.slots.delete(family)
  }

  /** The name does not exist: that outweighs whatever was known. */
  storeMissing(name: string, now: number): void {
    this.#entries.delete(name)
    if (this.#rules.missingMs > 0) this.#made(name).missingUntil = now + this.#rules.missingMs
  }

  /** All name servers failed: what was known, or pinned, is served until then. */
  rest(name: string, until: number): void {
    this.#made(name).restUntil = until
  }

  #used(name: string): Entry | undefined {
    const entry = this.#entries.get(name)
    if (entry === undefined) return undefined
    this.#entries.delete(name)
    this.#entries.set(name, entry)
    return entry
  }

  #made(name: string): Entry {
    const known = this.#used(name)
    if (known !== undefined) return known
    const entry: Entry = { slots: new Map(), quietUntil: new Map(), missingUntil: 0, restUntil: 0 }
    this.#entries.set(name, entry)
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= this.#rules.namesMax) break
      this.#entries.delete(oldest)
    }
    return entry
  }
}

function freshSlot(entry: Entry, family: Family, now: number): Slot | undefined {
  const slot = entry.slots.get(family)
  return slot !== undefined && now < slot.expiresAt ? slot : undefined
}
