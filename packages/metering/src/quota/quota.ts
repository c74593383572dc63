import {
  CoreError,
  createCircuitBreaker,
  createIdSource,
  hours,
  parseOptions,
  reporter,
  systemPlatform
} from '@enablement/core'
import type { Duty } from '@enablement/core/schedule'
import type { MeteringEvent } from '../metering-event.ts'
import { createBacklog } from './backlog.ts'
import { BoundQuota, type ConsumeOptions, type HoldOptions } from './bound-quota.ts'
import type { Enforcement } from './enforcement.ts'
import { expiredHoldsDuty } from './expired-holds.ts'
import type { QuotaHold } from './hold-handle.ts'
import { leaseRegistry } from './lease-registry.ts'
import { LeasedUnits } from './leased-units.ts'
import { localSpends } from './local-spends.ts'
import { bindingSchema, optionsSchema, type QuotaBinding, type QuotasOptions } from './quota-options.ts'
import type { ConsumeOutcome, HoldOutcome, RemainingOutcome, TryOutcome, WithHoldOutcome } from './quota-outcome.ts'
import { limitSource, RuleBook } from './rule-book.ts'
import { scopeOf } from './scope.ts'
import { spendLanes } from './spend-lane.ts'
import { storeGate } from './store-gate.ts'
import { turns } from './turn.ts'

/** How long a spend is remembered under its key unless told otherwise: longer than any retry that still makes sense. */
const IDEMPOTENCY_MS = hours(24)

/** A lease lasts so long, and its units are withheld so long after a crash, unless told otherwise. */
const LEASE_TTL_MS = 10_000
const LEASE_UNITS_MAX = 1_000

/** Failures in a row that open the breaker: calls are gathered, so that even a busy store sees few of them. */
const BREAKER_FAILURES = 5

/** The counters of one tenant, or of a part of it, for one limit or several. */
export interface Quota {
  /**
   * Spends `amount`, 1 unless given, from units that this process has leased, without waiting: `ask` means that it is not
   * known here, and begins a lease in the background. What it spends was taken from the store before, at every level.
   *
   * Throws `INVALID_AMOUNT` and `CLOSED`.
   */
  tryConsume(amount?: number): TryOutcome
  /**
   * Spends `amount`, 1 unless given, an integer in [1, 9e15], if that much remains at every level; check and spend are one
   * step. Called again with the same key within `idempotencyMs`, it does not spend again and gives the first answer. A
   * refusal changed nothing and is not remembered: the same key may succeed once units are back.
   *
   * Calls of one tick go to the store together. A caller whose signal aborts before that spends nothing; after it the
   * spend goes on, and only the answer is dropped.
   *
   * Throws `INVALID_AMOUNT`, `INVALID_OPTIONS`, `HOLDS_ONLY`, `LIMIT_CONFLICT`, `CLOSED` and the signal's reason.
   */
  consume(amount?: number, options?: ConsumeOptions): Promise<ConsumeOutcome>
  /**
   * Sets `amount` aside, the most that the work may use, until the hold is committed, released or `ttlMs` are over. With
   * the key of a hold that is there it is found again, also by another process after a restart.
   *
   * Throws what `consume` throws.
   */
  hold(amount: number, options: HoldOptions): Promise<HoldOutcome>
  /**
   * Holds, works and settles: released when `work` throws (and the error passed on) or commits nothing. When the units are
   * not there, `work` does not run and the outcome says why. Throws what `consume` and `work` throw.
   */
  withHold<T>(
    amount: number,
    options: HoldOptions,
    work: (hold: QuotaHold) => T | PromiseLike<T>
  ): Promise<WithHoldOutcome<T>>
  /** How the levels stand, and what could be spent. Reserves nothing. Throws `LIMIT_CONFLICT` and the signal's reason. */
  remaining(options?: { readonly signal?: AbortSignal }): Promise<RemainingOutcome>
}

/** Enforces limits. */
export interface Quotas extends AsyncDisposable {
  /** The quota of a tenant or a part of it. Cheap; bound once and kept, it is cheaper. Throws `INVALID_OPTIONS`. */
  bind(binding: QuotaBinding): Quota
  /** Ends holds whose time is over: for a worker. Without it they end when somebody needs what they held. */
  readonly duties: readonly Duty[]
  /**
   * Waits for what is under way, gives leases back, books what still waits if the store answers, and stops. Calls after it
   * throw `CLOSED`.
   */
  close(): Promise<void>
}

// The way through this folder. A call goes from here to bound-quota, spend-lane and store-gate. What it charges comes from
// limit, hierarchy, period and rule-book. Without the store there are leased-units (with lease-registry and turn), and after
// an outage backlog and local-spends. A hold goes from hold-handle to settlement.
//
// The stores' side begins at quota-store, the port. All but Redis share its steps, which are pure: spend, hold, hold-expiry,
// hold-settlement and reading work on a working-set; draw finds what is left of counters, which counter explains and
// counter-step moves (window-counter, rolling-counter, bucket-counter).

/** Quotas over a store. Throws `INVALID_OPTIONS`, and `LIMIT_CONFLICT` with all conflicts of all limits. */
export function createQuotas(options: QuotasOptions): Quotas {
  const parsed = parseOptions(optionsSchema, 'createQuotas', options)
  const { store, limits, onStoreFailure: posture, idempotencyMs = IDEMPOTENCY_MS, observe, breaker } = parsed
  const { platform = systemPlatform } = parsed
  const { onLost = 'spent', unitsMax = LEASE_UNITS_MAX, ttlMs = LEASE_TTL_MS } = parsed.lease ?? {}
  const { clock } = platform
  const source = limitSource(limits)
  const report = observe === undefined ? undefined : reporter<MeteringEvent>(observe)
  const monotonic = (): number => clock.monotonic()
  const gate = storeGate(
    createCircuitBreaker({
      window: { kind: 'consecutive', failures: BREAKER_FAILURES },
      ...breaker,
      name: 'quota-store',
      platform,
      ...(report === undefined ? {} : { observe: report })
    }),
    monotonic
  )
  let aheadMs = 0
  let closed: Promise<void> | undefined

  const shared: Enforcement = {
    store,
    gate,
    lanes: spendLanes(store, gate, monotonic),
    backlog: createBacklog(clock, () => shared),
    leases: leaseRegistry(clock, ttlMs),
    turns: turns(clock),
    clock,
    posture,
    idempotencyMs,
    report,
    checkOpen() {
      if (closed !== undefined) throw new CoreError('CLOSED', 'the quotas were closed', { what: 'quotas' })
    },
    newKey: createIdSource(platform),
    storeNow: () => clock.now() + aheadMs,
    storeSaid(now) {
      aheadMs = now - clock.now()
    }
  }
  const local = localSpends(clock, idempotencyMs)

  const boundTo = ({ tenant, path = [], limit }: QuotaBinding): BoundQuota => {
    const names = typeof limit === 'string' ? [limit] : limit
    const scope = scopeOf(names, path)
    const key = `${tenant}\n${scope}`
    // Whoever binds the same again meets the lease that there is.
    const leasing = shared.leases.find(key)
    if (leasing !== undefined) return leasing
    const subject = { tenant, path, limits: names }
    const identity = { subject, scope, book: new RuleBook(source, tenant, path, names) }
    const units = new LeasedUnits(shared, identity, { onLost, unitsMax, ttlMs }, (holding) => {
      if (holding) shared.leases.add(key, bound)
      else shared.leases.remove(key, bound)
    })
    const bound = new BoundQuota(shared, identity, local, units)
    return bound
  }

  const end = async (): Promise<void> => {
    await shared.lanes.drained()
    await shared.leases.close()
    await shared.backlog.close()
    shared.turns.close()
  }

  const quotas: Quotas = {
    bind(binding) {
      const bound = boundTo(parseOptions(bindingSchema, 'quotas.bind', binding))
      const { units } = bound
      return {
        tryConsume: (amount = 1) => units.take(amount),
        consume: (amount = 1, consumeOptions) => bound.consume(amount, consumeOptions),
        hold: (amount, holdOptions) => bound.hold(amount, holdOptions),
        withHold: (amount, holdOptions, work) => bound.withHold(amount, holdOptions, work),
        remaining: (readOptions) => bound.remaining(readOptions)
      }
    },
    duties: [expiredHoldsDuty(store, report)],
    close() {
      closed ??= end()
      return closed
    },
    [Symbol.asyncDispose]: () => quotas.close()
  }
  return quotas
}
