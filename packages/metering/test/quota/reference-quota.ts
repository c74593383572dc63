import { isDeepStrictEqual } from 'node:util'
import type { virtualClock } from '@enablement/core/testing'
import type { Charge, CounterRule, QuotaStore } from '@enablement/metering'
import { fc } from '@fast-check/vitest'
import { expect } from 'vitest'
import { answerTo, emptyState, type ReferenceState } from './reference-store.ts'

/** A call to a store, on behalf of one tenant. */
export type QuotaCall =
  | { kind: 'consume'; charges: readonly Charge[]; amounts: readonly number[]; keys: readonly (string | undefined)[] }
  | {
      kind: 'hold'
      key: string
      charges: readonly Charge[]
      amount: number
      amountMin: number
      ttlMs: number
      onExpiry: 'returned' | 'spent'
      keepMs: number
    }
  | { kind: 'settle'; key: string; charges: readonly Charge[]; actual: number; keepMs: number }
  | { kind: 'extend'; key: string; charges: readonly Charge[]; amount: number; ttlMs: number }
  | { kind: 'read'; charges: readonly Charge[] }
  | { kind: 'end-expired'; only?: readonly string[] }

/**
 * Longer than any history, five years: what was over and is deleted is not known again when the clock is set back. For the
 * same reason the clock is never set back by more than the day that counters outlive their windows.
 */
const KEEP_MS = 157_788_000_000
const HOURLY: CounterRule = { kind: 'every', everyMs: 3_600_000 }
const ROLLING: CounterRule = { kind: 'rolling', rollingMs: 90_000 }
const BUCKET: CounterRule = { kind: 'bucket', refill: 3, perMs: 7_000 }

const charge = (limit: string, quantity: number, rule: CounterRule, differences: Partial<Charge> = {}): Charge => ({
  limit,
  path: [],
  quantity,
  rule,
  reserved: [],
  ...differences
})

/** The months around an instant, as far from it as `monthsOff`. */
function monthly(now: number, monthsOff: number): Charge {
  const date = new Date(now)
  const boundaries = [-1, 0, 1, 2].map((month) =>
    Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + month + monthsOff)
  )
  return charge('monthly', 20, { kind: 'boundaries', boundaries })
}

const part = (name: string, quantity: number) => ({ path: [name], quantity })

/** The quotas that a history draws on. */
const QUOTAS: readonly ((now: number, monthsOff: number) => readonly Charge[])[] = [
  () => [charge('lifetime', 40, { kind: 'lifetime' })],
  () => [charge('hourly', 6, HOURLY, { path: ['a'] }), charge('hourly', 12, HOURLY)],
  () => [charge('rolling', 9, ROLLING), charge('bucket', 8, BUCKET), charge('jobs', 7, { kind: 'concurrent' })],
  () => [charge('bucket', 8, BUCKET)],
  () => [charge('share', 4, HOURLY, { path: ['a'] }), charge('share', 10, HOURLY, { reserved: [part('b', 3)] })],
  () => [charge('share', 10, HOURLY, { reserved: [part('a', 4), part('b', 3)] })],
  () => [charge('slices', 5, ROLLING, { path: ['a'] }), charge('slices', 9, ROLLING, { reserved: [part('b', 2)] })],
  () => [charge('slices', 9, ROLLING, { reserved: [part('a', 5), part('b', 2)] })],
  (now, monthsOff) => [charge('odd', 7, { kind: 'every', everyMs: 1_000_003 }), monthly(now, monthsOff)],
  () => [charge('nothing', 0, { kind: 'lifetime' })],
  // Lowered for a while.
  () => [charge('hourly', 5, HOURLY)]
]

const amount = fc.integer({ min: 1, max: 9 })
const quota = fc.nat(QUOTAS.length - 1)
const monthsOff = fc.constantFrom(0, 0, 0, 0, -3, 2)
const key = fc.nat(9)

const plan = fc.oneof(
  fc.record({
    kind: fc.constant('consume' as const),
    quota,
    monthsOff,
    amounts: fc.array(amount, { minLength: 1, maxLength: 3 }),
    keys: fc.array(fc.option(key, { nil: undefined }), { minLength: 3, maxLength: 3 })
  }),
  fc.record({
    kind: fc.constant('hold' as const),
    quota,
    monthsOff,
    key,
    amount,
    amountMin: fc.constantFrom(1, 9),
    ttlMs: fc.constantFrom(1, 5_000, 90_000, 4_000_000),
    onExpiry: fc.constantFrom('returned' as const, 'spent' as const)
  }),
  fc.record({ kind: fc.constant('settle' as const), monthsOff, key, actual: fc.nat(12) }),
  fc.record({
    kind: fc.constant('extend' as const),
    monthsOff,
    key,
    amount: fc.nat(14),
    ttlMs: fc.constantFrom(1, 90_000, 4_000_000)
  }),
  fc.record({ kind: fc.constant('read' as const), quota, monthsOff }),
  fc.record({ kind: fc.constant('end-expired' as const) })
)

/** The clock jumps, then calls are made at once; some are sent again, as if their answers had been lost. */
const round = fc.record({
  passMs: fc.oneof(
    fc.constant(0),
    fc.constantFrom(1, 999, 1_500, 60_000, 91_500, 3_599_999, 3_600_000, 86_400_000, 2_678_400_000),
    fc.constantFrom(-1, -1_500, -90_000, -3_600_000, -7_000_000)
  ),
  plans: fc.array(plan, { minLength: 1, maxLength: 5 }),
  resent: fc.subarray([0, 1, 2, 3, 4])
})

/** Histories of calls, resends and a clock that jumps either way. */
export const histories = fc.array(round, { minLength: 1, maxLength: 12 })

export type History = typeof histories extends fc.Arbitrary<infer Value> ? Value : never

/** 2040-01-31T23:00:00Z, an hour before a month ends. */
const START_AT = Date.UTC(2040, 0, 31, 23)

/** The rounds of a history, with the instant of each. A hold is always named with the counters that it was made on. */
function* roundsOf(history: History): Generator<{ readonly now: number; readonly calls: readonly QuotaCall[] }> {
  let now = START_AT
  for (const { passMs, plans, resent } of history) {
    now += passMs
    const charges = (index: number, off: number) => (QUOTAS[index] as (typeof QUOTAS)[number])(now, off)
    const calls = plans.map((one): QuotaCall => {
      if (one.kind === 'end-expired') return { kind: one.kind }
      if (one.kind === 'read') return { kind: one.kind, charges: charges(one.quota, one.monthsOff) }
      if (one.kind === 'consume') {
        const keys = one.amounts.map((_, at) =>
          one.keys[at] === undefined ? undefined : `${one.quota}-${one.keys[at]}`
        )
        return { kind: one.kind, charges: charges(one.quota, one.monthsOff), amounts: one.amounts, keys }
      }
      const name = `hold-${one.key}`
      // Which quota a hold draws on is part of its name.
      const drawn = charges((one.key * 7) % QUOTAS.length, one.monthsOff)
      if (one.kind === 'settle')
        return { kind: one.kind, key: name, charges: drawn, actual: one.actual, keepMs: KEEP_MS }
      if (one.kind === 'extend')
        return { kind: one.kind, key: name, charges: drawn, amount: one.amount, ttlMs: one.ttlMs }
      const { ttlMs, onExpiry } = one
      const amountMin = Math.min(one.amount, one.amountMin)
      return {
        kind: one.kind,
        key: name,
        charges: drawn,
        amount: one.amount,
        amountMin,
        ttlMs,
        onExpiry,
        keepMs: KEEP_MS
      }
    })
    yield { now, calls: [...calls, ...resent.flatMap((at) => calls[at] ?? [])] }
  }
}

/** Ends what has expired; gives the keys, in order. Of several steps, unlike the other calls: a unit or script a tenant. */
async function endExpired(store: QuotaStore, tenant: string): Promise<readonly string[]> {
  return (await store.endExpired(10_000)).flatMap((one) => (one.tenant === tenant ? [one.key] : [])).sort()
}

/** Asks the store, in the terms of the reference. */
async function ask(store: QuotaStore, tenant: string, call: QuotaCall): Promise<unknown> {
  const scope = 'quota'
  if (call.kind === 'consume') {
    const { kind: _, ...group } = call
    return (await store.consume(tenant, [{ scope, idempotencyMs: KEEP_MS, ...group }]))[0]
  }
  if (call.kind === 'read') return store.read(tenant, call.charges)
  if (call.kind === 'end-expired') return endExpired(store, tenant)
  const { kind, ...request } = call
  return (store[kind] as (tenant: string, request: unknown) => Promise<unknown>)(tenant, { scope, ...request })
}

/** Plays a history to a store, one call after the other, and expects the reference's answers. */
export async function playInOrder(
  store: QuotaStore,
  clock: ReturnType<typeof virtualClock>,
  tenant: string,
  history: History
): Promise<void> {
  const state = emptyState()
  for (const { now, calls } of roundsOf(history)) {
    clock.jumpWallTo(now)
    const answers: unknown[] = []
    for (const call of calls) answers.push(await ask(store, tenant, call))
    expect(answers).toEqual(calls.map((call) => answerTo(state, call, now)))
  }
}

/** Calls that are made at once: their orders are tried, and there are seven thousand of seven. */
const AT_ONCE_MAX = 6

/** Plays a history to a store that serves calls at once, and expects the answers of the reference in some order. */
export async function playAtOnce(
  store: QuotaStore,
  clock: ReturnType<typeof virtualClock>,
  tenant: string,
  history: History
): Promise<void> {
  let states: readonly ReferenceState[] = [emptyState()]
  for (const { now, calls } of roundsOf(history)) {
    clock.jumpWallTo(now)
    const some = calls.filter(({ kind }) => kind !== 'end-expired').slice(0, AT_ONCE_MAX)
    const ended = endExpired(store, tenant)
    const answers = await Promise.all(some.map((call) => ask(store, tenant, call)))
    const told = some.map((call, at) => ({ call, answer: answers[at] }))
    // Every other call ends all that has expired before it decides, so that here it is over by now, whoever ended it. Alone
    // this one ends what it says: on a cluster, what this process knows of.
    const ending = { kind: 'end-expired', ...(some.length > 0 ? {} : { only: await ended }) } as const
    const overdue = states.map((state) => answerTo(state, ending, now))[0]
    expect(overdue).toEqual(expect.arrayContaining([...(await ended)]))
    const after = new Map(states.flatMap((state) => [...explanations(state, told, now)]))
    expect(after.size, `no order explains ${JSON.stringify(told)}`).toBeGreaterThan(0)
    states = [...after.values()]
  }
}

/** What the reference can be after the calls, in every order in which it would have given these answers. */
function* explanations(
  state: ReferenceState,
  told: readonly { readonly call: QuotaCall; readonly answer: unknown }[],
  now: number
): Generator<readonly [string, ReferenceState]> {
  if (told.length === 0) yield [JSON.stringify(state), state]
  const tried = new Set<string>()
  for (const [at, { call, answer }] of told.entries()) {
    const same = JSON.stringify([call, answer])
    if (tried.has(same)) continue
    tried.add(same)
    const next = structuredClone(state)
    if (isDeepStrictEqual(answerTo(next, call, now), answer)) yield* explanations(next, told.toSpliced(at, 1), now)
  }
}
