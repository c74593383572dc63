import { type Clock, isSuiteError, type Random, sleep, systemClock } from '@enablement/core'
import {
  eventOf,
  isFor,
  isLastMinute,
  type Rooms,
  type Sizes,
  SUBSCRIPTIONS,
  sentFrom,
  shuffled,
  TENANT
} from './contest.ts'
import type { Witness } from './witness.ts'

/** Which part of the work is whose. */
export interface Share {
  readonly place: number
  readonly places: number
  readonly sizes: Sizes
  /** The time of bills. */
  readonly clock: Clock
  readonly random: Random
  readonly witness: Witness
}

/** Items that a process works on at the same time. */
const CONCURRENCY = 8
/** How long a process waits before it asks a store again that gave no answer, in milliseconds. */
const PAUSE_MS = 20
/** Holds that last so long are over before whoever made them settles. */
const SHORT_MS = 5
const LONG_MS = 60_000

interface Item {
  /** Names what is done, the same for all processes that do it. */
  readonly name: string
  /** For its time to come: it holds up no others. */
  readonly waits?: boolean
  /** Does it, and gives what it was told: words for the witness. `undefined` is no answer, so that it is done again. */
  do(): Promise<readonly (string | number | boolean)[] | undefined>
}

/** Does all of its share, in an order of its own, and goes on from what the witness knows that this place has done. */
export async function doShare(rooms: Rooms, share: Share): Promise<void> {
  const { place, witness, random } = share
  const done = new Set(
    witness
      .lines()
      .filter(([word, by]) => word === 'told' && by === `${place}`)
      .map(([, , name]) => name)
  )
  for (const { name, calendar, starts, billedBy } of SUBSCRIPTIONS) {
    if (billedBy === 'calls') continue
    const query = { tenant: TENANT, subscription: name, calendar, at: starts[0] as number }
    await again(async () => (await rooms.invoicing.enroll(query)).outcome)
  }
  const left = shuffled(
    itemsOf(rooms, share).filter(({ name }) => !done.has(name)),
    random
  )
  const take = async (items: Iterable<Item>): Promise<void> => {
    for (const { name, do: work } of items) witness.tell('told', place, name, ...(await again(work)))
  }
  const queue = left.filter(({ waits }) => waits !== true).values()
  const waiting = left.filter(({ waits }) => waits === true)
  await Promise.all([...waiting.map((item) => take([item])), ...Array.from({ length: CONCURRENCY }, () => take(queue))])
}

/** Asks until there is an answer: whoever does not know whether a call took effect makes it again, with the same key. */
async function again<Answer>(work: () => Promise<Answer | undefined>): Promise<Answer> {
  for (;;) {
    try {
      const answer = await work()
      if (answer !== undefined) return answer
    } catch (error) {
      if (!isSuiteError(error, 'STORE_FAILED')) throw error
    }
    await sleep(systemClock, PAUSE_MS)
  }
}

function itemsOf(rooms: Rooms, { place, places, sizes, clock, random, witness }: Share): Item[] {
  const { meter, quotas, wallet, invoices } = rooms
  const mine = (count: number): number[] =>
    Array.from({ length: count }, (_, number) => number).filter((number) => isFor(number, place, places))
  const numbered = (
    count: number,
    kind: string,
    work: (number: number, key: string) => ReturnType<Item['do']>
  ): Item[] => mine(count).map((number) => ({ name: `${kind}${number}`, do: () => work(number, `${kind}${number}`) }))

  const units = [
    quotas.bind({ tenant: TENANT, limit: 'units' }),
    quotas.bind({ tenant: TENANT, path: ['team'], limit: 'units' })
  ]
  const leased = quotas.bind({ tenant: TENANT, limit: 'leased' })
  const slots = quotas.bind({ tenant: TENANT, limit: 'slots' })

  const record = async (number: number): ReturnType<Item['do']> => {
    const event = eventOf(number)
    // What is not yet used is waited for: two days pass in a second.
    while (sentFrom(event) > clock.now()) await sleep(systemClock, PAUSE_MS)
    // Alone, or among others that have been sent before or are sent again later.
    if (number % 2 === 0 || isLastMinute(event)) return [(await meter.record(event)).outcome]
    const others = mine(sizes.events).filter((other) => {
      const another = eventOf(other)
      return !isLastMinute(another) && another.at <= clock.now()
    })
    const batch = shuffled(others, random).slice(0, random.below(6))
    const [outcome] = await meter.recordBatch([event, ...batch.map(eventOf)])
    return outcome?.outcome === 'unknown' ? undefined : [outcome?.outcome as string]
  }

  const hold = async (number: number, key: string): ReturnType<Item['do']> => {
    const quota = number % 4 === 3 ? slots : (units[number % 2] as (typeof units)[number])
    const isShort = number % 5 === 0
    const held = await quota.hold(4, { idempotencyKey: key, ttlMs: isShort ? SHORT_MS : LONG_MS })
    if (held.outcome === 'unavailable') return undefined
    if (held.outcome === 'settled') return ['settled', held.actual, held.charged]
    if (held.outcome !== 'held') return [held.outcome]
    await sleep(systemClock, isShort ? SHORT_MS * 2 : 1)
    const end = await held.hold.commit(number % 7 === 0 ? 0 : 3)
    if (end.outcome === 'unavailable') return undefined
    return end.outcome === 'settled' ? ['settled', end.actual, end.charged] : [end.outcome]
  }

  const charge = async (number: number, key: string): ReturnType<Item['do']> => {
    const amount = 1 + (number % 6)
    const charged = await wallet.charge(`${amount}`, { idempotencyKey: key })
    if (charged.outcome !== 'charged' || number % 4 !== 0) return [charged.outcome]
    const back = await wallet.reverse(key, { amount: '1', idempotencyKey: `back-${key}` })
    return [charged.outcome, back.outcome]
  }

  const creditHold = async (number: number, key: string): ReturnType<Item['do']> => {
    const ttlMs = number % 5 === 0 ? SHORT_MS : LONG_MS
    const held = await wallet.hold('5', { idempotencyKey: key, ttlMs })
    if (held.outcome !== 'held' && held.outcome !== 'ended') return [held.outcome]
    if (number % 4 === 3) return [(await wallet.release(key)).outcome]
    if (ttlMs === SHORT_MS) await sleep(systemClock, SHORT_MS * 2)
    return [(await wallet.commit(key, '3')).outcome]
  }

  return [
    ...numbered(sizes.events, 'e', record).map((item, at) => ({
      ...item,
      waits: isLastMinute(eventOf(mine(sizes.events)[at] as number))
    })),
    ...numbered(sizes.spends, 'spend', async (number, key) => {
      const amount = 1 + (number % 5)
      const spent = await (units[number % 2] as (typeof units)[number]).consume(amount, { idempotencyKey: key })
      return spent.outcome === 'unavailable' ? undefined : [spent.outcome, amount]
    }),
    ...numbered(sizes.quotaHolds, 'hold', hold),
    ...Array.from(
      { length: sizes.takes },
      (_, number): Item => ({
        name: `take${number}`,
        async do() {
          const taken = leased.tryConsume()
          if (taken !== 'ask') return [taken]
          // Before the answer, which a kill may lose.
          witness.tell('asks', place, 'take')
          const spent = await leased.consume()
          return spent.outcome === 'unavailable' ? undefined : [spent.outcome]
        }
      })
    ),
    ...Array.from(
      { length: sizes.grants },
      (_, number): Item => ({
        name: `grant${number}`,
        do: async () => [(await wallet.grant({ id: `grant${number}`, amount: '20' })).outcome]
      })
    ),
    ...numbered(sizes.charges, 'charge', charge),
    ...numbered(sizes.creditHolds, 'pin', creditHold),
    ...SUBSCRIPTIONS.filter(({ billedBy }) => billedBy === 'calls').map(
      ({ name, calendar, starts, closesAt }): Item => ({
        name: `final-${name}`,
        waits: true,
        async do() {
          while (clock.now() < closesAt) await sleep(systemClock, PAUSE_MS)
          // What came late is then for several invoices to bill, of which one may.
          const finals = shuffled(starts.slice(0, -1), random).map((at) =>
            rooms.invoicing.final({ tenant: TENANT, subscription: name, calendar, at })
          )
          return (await Promise.all(finals)).map(({ outcome }) => outcome)
        }
      })
    ),
    ...numbered(sizes.adjustments, 'credit', async (number, key) => {
      const { name, starts } = SUBSCRIPTIONS[number % SUBSCRIPTIONS.length] as (typeof SUBSCRIPTIONS)[number]
      const period = { from: starts[0] as number, to: starts[1] as number }
      const line = { kind: 'credit', description: key, period, minorUnits: -1n, exact: '-0.01' } as const
      const adjustment = { idempotencyKey: key, tenant: TENANT, subscription: name, currency: 'EUR', line }
      const [put] = await invoices.adjust([adjustment], { evidence: [] })
      return [put?.outcome as string]
    })
  ]
}
