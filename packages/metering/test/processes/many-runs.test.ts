import { auditSchema } from '@enablement/core/audit'
import { migrate, rows, type SqlDatabase } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { seededRandom, virtualClock, withStoreClock } from '@enablement/core/testing'
import { meteringSchema } from '@enablement/metering/sql'
import { describe, expect, inject, it } from 'vitest'
import { eventOf, isLastMinute, type Rooms, roomsOn, SUBSCRIPTIONS, shuffled, sizesOf, TENANT } from './contest.ts'

const HISTORIES = Math.ceil(2 * Math.min(inject('scale'), 20))
const EVENTS = 48
const DAY_MS = 86_400_000
const SIZES = sizesOf(1)
const START_AT = Date.UTC(2026, 7, 1)

type Step = (rooms: Rooms) => Promise<unknown>

/** A month and more of everything, in an order of its own. `pass` lets time go on. */
function historyOf(seed: number, pass: (ms: number) => void): Step[] {
  const random = seededRandom(seed)
  const numbers = Array.from({ length: EVENTS }, (_, number) => number).filter(
    (number) => !isLastMinute(eventOf(number))
  )
  const duties: Step = async ({ invoicing }) => {
    for (const duty of invoicing.duties) {
      while ((await duty.run({ signal: new AbortController().signal })).handled > 0);
    }
  }
  const steps = numbers.flatMap((number): Step[] => {
    const key = `k${number}`
    const amount = 1 + (number % 7)
    return [
      ({ meter }) => meter.record(eventOf(number)),
      ({ quotas }) =>
        quotas.bind({ tenant: TENANT, path: ['team'], limit: 'units' }).consume(amount, { idempotencyKey: key }),
      number % 3 === 0
        ? ({ wallet }) => wallet.grant({ id: key, amount: '9' })
        : ({ wallet }) => wallet.charge(`${amount}`, { idempotencyKey: key }),
      ({ wallet }) => wallet.hold('3', { idempotencyKey: `h${number}`, ttlMs: 3 * DAY_MS }),
      ({ wallet }) => wallet.commit(`h${number}`, '2'),
      ({ wallet }) => wallet.reverse(key, { amount: '1', idempotencyKey: `r${number}` })
    ]
  })
  const passing = Array.from(
    { length: 40 },
    (): Step => async (rooms) => {
      pass(DAY_MS)
      await duties(rooms)
    }
  )
  return shuffled([...steps, ...passing], random)
}

/** What is left of a history that was told to a process, or to many: each begins anew at a cut, and repeats the call there. */
async function leftOf(seed: number, isCut: () => boolean): Promise<unknown> {
  const clock = virtualClock()
  clock.jumpWallTo(START_AT + DAY_MS)
  await using db: SqlDatabase = withStoreClock(sqliteDatabase({ path: ':memory:' }), clock)
  await migrate(db, [auditSchema, meteringSchema])
  let rooms = roomsOn(db, clock, SIZES, {})
  const restart = async (): Promise<void> => {
    await rooms.quotas.close()
    rooms = roomsOn(db, clock, SIZES, {})
  }
  let passedMs = 0
  const pass = (ms: number): void => {
    passedMs += ms
    clock.jumpWallTo(START_AT + DAY_MS + passedMs)
  }
  for (const { name, calendar, starts } of SUBSCRIPTIONS) {
    await rooms.invoicing.enroll({ tenant: TENANT, subscription: name, calendar, at: starts[0] as number })
  }
  for (const step of historyOf(seed, pass)) {
    const before = passedMs
    await step(rooms)
    if (!isCut()) continue
    await restart()
    if (passedMs === before) await step(rooms)
  }
  await restart()
  await rooms.wallet.balance()
  const tables = [
    'usage_hours',
    'invoices',
    'invoice_lines',
    'credit_entries',
    'credit_lots',
    'quota_counters',
    'quota_spends'
  ]
  const left = await Promise.all(tables.map((table) => db.run(() => rows(`select * from metering_${table}`))))
  expect(left.every((found) => found.length > 0)).toBe(true)
  await rooms.quotas.close()
  return left
}

describe('usage, quotas, credits and invoices', () => {
  it.each(Array.from({ length: HISTORIES }, (_, at) => at + 1))(
    'are the same after one run and after many that repeat calls (history %d)',
    async (seed) => {
      const cuts = seededRandom(seed)
      expect(await leftOf(seed, () => cuts.below(3) === 0)).toEqual(await leftOf(seed, () => false))
    }
  )
})
