import { minutes } from '@enablement/core'
import { checkAmount } from './amount.ts'
import type { Charge } from './charge.ts'
import { askWithin, type Enforcement, type QuotaIdentity } from './enforcement.ts'
import { LEASES_MAX } from './lease-registry.ts'
import type { LeaseOptions } from './quota-options.ts'
import type { TryOutcome } from './quota-outcome.ts'
import type { CounterReading, HoldAnswer } from './quota-store.ts'
import type { Rules } from './rule-book.ts'
import { settleHold } from './settlement.ts'

/** The share of a lease's time in which it is spent; the rest is the margin for clocks that run at different speeds. */
const USABLE_RATIO = 0.9

/**
 * A lease should last about so much of its time at the rate at which it is spent: the next one is then taken while most
 * of it is still good, and a quota that is seldom asked for takes few.
 */
const SPAN_RATIO = 0.25

/** The shortest time from which a rate is told: a loop that asks a thousand times in a millisecond is no rate. */
const RATE_SPAN_MIN_MS = 50

/** A process leases at most this share of what is left, so that others find some too. */
const REMAINING_SHARE = 4

/** The next lease is taken when this share of the units is left, or of the time. */
const LOW_RATIO = 0.25

/**
 * Units given out on one reading of the clock, which costs some 50 ns: so many more than allowed may be spent when the
 * event loop stands still after the reading, also in the window after the lease's. They are units of this lease, which a store
 * that counts lost leases as spent has sold to nobody else.
 */
const UNITS_PER_READING = 32

/** How long a refusal is believed: units may come back at any time, by holds that end elsewhere. */
const REFUSAL_MS = 250

/** How long until the next attempt when there was nothing to lease, too little to share, or no store. */
const PAUSE_MS = 100

/**
 * How long the end of a lease is remembered: for the same end told again after its answer was lost. A busy quota ends several
 * leases a second, so that as long as other ends would be millions of them.
 */
const END_KEPT_MS = minutes(10)

/** Clocks that disagree by more have been set, or stood still while the machine slept. */
const DISAGREEMENT_MAX_MS = 100

interface Lease {
  readonly key: string
  readonly charges: readonly Charge[]
  readonly units: number
  /** The next one is taken when so many are left. */
  readonly lowUnits: number
  /** Monotonic: nothing is spent from here on. */
  readonly deadline: number
  /** Monotonic: the next one is taken from here on. */
  readonly lowAt: number
  /** Wall time less monotonic time when it was taken. */
  readonly skew: number
  readonly skewMax: number
}

/**
 * Units that left the store before they are spent here, without asking it. One lease at a time; the next one is taken in
 * the background.
 *
 * Fields are plain numbers because `take` is the hot path: as long as `ready` lasts and the turn is the one in which the
 * clock was read, it is two comparisons and a subtraction.
 */
export class LeasedUnits {
  /** Units that may be spent without reading the clock, within `#turn`. */
  #ready = 0
  #turn = -1
  /** What `ready` was when the clock was read. */
  #granted = 0
  /** Units of the lease that are not spent; what was spent of `#granted` is not subtracted yet. */
  #left = 0
  #spent = 0
  #lease: Lease | undefined
  /** Units that were asked for since `#since` and could not be given. */
  #missed = 0
  #since = 0
  #taking: Promise<void> | undefined
  #givingBack: Promise<void> | undefined
  #nextAt = Number.NEGATIVE_INFINITY
  #refusedAmount = Number.POSITIVE_INFINITY
  #refusedUntil = Number.NEGATIVE_INFINITY
  #idleSince = 0
  #idleSpent = 0
  readonly #shared: Enforcement
  readonly #identity: QuotaIdentity
  readonly #turns: Enforcement['turns']
  readonly #rules: Required<LeaseOptions>
  readonly #held: (holding: boolean) => void
  readonly #perReading: number

  /** `held` is told when a lease is about to begin, and when there is none any more. */
  constructor(
    shared: Enforcement,
    identity: QuotaIdentity,
    rules: Required<LeaseOptions>,
    held: (holding: boolean) => void
  ) {
    this.#shared = shared
    this.#identity = identity
    this.#turns = shared.turns
    this.#rules = rules
    this.#held = held
    // Where a lost lease is sold again, a unit that is spent late may be spent twice: the clock is read for each.
    this.#perReading = rules.onLost === 'returned' ? 0 : UNITS_PER_READING
  }

  /** Spends from the lease, or says why not. Small integers are checked here, all others in the slow path. */
  take(amount: number): TryOutcome {
    if (amount <= this.#ready && this.#turn === this.#turns.current && amount > 0 && amount >>> 0 === amount) {
      this.#ready -= amount
      return 'consumed'
    }
    return this.#takeSlowly(amount)
  }

  #takeSlowly(amount: number): TryOutcome {
    const { clock } = this.#shared
    this.#shared.checkOpen()
    checkAmount(amount)
    const now = clock.monotonic()
    if (this.#spend(amount, now)) {
      const lease = this.#lease as Lease
      if (now >= lease.lowAt || this.#left <= lease.lowUnits) this.#takeNext(now)
      return 'consumed'
    }
    if (this.#missed === 0 && this.#lease === undefined) this.#since = now
    this.#missed += amount
    if (amount >= this.#refusedAmount && now < this.#refusedUntil) return 'refused'
    this.#takeNext(now)
    return 'ask'
  }

  /** Spends from what is leased, whatever the store says. */
  draw(amount: number): boolean {
    return this.#spend(amount, this.#shared.clock.monotonic())
  }

  #spend(amount: number, now: number): boolean {
    this.#reckon()
    const lease = this.#lease
    if (lease === undefined) return false
    if (now >= lease.deadline) {
      void this.#end()
      return false
    }
    if (Math.abs(this.#shared.clock.now() - now - lease.skew) > lease.skewMax) {
      const { report } = this.#shared
      report?.({ type: 'quota.lease-dropped', ...this.#identity.subject, units: lease.units, spent: this.#spent })
      void this.#end()
      return false
    }
    if (amount > this.#left) return false
    this.#left -= amount
    this.#spent += amount
    // Up to the low mark and no further, so that the next lease is begun there.
    const untilLow = this.#left - lease.lowUnits
    const ready = Math.min(untilLow > 0 ? untilLow : this.#left, this.#perReading)
    this.#granted = ready
    this.#ready = ready
    if (ready > 0) this.#turn = this.#turns.open()
    return true
  }

  /** Books what was spent since the clock was read. */
  #reckon(): void {
    const spent = this.#granted - this.#ready
    this.#granted = 0
    this.#ready = 0
    this.#left -= spent
    this.#spent += spent
  }

  /** Units that are leased and not spent. */
  get left(): number {
    return this.#lease === undefined ? 0 : this.#left - (this.#granted - this.#ready)
  }

  /** The store refused `amount`. */
  refused(amount: number, retryAt: number | null): void {
    const { clock, storeNow } = this.#shared
    const untilRetryMs = retryAt === null ? REFUSAL_MS : Math.min(REFUSAL_MS, retryAt - storeNow())
    this.#refusedAmount = amount
    this.#refusedUntil = clock.monotonic() + untilRetryMs
  }

  /** Units came back: what was refused may succeed now. */
  replenished(): void {
    this.#refusedUntil = Number.NEGATIVE_INFINITY
  }

  /** Ends a lease whose time is over, or that nobody draws on. */
  look(now: number): void {
    this.#reckon()
    const lease = this.#lease
    if (lease === undefined) return
    if (this.#spent !== this.#idleSpent) {
      this.#idleSpent = this.#spent
      this.#idleSince = now
    }
    if (now >= lease.deadline || now - this.#idleSince >= this.#rules.ttlMs / 2) void this.#end()
  }

  /** Gives the lease back, and one that is being taken; resolves when the store has it. None is begun meanwhile. */
  giveBack(): Promise<void> {
    const end = async (): Promise<void> => {
      await this.#taking
      await this.#end()
    }
    this.#givingBack ??= end().finally(() => {
      this.#givingBack = undefined
    })
    return this.#givingBack
  }

  #end(): Promise<void> {
    this.#reckon()
    const lease = this.#lease
    if (lease === undefined) return Promise.resolve()
    const spent = this.#spent
    this.#lease = undefined
    this.#left = 0
    this.#spent = 0
    this.#missed = 0
    if (this.#taking === undefined) this.#held(false)
    return this.#settle(lease, spent)
  }

  async #settle({ key, charges, units }: Lease, spent: number): Promise<void> {
    const { report, idempotencyMs } = this.#shared
    const { scope, subject } = this.#identity
    try {
      const keepMs = Math.min(END_KEPT_MS, idempotencyMs)
      const request = { scope, key, charges, actual: spent, keepMs }
      const end = await settleHold(this.#shared, this.#identity, request)
      if (end.outcome === 'unavailable') return
      if (end.outcome === 'settled' && !end.expired) {
        report?.({ type: 'quota.lease-settled', ...subject, units, spent })
        return
      }
      // Where lost leases count as spent, the store has booked all of the units already.
      const overrun = end.outcome === 'settled' ? end.overrun : end.outcome === 'conflict' ? 0 : spent
      report?.({ type: 'quota.lease-overdue', ...subject, units, spent, overrun })
    } catch (error) {
      report?.({ type: 'quota.lease-failed', ...subject, error })
    }
  }

  #takeNext(now: number): void {
    if (this.#taking !== undefined || this.#givingBack !== undefined || now < this.#nextAt) return
    if (this.#lease === undefined && this.#shared.leases.size >= LEASES_MAX) return
    this.#nextAt = now + PAUSE_MS
    this.#held(true)
    this.#taking = this.#lend()
      .catch((error: unknown) => {
        this.#shared.report?.({ type: 'quota.lease-failed', ...this.#identity.subject, error })
      })
      .finally(() => {
        this.#taking = undefined
        if (this.#lease === undefined) this.#held(false)
      })
  }

  async #lend(): Promise<void> {
    const { clock, store, newKey, idempotencyMs, report } = this.#shared
    const { subject, scope } = this.#identity
    const { tenant } = subject
    const plan = this.#identity.book.at(this.#shared.storeNow())
    // A lease of a concurrent counter would hand out what comes back when the lease ends.
    if (plan.outcome === 'unknown-limit' || plan.holdsOnly !== undefined) return
    const read = await askWithin(this.#shared, this.#identity, 'read a quota', (charges) => store.read(tenant, charges))
    if (read.outcome !== 'answered' || 'outcome' in read.value) return
    const units = this.#unitsWanted(read.value, clock.monotonic())
    if (units === 0) return
    const key = `lease-${newKey()}`
    const { ttlMs, onLost } = this.#rules
    const keepMs = idempotencyMs
    const sentAt = clock.monotonic()
    let rules: Rules = plan
    const lent = await askWithin<HoldAnswer>(this.#shared, this.#identity, 'lease units', (charges, current) => {
      rules = current
      return store.hold(tenant, { scope, key, charges, amount: units, amountMin: 1, ttlMs, onExpiry: onLost, keepMs })
    })
    if (lent.outcome !== 'answered') return
    if (lent.value.outcome === 'refused') this.refused(1, lent.value.retryAt)
    if (lent.value.outcome !== 'held') return
    const { amount, expiresAt, now } = lent.value
    // Counted from before the question was sent, so that the way to the store and back is no extra time.
    const usableMs = Math.min(expiresAt - now, rules.windowEndsAt(now) - now) * USABLE_RATIO
    const installedAt = clock.monotonic()
    const lease: Lease = {
      key,
      charges: rules.charges,
      units: amount,
      lowUnits: Math.floor(amount * LOW_RATIO),
      deadline: sentAt + usableMs,
      lowAt: sentAt + usableMs * (1 - LOW_RATIO),
      skew: clock.now() - installedAt,
      skewMax: Math.min(DISAGREEMENT_MAX_MS, (expiresAt - now) * 0.05)
    }
    void this.#end()
    if (installedAt >= lease.deadline) return void this.#settle(lease, 0)
    this.#lease = lease
    this.#left = amount
    this.#since = installedAt
    this.#idleSince = installedAt
    this.#idleSpent = 0
    this.#nextAt = Number.NEGATIVE_INFINITY
    report?.({ type: 'quota.leased', ...subject, units: amount, usableMs: Math.floor(lease.deadline - installedAt) })
  }

  /** 0 where so little is left that every unit is worth asking for. */
  #unitsWanted(levels: readonly CounterReading[], now: number): number {
    const remaining = Math.min(...levels.map((level) => level.remaining))
    this.#reckon()
    const { ttlMs, unitsMax } = this.#rules
    const rate = (this.#spent + this.#missed) / Math.max(RATE_SPAN_MIN_MS, now - this.#since)
    const share = Math.floor(remaining / REMAINING_SHARE)
    return Math.min(share, Math.max(1, Math.ceil(rate * ttlMs * SPAN_RATIO)), unitsMax)
  }
}
