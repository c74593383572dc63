import assert from 'node:assert/strict'
import type { ConformanceCase } from '@enablement/core/testing'
import type { Charge, CounterRule } from '../../quota/charge.ts'
import type {
  CounterReading,
  ExtendAnswer,
  ExtendRequest,
  HoldAnswer,
  HoldRequest,
  QuotaStore,
  SettleAnswer,
  SettleRequest,
  SpendAnswer,
  SpendGroup
} from '../../quota/quota-store.ts'

/** A fresh quota store under examination. */
export interface QuotaStoreSubject extends AsyncDisposable {
  readonly store: QuotaStore
  /** The store's own clock, which stands until it is set. It shows an instant of the year 2040 or later at first. */
  readonly clock: {
    now(): number
    /** Sets the clock, either way. */
    jumpWallTo(epochMs: number): void
  }
  /** A tenant of whom the store knows nothing, so that subjects may share a server. */
  readonly tenant: string
}

/** Makes a subject. */
export type CreateQuotaStore = () => Promise<QuotaStoreSubject>

export const SECOND_MS = 1_000
export const MINUTE_MS = 60 * SECOND_MS
export const HOUR_MS = 60 * MINUTE_MS
export const DAY_MS = 24 * HOUR_MS

/** 2040-02-29T10:00:00Z: on the hour, on a leap day. */
export const START_AT = Date.UTC(2040, 1, 29, 10)

const LIFETIME: CounterRule = { kind: 'lifetime' }
export const HOURLY: CounterRule = { kind: 'every', everyMs: HOUR_MS }
export const DAILY: CounterRule = { kind: 'every', everyMs: DAY_MS }
/** Slices of a second. */
export const ROLLING: CounterRule = { kind: 'rolling', rollingMs: MINUTE_MS }
/** A unit a second. */
export const BUCKET: CounterRule = { kind: 'bucket', refill: 1, perMs: SECOND_MS }
export const CONCURRENT: CounterRule = { kind: 'concurrent' }

/** A charge on ten units of the tenant's own counter that never start anew, but for what the case says. */
export function charge(differences: Partial<Charge> = {}): Charge {
  return { limit: 'units', path: [], quantity: 10, rule: LIFETIME, reserved: [], ...differences }
}

/** What a case does with the store, on behalf of its tenant; a case says what it cares about. */
export interface Examined extends QuotaStoreSubject {
  /** Sets the clock to so many milliseconds after `START_AT`. */
  at(afterMs: number): void
  /** Spends once, without a key unless the case says one. */
  consume(amount: number, charges: Charge | readonly Charge[], group?: Partial<SpendGroup>): Promise<SpendAnswer>
  /** Sets ten units aside for an hour, all or nothing, under the key `hold`; they are returned when it expires. */
  hold(charges: Charge | readonly Charge[], request?: Partial<HoldRequest>): Promise<HoldAnswer>
  settle(actual: number, charges: Charge | readonly Charge[], request?: Partial<SettleRequest>): Promise<SettleAnswer>
  extend(charges: Charge | readonly Charge[], request: Partial<ExtendRequest>): Promise<ExtendAnswer>
  read(charges: Charge): Promise<CounterReading>
  /** `used`, `held` and `remaining` of a counter. */
  standing(charges: Charge): Promise<readonly [used: number, held: number, remaining: number]>
}

const listed = (charges: Charge | readonly Charge[]): readonly Charge[] => ('limit' in charges ? [charges] : charges)

/** A case: `body` gets a fresh subject whose clock shows `START_AT`. */
export function examCase(
  name: string,
  body: (examined: Examined) => Promise<void>
): ConformanceCase<CreateQuotaStore, never> {
  return {
    name,
    async run(create) {
      await using subject = await create()
      subject.clock.jumpWallTo(START_AT)
      await body(examined(subject))
    }
  }
}

function examined(subject: QuotaStoreSubject): Examined {
  const { store, clock, tenant } = subject
  const scope = 'quota'
  const key = 'hold'
  const read = async (one: Charge): Promise<CounterReading> => {
    const readings = await store.read(tenant, [one])
    assert.ok(!('outcome' in readings), 'the clock is outside of the boundaries')
    return readings[0] as CounterReading
  }
  return {
    ...subject,
    at: (afterMs) => clock.jumpWallTo(START_AT + afterMs),
    async consume(amount, charges, group = {}) {
      const spend = { scope, charges: listed(charges), amounts: [amount], idempotencyMs: DAY_MS, ...group }
      const [answers] = await store.consume(tenant, [spend])
      return answers?.[0] as SpendAnswer
    },
    hold: (charges, request = {}) => {
      const amount = request.amount ?? 10
      const usual = { amount, amountMin: amount, ttlMs: HOUR_MS, onExpiry: 'returned', keepMs: DAY_MS } as const
      return store.hold(tenant, { scope, key, charges: listed(charges), ...usual, ...request })
    },
    settle: (actual, charges, request = {}) =>
      store.settle(tenant, { scope, key, charges: listed(charges), actual, keepMs: DAY_MS, ...request }),
    extend: (charges, request) =>
      store.extend(tenant, { scope, key, charges: listed(charges), ttlMs: HOUR_MS, amount: 0, ...request }),
    read,
    async standing(one) {
      const { used, held, remaining } = await read(one)
      return [used, held, remaining]
    },
    [Symbol.asyncDispose]: async () => {}
  }
}

export const consumed = (remaining: number, resetsAt: number | null = null, replayed = false): SpendAnswer => ({
  outcome: 'consumed',
  remaining,
  resetsAt,
  replayed
})

export const refused = (remaining: number, retryAt: number | null = null, at = 0) =>
  ({ outcome: 'refused', charge: at, remaining, retryAt }) as const

/** A hold as the store says it. */
export const held = (amount: number, expiresAt: number, now: number, replayed = false) =>
  ({ outcome: 'held', amount, expiresAt, now, replayed }) as const

/** A hold as it is extended. */
export const extended = (amount: number, expiresAt: number, now: number) =>
  ({ outcome: 'held', amount, expiresAt, now }) as const

/** The end of a hold: all charged, by this call, in time, but for what the case says. */
export const settled = (actual: number, differences: Partial<SettleAnswer> = {}) =>
  ({
    outcome: 'settled',
    actual,
    charged: actual,
    overrun: 0,
    expired: false,
    replayed: false,
    ...differences
  }) as const
