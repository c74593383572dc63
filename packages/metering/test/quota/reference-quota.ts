import type { virtualClock } from '@enablement/core/testing'
import type { Period, QuotaAnswer, QuotaSpend, QuotaStore } from '@enablement/metering'
import { fc } from '@fast-check/vitest'
import { expect } from 'vitest'

/** What a quota store should do, told as plainly as possible, for a clock that does not go back. */
function referenceQuota(): (spend: QuotaSpend, now: number) => QuotaAnswer {
  const used = new Map<string, number>()
  const spends = new Map<string, { amount: number; until: number; answer: QuotaAnswer }>()
  return (spend, now) => {
    const { tenant, limit, subject, period, amount, quantity, idempotencyKey, idempotencyMs } = spend
    const key = JSON.stringify([tenant, limit, subject, idempotencyKey])
    const earlier = spends.get(key)
    if (earlier !== undefined && now < earlier.until) {
      if (earlier.amount !== amount) return { outcome: 'conflict', firstAmount: earlier.amount }
      return { ...earlier.answer, replayed: true } as QuotaAnswer
    }
    const resetsAt = endOfWindow(period, now)
    const window = JSON.stringify([tenant, limit, subject, resetsAt])
    const remaining = quantity - (used.get(window) ?? 0)
    if (amount > remaining) return { outcome: 'refused', remaining, resetsAt }
    used.set(window, quantity - remaining + amount)
    const answer: QuotaAnswer = { outcome: 'consumed', remaining: remaining - amount, resetsAt, replayed: false }
    spends.set(key, { amount, until: now + idempotencyMs, answer })
    return answer
  }
}

function endOfWindow(period: Period, now: number): number | null {
  if (period === 'lifetime') return null
  const date = new Date(now)
  if (period === 'calendar-month-utc') return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1)
  return now - (now % period.everyMs) + period.everyMs
}

const RULES: readonly { limit: string; quantity: number; period: Period }[] = [
  { limit: 'lifetime', quantity: 40, period: 'lifetime' },
  { limit: 'hourly', quantity: 12, period: { everyMs: 3_600_000 } },
  { limit: 'odd', quantity: 7, period: { everyMs: 1_000_003 } },
  { limit: 'monthly', quantity: 20, period: 'calendar-month-utc' },
  { limit: 'nothing', quantity: 0, period: 'lifetime' }
]

const call = fc.record({
  rule: fc.nat(RULES.length - 1),
  counter: fc.constantFrom({}, { subject: 'agent-1' }, { subject: 'agent-2' }),
  amount: fc.integer({ min: 1, max: 9 }),
  key: fc.nat(12)
})

/** Time passes, then calls are made at once; some are sent again. */
const round = fc.record({
  passMs: fc.oneof(fc.constant(0), fc.constantFrom(1, 999, 3_599_999, 3_600_000, 86_400_000, 2_678_400_000)),
  calls: fc.array(call, { minLength: 1, maxLength: 8 }),
  resent: fc.subarray([0, 1, 2, 3])
})

/** Histories of calls, resends and passing time. */
export const histories = fc.array(round, { minLength: 1, maxLength: 12 })

export type History = typeof histories extends fc.Arbitrary<infer Value> ? Value : never

/** 2040-01-31T23:00:00Z, an hour before a month ends. */
const START_AT = Date.UTC(2040, 0, 31, 23)

/**
 * Plays a history to a store that serves calls in the order they were made, and expects the reference's answers. The
 * clock stands while calls are under way.
 */
export async function playInOrder(
  store: QuotaStore,
  clock: ReturnType<typeof virtualClock>,
  tenant: string,
  history: History
): Promise<void> {
  const reference = referenceQuota()
  let now = START_AT
  for (const { passMs, calls, resent } of history) {
    now += passMs
    clock.jumpWallTo(now)
    const sent = [...calls, ...resent.flatMap((at) => calls[at] ?? [])]
    const spends = sent.map(
      ({ rule, counter, amount, key }): QuotaSpend => ({
        tenant,
        ...(RULES[rule] as (typeof RULES)[number]),
        ...counter,
        amount,
        idempotencyKey: `key-${key}`,
        idempotencyMs: 7_200_000
      })
    )
    const answers = await Promise.all(spends.map((spend) => store.consume(spend)))
    expect(answers).toEqual(spends.map((spend) => reference(spend, now)))
  }
}

/**
 * Plays a history to a store that serves calls at once, in any order, and expects what holds in every order: nothing is
 * oversold in any window, a key is spent once, a refused call asked for more than was left in the end.
 */
export async function playAtOnce(
  store: QuotaStore,
  clock: ReturnType<typeof virtualClock>,
  tenant: string,
  history: History
): Promise<void> {
  let now = START_AT
  const sold = new Map<string, number>()
  for (const { passMs, calls, resent } of history) {
    now += passMs
    clock.jumpWallTo(now)
    const sent = [...calls, ...resent.flatMap((at) => calls[at] ?? [])]
    const answers = await Promise.all(
      sent.map(async ({ rule, counter, amount, key }) => {
        const { limit, quantity, period } = RULES[rule] as (typeof RULES)[number]
        const idempotencyKey = `key-${key}`
        const spend = { tenant, limit, quantity, period, ...counter, amount, idempotencyKey, idempotencyMs: 7_200_000 }
        return { spend, answer: await store.consume(spend) }
      })
    )
    const windowOf = ({ limit, subject, period }: QuotaSpend): string =>
      JSON.stringify([limit, subject, endOfWindow(period, now)])
    const first = new Set<string>()
    for (const { spend, answer } of answers) {
      if (answer.outcome !== 'consumed' || answer.replayed) continue
      const key = JSON.stringify([spend.limit, spend.subject, spend.idempotencyKey])
      expect(first.has(key), `${key} was spent twice`).toBe(false)
      first.add(key)
      sold.set(windowOf(spend), (sold.get(windowOf(spend)) ?? 0) + spend.amount)
    }
    for (const { spend, answer } of answers) {
      const left = spend.quantity - (sold.get(windowOf(spend)) ?? 0)
      expect(left, `${spend.limit} was oversold`).toBeGreaterThanOrEqual(0)
      if (answer.outcome === 'refused') {
        expect(spend.amount).toBeGreaterThan(answer.remaining)
        expect(answer.remaining).toBeGreaterThanOrEqual(left)
      }
    }
  }
}
