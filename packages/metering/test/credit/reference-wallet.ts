import { deriveWallet, type Wallet } from '@enablement/metering'
import { fc } from '@fast-check/vitest'
import { expect } from 'vitest'

interface ModelLot {
  readonly id: string
  readonly until: number
  readonly made: number
  free: number
}
type Part = { readonly lot: ModelLot | null; amount: number }

/** What a wallet should do, told as plainly as possible: earliest expiry first, 20 of overdraft, overruns are owed. */
export function referenceWallet() {
  let [now, owed] = [0, 0]
  const lots: ModelLot[] = []
  const holds = new Map<string, { until: number; parts: Part[]; done: boolean }>()
  const charges = new Map<string, Part[]>()
  const paidOff: Part[] = []
  const order = (a: ModelLot, b: ModelLot): number => a.until - b.until || a.made - b.made || (a.id < b.id ? -1 : 1)
  const settle = (lot: ModelLot): void => {
    const amount = Math.min(lot.free, owed)
    if (amount > 0) paidOff.push({ lot, amount })
    lot.free -= amount
    owed -= amount
  }
  const back = (lot: ModelLot, amount: number, at: number): void => {
    if (at >= lot.until) return
    lot.free += amount
    settle(lot)
  }
  const free = (): number => lots.reduce((sum, lot) => sum + lot.free, 0)
  const take = (amount: number): Part[] => {
    const parts: Part[] = []
    for (const lot of lots.toSorted(order)) {
      const taken = Math.min(lot.free, amount - parts.reduce((sum, part) => sum + part.amount, 0))
      lot.free -= taken
      if (taken > 0) parts.push({ lot, amount: taken })
    }
    return parts
  }
  const owe = (parts: Part[], amount: number): void => {
    owed += amount
    if (amount > 0) parts.push({ lot: null, amount })
  }
  /** Ends what ended up to `to`. */
  const pass = (to: number): void => {
    const ends = [...lots.map(({ until }) => until), ...[...holds.values()].map(({ until }) => until)]
    for (const at of [...new Set(ends)].filter((end) => end > now && end <= to).sort((a, b) => a - b)) {
      for (const [, hold] of [...holds].sort(([a], [b]) => (a < b ? -1 : 1))) {
        if (hold.until !== at || hold.done) continue
        for (const { lot, amount } of hold.parts.splice(0).reverse()) back(lot as ModelLot, amount, at)
      }
      for (const lot of lots) if (lot.until === at) lot.free = 0
    }
    now = to
  }
  return {
    pass,
    balance: () => ({ balance: free() - owed, owed, lots: new Map(lots.map(({ id, free: left }) => [id, left])) }),
    grant(id: string, amount: number, forMs: number | null): string {
      if (lots.some((lot) => lot.id === id)) return 'conflict'
      const lot = { id, until: forMs === null ? Number.POSITIVE_INFINITY : now + forMs, made: now, free: amount }
      lots.push(lot)
      settle(lot)
      return 'granted'
    },
    charge(key: string, amount: number): string {
      if (charges.has(key) || holds.has(key)) return 'conflict'
      if (amount > free() + Math.max(0, 20 - owed)) return 'insufficient-credits'
      const parts = take(amount)
      owe(parts, amount - parts.reduce((sum, part) => sum + part.amount, 0))
      charges.set(key, parts)
      return 'charged'
    },
    hold(key: string, amount: number, ttlMs: number): string {
      if (charges.has(key) || holds.has(key)) return 'conflict'
      if (amount > free()) return 'insufficient-credits'
      holds.set(key, { until: now + ttlMs, parts: take(amount), done: false })
      return 'held'
    },
    commit(key: string, amount: number): string {
      const hold = holds.get(key)
      if (hold === undefined) return 'unknown-hold'
      if (hold.done) return charges.has(key) ? 'conflict' : 'released'
      hold.done = true
      const parts: Part[] = []
      let open = amount
      const rest: Part[] = []
      for (const { lot, amount: held } of hold.parts) {
        const used = Math.min(held, open)
        open -= used
        parts.push({ lot, amount: used })
        rest.unshift({ lot, amount: held - used })
      }
      for (const { lot, amount: left } of rest) if (left > 0) back(lot as ModelLot, left, now)
      const more = take(open)
      owe(more, open - more.reduce((sum, part) => sum + part.amount, 0))
      charges.set(key, [...parts, ...more])
      return 'committed'
    },
    release(key: string): string {
      const hold = holds.get(key)
      if (hold === undefined) return 'unknown-hold'
      if (charges.has(key)) return 'committed'
      if (!hold.done && hold.until > now) {
        hold.done = true
        for (const { lot, amount } of hold.parts.reverse()) back(lot as ModelLot, amount, now)
      }
      return 'released'
    },
    reverse(key: string, amount: number): string {
      const parts = charges.get(key)
      if (parts === undefined) return 'unknown-charge'
      if (amount > parts.reduce((sum, part) => sum + part.amount, 0)) return 'exceeds-charge'
      let open = amount
      for (const part of parts.toReversed()) {
        const taken = Math.min(part.amount, open)
        part.amount -= taken
        open -= taken
        if (part.lot !== null) {
          if (taken > 0) back(part.lot, taken, now)
          continue
        }
        const waived = Math.min(taken, owed)
        owed -= waived
        let paid = taken - waived
        for (const settled of paidOff.toReversed()) {
          const undone = Math.min(settled.amount, paid)
          settled.amount -= undone
          paid -= undone
          if (undone > 0) back(settled.lot as ModelLot, undone, now)
        }
      }
      return 'reversed'
    }
  }
}

const key = fc.nat(7).map((at) => `k${at}`)
const amount = fc.integer({ min: 1, max: 30 })
const ms = fc.constantFrom(5, 10, 11, 20, 50)

/** What may happen to a wallet: calls, some of them sent twice, and time between them. */
const act = fc.oneof(
  fc.record({ act: fc.constant('grant' as const), key, amount, ms: fc.option(ms) }),
  fc.record({ act: fc.constant('charge' as const), key, amount }),
  fc.record({ act: fc.constant('hold' as const), key, amount, ms }),
  fc.record({ act: fc.constant('commit' as const), key, amount }),
  fc.record({ act: fc.constant('release' as const), key }),
  fc.record({ act: fc.constant('reverse' as const), key, amount })
)
export const histories = fc.array(
  fc.record({
    passMs: fc.constantFrom(0, 0, 1, 5, 10, 30, 60),
    act,
    again: fc.boolean(),
    cuts: fc.array(fc.nat(99), { maxLength: 3 })
  }),
  { minLength: 1, maxLength: 40 }
)
export type History = typeof histories extends fc.Arbitrary<infer Value> ? Value : never
export type Act = History[number]['act']

/** Does it to a wallet. `step` names a call's own key where it has one. */
export async function perform(wallet: Wallet, doing: Act, startAt: number, step: number): Promise<{ outcome: string }> {
  const idempotencyKey = doing.key
  switch (doing.act) {
    case 'grant':
      return await wallet.grant({
        id: doing.key,
        amount: `${doing.amount}`,
        ...(doing.ms === null ? {} : { expiresAt: startAt + doing.ms })
      })
    case 'charge':
      return await wallet.charge(`${doing.amount}`, { idempotencyKey })
    case 'hold':
      return await wallet.hold(`${doing.amount}`, { idempotencyKey, ttlMs: doing.ms })
    case 'commit':
      return await wallet.commit(doing.key, `${doing.amount}`)
    case 'release':
      return await wallet.release(doing.key)
    case 'reverse':
      return await wallet.reverse(doing.key, { amount: `${doing.amount}`, idempotencyKey: `r${step}` })
  }
}

/** The wallet's ledger adds up to its balance; gives what it adds up to. */
export async function derived(wallet: Wallet): Promise<ReturnType<typeof deriveWallet>> {
  const entries = await wallet.entries({ limit: 1_000 })
  const sums = deriveWallet(entries.map((entry) => ({ ...entry, amount: BigInt(entry.amount) })))
  expect(await wallet.balance()).toMatchObject({
    balance: `${sums.balance}`,
    free: `${sums.free}`,
    held: `${sums.held}`,
    owed: `${sums.owed}`,
    waiting: `${sums.waiting}`
  })
  expect(entries.at(-1)?.balance ?? '0').toBe(`${sums.balance}`)
  return sums
}
