import { parseOptions } from '@enablement/core'
import { checkActual, checkAmount } from './amount.ts'
import type { Charge } from './charge.ts'
import { askWithin, type Enforcement, type QuotaIdentity } from './enforcement.ts'
import { extendSchema } from './quota-options.ts'
import type { ExtendOutcome, SettleOutcome } from './quota-outcome.ts'
import { refusedOf } from './refusal.ts'
import { settleHold } from './settlement.ts'

/** Units that are set aside for work whose amount is not known yet. */
export interface QuotaHold {
  /** The idempotency key that finds it again after a restart: `hold` with the same key and amount. */
  readonly key: string
  /** Units held. */
  readonly amount: number
  /** When it ends by itself and its units come back, epoch milliseconds by the store's clock. */
  readonly expiresAt: number
  /**
   * Ends it with what was used, an integer in [0, 9e15]. Less than was held gives the rest back; more takes the difference
   * as far as there is any left, and the answer says how much is `overrun`. Works after it has expired, too: what was used
   * is booked as far as there is any left. Repeat it as often as you like; the first amount stands.
   *
   * Throws `INVALID_AMOUNT`.
   */
  commit(actual: number): Promise<SettleOutcome>
  /** Ends it with nothing used. */
  release(): Promise<SettleOutcome>
  /**
   * Gives it `ttlMs` from now, unless it has longer, and, with `amount`, as many units in all: the difference is taken
   * whole or not at all. Throws `INVALID_OPTIONS`, `INVALID_AMOUNT` and the signal's reason.
   */
  extend(options: {
    readonly ttlMs: number
    readonly amount?: number
    readonly signal?: AbortSignal
  }): Promise<ExtendOutcome>
}

/** A hold, and its end as it was asked for last, although nobody may wait for that; undefined while nobody asked. */
export interface HoldHandle {
  readonly hold: QuotaHold
  readonly end: () => Promise<SettleOutcome> | undefined
}

/** `unmade`: the store failed when it was asked for it, so that it may not be there. */
export function holdHandle(
  shared: Enforcement,
  identity: QuotaIdentity,
  made: {
    readonly key: string
    readonly charges: readonly Charge[]
    readonly amount: number
    readonly expiresAt: number
    readonly unmade: boolean
  },
  replenished: () => void
): HoldHandle {
  const { store, report, idempotencyMs, posture } = shared
  const { scope, subject } = identity
  const { key, charges, unmade } = made
  let { amount, expiresAt } = made
  let end: Promise<SettleOutcome> | undefined

  const settle = async (actual: number): Promise<SettleOutcome> => {
    const settled = await settleHold(shared, identity, { scope, key, charges, actual, keepMs: idempotencyMs }, unmade)
    if (unmade && settled.outcome === 'unknown-hold' && actual > 0) {
      const queued = shared.backlog.spend(identity, actual, key)
      return { outcome: 'unavailable', reason: 'store-failed', queued }
    }
    if (settled.outcome === 'settled') {
      if (settled.actual < amount) replenished()
      if (!settled.replayed) {
        const { overrun, expired } = settled
        report?.({ type: 'quota.hold-settled', ...subject, key, actual: settled.actual, overrun, expired })
      }
    }
    return settled
  }

  const hold: QuotaHold = {
    key,
    get amount() {
      return amount
    },
    get expiresAt() {
      return expiresAt
    },
    async commit(actual) {
      checkActual(actual)
      end = settle(actual)
      return await end
    },
    release() {
      end = settle(0)
      return end
    },
    async extend(options) {
      const { ttlMs, amount: wanted = 0 } = parseOptions(extendSchema, 'hold.extend', options)
      if (wanted !== 0) checkAmount(wanted)
      const { signal } = options
      const amountThen = Math.max(wanted, amount)
      let drawn = charges
      const asked = await askWithin(
        shared,
        identity,
        'extend a hold',
        (current) => {
          drawn = current
          return store.extend(
            subject.tenant,
            { scope, key, charges: current, ttlMs, amount: amountThen === amount ? 0 : amountThen },
            signal === undefined ? {} : { signal }
          )
        },
        signal
      )
      // A limit that is gone meanwhile gives nothing more; what it gave is settled by the counters' names.
      if (asked.outcome === 'unknown-limit') return { outcome: 'unknown-hold' }
      if (asked.outcome === 'down') {
        const { reason, error } = asked
        const allowed = posture === 'allow'
        return { outcome: 'unavailable', allowed, reason, ...(error === undefined ? {} : { error }) }
      }
      const { value } = asked
      if (value.outcome === 'elsewhere') return { outcome: 'unavailable', allowed: false, reason: 'store-failed' }
      if (value.outcome === 'refused') return refusedOf(value, drawn, amountThen - amount)
      if (value.outcome !== 'held') return value
      amount = value.amount
      expiresAt = value.expiresAt
      return { outcome: 'extended', amount, expiresAt }
    }
  }
  return { hold, end: () => end }
}
