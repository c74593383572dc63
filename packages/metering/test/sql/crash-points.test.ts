import { migrate, type SqlDatabase } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { crashPoints, unlessCrashed, virtualClock, withStoreClock } from '@enablement/core/testing'
import type { QuotaStore } from '@enablement/metering'
import { meteringSchema, sqlQuotaStore } from '@enablement/metering/sql'
import { describe, expect, inject, it } from 'vitest'

/** Each crash point is tried on the sources, a fifth of them on the built output. */
const stride = Math.ceil(1 / inject('scale'))

const AT = Date.UTC(2040, 0, 15, 10)
const charges = [
  { limit: 'units', path: ['agent'], quantity: 20, rule: { kind: 'every', everyMs: 3_600_000 }, reserved: [] },
  { limit: 'burst', path: [], quantity: 15, rule: { kind: 'rolling', rollingMs: 60_000 }, reserved: [] }
] as const
const quota = { scope: 'agent', charges, keepMs: 600_000 }

/** What a process does, and when: calls with keys, which it makes again when it is started anew before their answer. */
const steps: readonly { readonly afterMs: number; call(store: QuotaStore): Promise<unknown> }[] = [
  {
    afterMs: 0,
    call: (store) =>
      store.consume('org', [{ ...quota, amounts: [4, 5, 9], keys: ['a', 'b', 'c'], idempotencyMs: 60_000 }])
  },
  {
    afterMs: 1,
    call: (store) =>
      store.hold('org', { ...quota, key: 'kept', amount: 3, amountMin: 3, ttlMs: 30_000, onExpiry: 'returned' })
  },
  {
    afterMs: 2,
    call: (store) =>
      store.hold('org', { ...quota, key: 'lost', amount: 2, amountMin: 1, ttlMs: 1_000, onExpiry: 'spent' })
  },
  { afterMs: 900, call: (store) => store.settle('org', { ...quota, key: 'kept', actual: 2 }) },
  { afterMs: 900, call: (store) => store.extend('org', { ...quota, key: 'lost', amount: 3, ttlMs: 600 }) },
  {
    afterMs: 1_500,
    call: (store) => store.consume('org', [{ ...quota, amounts: [1], keys: ['d'], idempotencyMs: 60_000 }])
  },
  { afterMs: 1_600, call: (store) => store.settle('org', { ...quota, key: 'lost', actual: 3 }) },
  {
    afterMs: 1_700,
    call: (store) =>
      store.hold('org', { ...quota, key: 'last', amount: 1, amountMin: 1, ttlMs: 10, onExpiry: 'returned' })
  },
  // Says which it ended, if it lives; that they have ended is what counts.
  { afterMs: 1_800, call: async (store) => void (await store.endExpired(10)) }
]

/** Without saying whether it was this call or one before it, whose answer was lost. */
const told = (answer: unknown): string => JSON.stringify(answer)?.replaceAll('"replayed":true', '"replayed":false')

/** Makes the calls from the step `from` on; counts how many were answered. */
async function run(db: SqlDatabase, answers: string[]): Promise<void> {
  const clock = virtualClock()
  const store = sqlQuotaStore(withStoreClock(db, clock))
  for (const { afterMs, call } of steps.slice(answers.length)) {
    clock.jumpWallTo(AT + afterMs)
    answers.push(told(await call(store)))
  }
}

async function remains(db: SqlDatabase): Promise<unknown> {
  const clock = virtualClock()
  clock.jumpWallTo(AT + 2_000)
  return sqlQuotaStore(withStoreClock(db, clock)).read('org', charges)
}

async function disk(): Promise<SqlDatabase> {
  const db = sqliteDatabase({ path: ':memory:' })
  await migrate(db, [meteringSchema])
  return db
}

describe('a process that dies while it uses a quota', () => {
  it('has spent, held and settled each key once when it comes back, with the first answers, at every point', async () => {
    await using unharmed = await disk()
    const expected: string[] = []
    await run(unharmed, expected)
    const left = await remains(unharmed)
    expect(left).toMatchObject([
      { used: 15, held: 0 },
      { used: 15, held: 0 }
    ])
    let points = 0
    for (let at = 0; ; at += stride) {
      await using store = await disk()
      const db = crashPoints(store, { at })
      const answers: string[] = []
      await run(db, answers).catch(unlessCrashed)
      await run(store, answers)
      expect(answers).toEqual(expected)
      expect(await remains(store)).toEqual(left)
      points = db.passed
      if (db.crashed === undefined) break
    }
    expect(points).toBeGreaterThan(60)
  })
})
