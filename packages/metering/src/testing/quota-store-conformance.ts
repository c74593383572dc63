import assert from 'node:assert/strict'
import { isSuiteError } from '@enablement/core'
import type { ConformanceKit } from '@enablement/core/testing'
import { QUANTITY_MAX } from '../event/usage-event.ts'
import type { Period } from '../quota/period.ts'
import type { QuotaAnswer, QuotaSpend, QuotaStore } from '../quota/quota-store.ts'
import { widestIdentifier } from './widest-identifier.ts'

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

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

/** 2040-02-29T10:00:00Z: on the hour, on a leap day. */
const START_AT = Date.UTC(2040, 1, 29, 10)

/** Runs `body` on a fresh subject whose clock shows `START_AT`. `consume` fills in what the case does not care about. */
function exam(
  body: (
    subject: QuotaStoreSubject & { consume: (spend: Partial<QuotaSpend>) => Promise<QuotaAnswer> }
  ) => Promise<void>
): (create: CreateQuotaStore) => Promise<void> {
  return async (create) => {
    await using subject = await create()
    const { store, clock, tenant } = subject
    clock.jumpWallTo(START_AT)
    let keys = 0
    const consume = (spend: Partial<QuotaSpend>): Promise<QuotaAnswer> => {
      keys += 1
      return store.consume({
        tenant,
        limit: 'units',
        quantity: 10,
        period: 'lifetime',
        amount: 1,
        idempotencyKey: `key-${keys}`,
        idempotencyMs: DAY_MS,
        ...spend
      })
    }
    await body({ ...subject, consume, [Symbol.asyncDispose]: async () => {} })
  }
}

const consumed = (remaining: number, resetsAt: number | null = null, replayed = false): QuotaAnswer => ({
  outcome: 'consumed',
  remaining,
  resetsAt,
  replayed
})

const refused = (remaining: number, resetsAt: number | null = null): QuotaAnswer => ({
  outcome: 'refused',
  remaining,
  resetsAt
})

const replayedOf = (answer: QuotaAnswer): boolean | undefined =>
  answer.outcome === 'consumed' ? answer.replayed : undefined

/** Instants, and when the month around them ends. */
const MONTHS: readonly (readonly [at: number, endsAt: number])[] = [
  [Date.UTC(2040, 1, 29, 23, 59, 59, 999), Date.UTC(2040, 2, 1)],
  [Date.UTC(2040, 2, 1), Date.UTC(2040, 3, 1)],
  [Date.UTC(2040, 11, 31, 23, 59, 59, 999), Date.UTC(2041, 0, 1)],
  [Date.UTC(2041, 0, 1), Date.UTC(2041, 1, 1)],
  [Date.UTC(2041, 1, 28, 12), Date.UTC(2041, 2, 1)],
  [Date.UTC(2099, 11, 15), Date.UTC(2100, 0, 1)],
  // 2100 is not a leap year, 2400 is.
  [Date.UTC(2100, 1, 28, 23, 59, 59, 999), Date.UTC(2100, 2, 1)],
  [Date.UTC(2400, 1, 29), Date.UTC(2400, 2, 1)]
]

/** The exam of a `QuotaStore`. */
export const quotaStoreConformance: ConformanceKit<CreateQuotaStore, never> = {
  name: 'QuotaStore',
  needs: [],
  cases: [
    {
      name: 'spends what is there and says what remains',
      run: exam(async ({ consume }) => {
        assert.deepEqual(await consume({ amount: 3 }), consumed(7))
        assert.deepEqual(await consume({ amount: 7 }), consumed(0))
      })
    },
    {
      name: 'takes nothing when it refuses',
      run: exam(async ({ consume }) => {
        assert.deepEqual(await consume({ amount: 8 }), consumed(2))
        assert.deepEqual(await consume({ amount: 5 }), refused(2))
        assert.deepEqual(await consume({ amount: 2 }), consumed(0))
        assert.deepEqual(await consume({ amount: 1 }), refused(0))
      })
    },
    {
      name: 'refuses everything under a limit of zero',
      run: exam(async ({ consume }) => {
        assert.deepEqual(await consume({ quantity: 0 }), refused(0))
      })
    },
    {
      name: 'spends once for a key and repeats the first answer',
      run: exam(async ({ consume }) => {
        assert.deepEqual(await consume({ amount: 4, idempotencyKey: 'call' }), consumed(6))
        assert.deepEqual(await consume({ amount: 1 }), consumed(5))
        assert.deepEqual(await consume({ amount: 4, idempotencyKey: 'call' }), consumed(6, null, true))
        assert.deepEqual(await consume({ amount: 5 }), consumed(0))
        assert.deepEqual(await consume({ amount: 4, idempotencyKey: 'call' }), consumed(6, null, true))
      })
    },
    {
      name: 'does not burn a key by refusing it',
      run: exam(async ({ consume, clock }) => {
        const period = { everyMs: HOUR_MS }
        assert.deepEqual(await consume({ amount: 10, period }), consumed(0, START_AT + HOUR_MS))
        const call = { amount: 4, period, idempotencyKey: 'call' }
        assert.deepEqual(await consume(call), refused(0, START_AT + HOUR_MS))
        clock.jumpWallTo(START_AT + HOUR_MS)
        assert.deepEqual(await consume(call), consumed(6, START_AT + 2 * HOUR_MS))
      })
    },
    {
      name: 'reports a key that comes with another amount and spends nothing',
      run: exam(async ({ consume }) => {
        assert.deepEqual(await consume({ amount: 4, idempotencyKey: 'call' }), consumed(6))
        assert.deepEqual(await consume({ amount: 5, idempotencyKey: 'call' }), { outcome: 'conflict', firstAmount: 4 })
        assert.deepEqual(await consume({ amount: 1 }), consumed(5))
      })
    },
    {
      name: 'keeps tenants, limits, subjects and their keys apart, whatever they are called',
      run: exam(async ({ consume, tenant }) => {
        const names = ['a', 'a:b', 'b', '{a}', '}', '%', '%3A', 'ä', '💶', '"', "'; drop table", '%:b', 'a'.repeat(255)]
        for (const counter of [{}, ...names.map((subject) => ({ subject }))]) {
          assert.deepEqual(await consume({ ...counter, amount: 9, idempotencyKey: 'call' }), consumed(1))
        }
        for (const name of names) {
          const other = `${tenant}${name}`.slice(0, 255)
          if (other !== tenant) {
            assert.deepEqual(await consume({ amount: 9, tenant: other, idempotencyKey: 'call' }), consumed(1))
          }
        }
        assert.deepEqual(await consume({ amount: 9, limit: 'other', idempotencyKey: 'call' }), consumed(1))
        assert.deepEqual(await consume({ amount: 9, limit: 'units.a', idempotencyKey: 'call' }), consumed(1))
        // Pairs that are one text when the parts are joined, whatever joins them.
        for (const joint of [':', '/', ',', '","', '|', '%3A']) {
          assert.equal(replayedOf(await consume({ subject: `a${joint}b`, idempotencyKey: 'c' })), false)
          assert.equal(replayedOf(await consume({ subject: 'a', quantity: 99, idempotencyKey: `b${joint}c` })), false)
        }
        for (const idempotencyKey of names) {
          assert.equal(replayedOf(await consume({ quantity: 99, idempotencyKey })), false)
          assert.equal(replayedOf(await consume({ quantity: 99, idempotencyKey })), true)
        }
      })
    },
    {
      name: 'takes identifiers of the greatest length and width together',
      run: exam(async ({ consume, tenant }) => {
        const long = {
          tenant: `${tenant}${widestIdentifier(7)}`.slice(0, 255),
          limit: 'x'.repeat(64),
          subject: widestIdentifier(11),
          idempotencyKey: widestIdentifier(13)
        }
        assert.equal(replayedOf(await consume(long)), false)
        assert.equal(replayedOf(await consume(long)), true)
        const colons = ':'.repeat(255)
        assert.equal(
          replayedOf(await consume({ ...long, tenant: `${tenant}${colons}`.slice(0, 255), subject: colons })),
          false
        )
      })
    },
    {
      name: 'never sells more than there is to callers at the same time',
      run: exam(async ({ consume }) => {
        const quantity = 100
        const answers = await Promise.all(
          Array.from({ length: 64 }, (_, at) => consume({ quantity, amount: 1 + (at % 5) }))
        )
        const sold = answers.reduce((sum, { outcome }, at) => sum + (outcome === 'consumed' ? 1 + (at % 5) : 0), 0)
        const left = quantity - sold
        assert.ok(left >= 0, `sold ${sold} of ${quantity}`)
        assert.deepEqual(await consume({ quantity, amount: left + 1 }), refused(left))
      })
    },
    {
      name: 'sells the last unit to one of many',
      run: exam(async ({ consume }) => {
        const answers = await Promise.all(Array.from({ length: 16 }, () => consume({ quantity: 1 })))
        assert.equal(answers.filter(({ outcome }) => outcome === 'consumed').length, 1)
      })
    },
    {
      name: 'spends once for calls with one key at the same time',
      run: exam(async ({ consume }) => {
        const call = { amount: 4, idempotencyKey: 'call' }
        const answers = await Promise.all(Array.from({ length: 16 }, () => consume(call)))
        assert.equal(answers.filter((answer) => answer.outcome === 'consumed' && !answer.replayed).length, 1)
        assert.ok(answers.every((answer) => answer.outcome === 'consumed' && answer.remaining === 6))
        assert.deepEqual(await consume({ amount: 7 }), refused(6))
      })
    },
    {
      name: 'starts anew when the window ends, to the millisecond',
      run: exam(async ({ consume, clock }) => {
        const period = { everyMs: HOUR_MS }
        const endsAt = START_AT + HOUR_MS
        assert.deepEqual(await consume({ amount: 10, period }), consumed(0, endsAt))
        clock.jumpWallTo(endsAt - 1)
        assert.deepEqual(await consume({ period }), refused(0, endsAt))
        clock.jumpWallTo(endsAt)
        assert.deepEqual(await consume({ amount: 10, period }), consumed(0, endsAt + HOUR_MS))
        clock.jumpWallTo(endsAt + 5 * HOUR_MS + 1)
        assert.deepEqual(await consume({ period }), consumed(9, endsAt + 6 * HOUR_MS))
      })
    },
    {
      name: 'knows where calendar months end',
      run: exam(async ({ consume, clock }) => {
        const period = 'calendar-month-utc'
        for (const [at, endsAt] of MONTHS) {
          clock.jumpWallTo(at)
          assert.deepEqual(await consume({ period, amount: 10, idempotencyMs: 1 }), consumed(0, endsAt))
          assert.deepEqual(await consume({ period }), refused(0, endsAt))
        }
      })
    },
    {
      name: 'remembers a key beyond its window, for as long as it was told and no longer',
      run: exam(async ({ consume, clock }) => {
        const call = { amount: 4, period: { everyMs: HOUR_MS }, idempotencyKey: 'call', idempotencyMs: 3 * HOUR_MS }
        const first = START_AT + 10
        clock.jumpWallTo(first)
        assert.deepEqual(await consume(call), consumed(6, START_AT + HOUR_MS))
        clock.jumpWallTo(first + 3 * HOUR_MS - 1)
        assert.deepEqual(await consume(call), consumed(6, START_AT + HOUR_MS, true))
        clock.jumpWallTo(first + 3 * HOUR_MS)
        assert.deepEqual(await consume(call), consumed(6, START_AT + 4 * HOUR_MS))
        assert.deepEqual(await consume(call), consumed(6, START_AT + 4 * HOUR_MS, true))
      })
    },
    {
      name: 'does not start anew when the clock is set back',
      run: exam(async ({ consume, clock }) => {
        const period = { everyMs: HOUR_MS }
        assert.deepEqual(await consume({ amount: 10, period }), consumed(0, START_AT + HOUR_MS))
        clock.jumpWallTo(START_AT - 1)
        assert.deepEqual(await consume({ period }), refused(0, START_AT + HOUR_MS))
        clock.jumpWallTo(START_AT + 1)
        assert.deepEqual(await consume({ period }), refused(0, START_AT + HOUR_MS))
      })
    },
    {
      name: 'lets a new period begin where the running window ends',
      run: exam(async ({ consume, clock }) => {
        assert.deepEqual(await consume({ amount: 10, period: { everyMs: HOUR_MS } }), consumed(0, START_AT + HOUR_MS))
        const daily: Period = { everyMs: DAY_MS }
        assert.deepEqual(await consume({ period: daily }), refused(0, START_AT + HOUR_MS))
        clock.jumpWallTo(START_AT + HOUR_MS)
        assert.deepEqual(await consume({ period: daily }), consumed(9, Date.UTC(2040, 2, 1)))
      })
    },
    {
      name: 'lets a lifetime end when its limit is given a period',
      run: exam(async ({ consume }) => {
        assert.deepEqual(await consume({ amount: 10 }), consumed(0))
        assert.deepEqual(await consume({ period: { everyMs: HOUR_MS } }), consumed(9, START_AT + HOUR_MS))
      })
    },
    {
      name: 'counts what was used against the limit as it is now, and never below zero',
      run: exam(async ({ consume }) => {
        assert.deepEqual(await consume({ amount: 8 }), consumed(2))
        assert.deepEqual(await consume({ quantity: 5 }), refused(0))
        assert.deepEqual(await consume({ quantity: 9 }), consumed(0))
        assert.deepEqual(await consume({ quantity: 12 }), consumed(2))
      })
    },
    {
      name: 'throws an error of the suite for an impossible amount, and changes nothing',
      run: exam(async ({ consume }) => {
        for (const amount of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, QUANTITY_MAX + 1]) {
          await assert.rejects(consume({ amount, idempotencyKey: 'call' }), (error) => isSuiteError(error), `${amount}`)
        }
        assert.deepEqual(await consume({ amount: 1, idempotencyKey: 'call' }), consumed(9))
      })
    },
    {
      name: 'is exact at the largest amounts',
      run: exam(async ({ consume }) => {
        const quantity = QUANTITY_MAX
        assert.deepEqual(await consume({ quantity, amount: QUANTITY_MAX - 2 }), consumed(2))
        assert.deepEqual(await consume({ quantity, amount: QUANTITY_MAX }), refused(2))
        assert.deepEqual(await consume({ quantity, amount: 3 }), refused(2))
        assert.deepEqual(await consume({ quantity, amount: 1 }), consumed(1))
        assert.deepEqual(await consume({ quantity, amount: 1 }), consumed(0))
        assert.deepEqual(await consume({ quantity, amount: 1 }), refused(0))
      })
    }
  ]
}
