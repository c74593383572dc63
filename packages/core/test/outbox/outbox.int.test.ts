import { createOutbox, type Outbox, type OutboxMessage, outboxSchema } from '@enablement/core/outbox'
import { postgresDatabase } from '@enablement/core/postgres'
import { startWorker } from '@enablement/core/schedule'
import { execute, firstRow, integerOf, migrate, rows, type Sql, type SqlDatabase, textOf } from '@enablement/core/sql'
import { seededRandom } from '@enablement/core/testing'
import { afterAll, describe, expect, inject, it } from 'vitest'
import { testSchemas } from '../postgres/test-schemas.ts'
import { outboxContract } from './outbox-contract.ts'
import { rewriting } from './rewriting.ts'

// Writers must still meet on the built output.
const scale = Math.min(Math.max(inject('scale'), 0.5), 20)
const schemas = testSchemas()
afterAll(() => schemas.drop())

outboxContract('Postgres', async () => postgresDatabase(await schemas.pool({ max: 4 })))

async function fresh(max = 24): Promise<SqlDatabase> {
  const db = postgresDatabase(await schemas.pool({ max }))
  await migrate(db, [outboxSchema])
  return db
}

interface Delivered {
  readonly arrived: OutboxMessage[]
  readonly outbox: Outbox
  untilEmpty(): Promise<void>
  close(): Promise<void>
}

/** Workers as in as many processes, which poll all the time. */
function deliver(
  db: SqlDatabase,
  workers: number,
  options: { readonly concurrency?: number; readonly retentionMs?: number } = {}
): Delivered {
  const arrived: OutboxMessage[] = []
  const make = () =>
    createOutbox({
      db,
      name: 'mail',
      ...options,
      async deliver(message) {
        arrived.push(message)
        await new Promise((resolve) => setImmediate(resolve))
        return { outcome: 'delivered' }
      }
    })
  const outbox = make()
  const running = Array.from({ length: workers }, () => startWorker({ duties: make().duties, pollMs: 20 }))
  return {
    arrived,
    outbox,
    async untilEmpty() {
      while ((await outbox.health()).pending > 0) await new Promise((resolve) => setTimeout(resolve, 10))
    },
    async close() {
      await Promise.all(running.map((worker) => worker.close()))
    }
  }
}

/** How a unit puts a message to the key that all write to. */
type Put = (outbox: Outbox, payload: string) => Sql<unknown>

const alone: Put = (outbox, payload) => outbox.put({ payload, key: 'k' })
const amongOthers: Put = (outbox, payload) =>
  outbox.putAll([{ payload: '' }, { payload, key: 'k' }, { payload: '', idempotencyKey: payload }])

/**
 * Eight writers put to one key in units that last differently long. Each unit counts what it sees of the key, its own
 * message included: where it comes after all that it sees, that is its place. Gives the places in the order of arrival, or without
 * workers in that of the numbers.
 */
async function writeOneKey(db: SqlDatabase, put: Put, workers = 3): Promise<number[]> {
  const { arrived, outbox, untilEmpty, close } = deliver(db, workers, { retentionMs: 3_600_000 })
  const random = seededRandom(3)
  const places = new Map<string, number>()
  const writer = async (name: number): Promise<void> => {
    for (let at = 0; at < 12 * scale; at++) {
      const payload = `${name}/${at}`
      const sleepSeconds = random.float() < 0.3 ? 0.02 : 0
      const place = await db.run(function* () {
        yield* put(outbox, payload)
        const seen = yield* firstRow("select count(*) as seen from outbox_messages where message_key = 'k'")
        // It is numbered, and not yet committed.
        if (sleepSeconds > 0) yield* execute('select pg_sleep(cast(? as double precision))', String(sleepSeconds))
        return integerOf(seen ?? {}, 'seen')
      })
      places.set(payload, place)
    }
  }
  await Promise.all(Array.from({ length: 8 }, (_, name) => writer(name)))
  if (workers === 0) {
    const text = "select payload_text from outbox_messages where message_key = 'k' order by sequence"
    return (await db.run(() => rows(text))).map((row) => places.get(textOf(row, 'payload_text')) ?? 0)
  }
  await untilEmpty()
  await close()
  return arrived.flatMap(({ key, payload }) => (key === 'k' ? [places.get(String(payload)) ?? 0] : []))
}

/** Two writers put to the same 300 keys, in opposite orders. Tells whether a unit had to be run again. */
async function putCrosswise(db: SqlDatabase, rounds: number): Promise<{ again: boolean; messages: number }> {
  const outbox = createOutbox({ db, name: 'mail', deliver: async () => ({ outcome: 'delivered' }) })
  const keys = Array.from({ length: 300 }, (_, at) => `k${at}`)
  let again = false
  const writer = async (order: readonly string[]): Promise<void> => {
    for (let at = 0; at < rounds && !again; at++) {
      let runs = 0
      await db.run(() => {
        runs += 1
        return outbox.putAll(order.map((key) => ({ payload: 'x', key })))
      })
      again ||= runs > 1
    }
  }
  await Promise.all([writer(keys), writer(keys.toReversed())])
  return { again, messages: (await outbox.health()).pending }
}

describe('an outbox with many writers on Postgres', { timeout: 600_000 }, () => {
  const everyPlace = Array.from({ length: 96 * scale }, (_, at) => at + 1)

  it.each([
    ['one by one', alone],
    ['with others', amongOthers]
  ])(
    'delivers what is put to a key %s in the order of commits, whichever units were begun first',
    async (_name, put) => {
      expect(await writeOneKey(await fresh(), put)).toEqual(everyPlace)
    }
  )

  it.each([
    ['one by one', alone, /insert into outbox_keys\(.*?returning used_on/s, 'select cast(? as text), cast(? as text)'],
    ['with others, without queuing on it first', amongOthers, '(select count(*) from locked) >= 0', 'true']
  ])('would not, if writers put to the key %s', async (_name, put, queue, instead) => {
    const unqueued = rewriting(await fresh(), (text) => text.replace(queue, instead))
    expect(await writeOneKey(unqueued, put, 0)).not.toEqual(everyPlace)
  })

  it('lets units that put many messages to the same keys in different orders pass one after the other', async () => {
    expect(await putCrosswise(await fresh(), 8 * scale)).toEqual({ again: false, messages: 4_800 * scale })
  })

  it('would let them wait for each other, if they locked the keys in the order of their messages', async () => {
    const crossing = rewriting(await fresh(), (text) =>
      text.replace('order by message_key', 'order by min(place), message_key')
    )
    expect(await putCrosswise(crossing, 100)).toMatchObject({ again: true })
  })

  it('loses no message, lets none overtake and repeats none while all is well, whatever the workers and keys', async () => {
    const db = await fresh()
    const { arrived, outbox, untilEmpty, close } = deliver(db, 4, { concurrency: 8 })
    const random = seededRandom(11)
    const committed = new Map<string, number>()
    const count = 500 * scale
    const writer = async (): Promise<void> => {
      for (let at = 0; at < count / 10; at++) {
        const key = `k${random.below(12)}`
        await db.run(function* () {
          yield* outbox.put({ payload: 'x', key })
          if (random.below(2) === 0) yield* outbox.put({ payload: 'y', key })
          yield* outbox.put({ payload: 'z' })
        })
        committed.set(key, (committed.get(key) ?? 0) + 1)
      }
    }
    await Promise.all(Array.from({ length: 10 }, writer))
    await untilEmpty()
    await close()
    expect(new Set(arrived.map(({ id }) => id)).size).toBe(arrived.length)
    expect(arrived.filter(({ payload }) => payload === 'z')).toHaveLength(count)
    for (const [key, units] of committed) {
      const ofKey = arrived.filter((message) => message.key === key)
      const sequences = ofKey.map(({ sequence }) => sequence)
      expect(ofKey.filter(({ payload }) => payload === 'x')).toHaveLength(units)
      expect(sequences).toEqual([...sequences].sort((one, other) => one - other))
    }
    const keys = await db.run(() => firstRow('select count(*) as keys from outbox_keys'))
    expect(integerOf(keys ?? {}, 'keys')).toBe(12)
  })

  it('leaves no message behind when operators drop those before it while workers deliver', async () => {
    const db = await fresh()
    const { arrived, outbox, untilEmpty, close } = deliver(db, 3, { concurrency: 4 })
    const random = seededRandom(13)
    const outcomes = { dropped: 0, busy: 0, unknown: 0 }
    const ids: string[] = []
    const writer = async (): Promise<void> => {
      for (let at = 0; at < 20 * scale; at++) {
        const key = `k${random.below(4)}`
        await db.run(function* () {
          for (let message = 0; message < 3; message++) ids.push((yield* outbox.put({ payload: 'x', key })).id)
        })
        const id = ids[Math.max(0, ids.length - 1 - random.below(12))] as string
        const { outcome } = await db.run(() => outbox.drop(id))
        outcomes[outcome] += 1
      }
    }
    await Promise.all(Array.from({ length: 8 }, writer))
    await untilEmpty()
    await close()
    expect(outcomes.dropped).toBeGreaterThan(0)
    expect(new Set(arrived.map(({ id }) => id)).size + outcomes.dropped).toBe(new Set(ids).size)
  })

  it('forgets keys that nobody has put to for a day', async () => {
    const db = await fresh()
    const make = () => createOutbox({ db, name: 'mail', deliver: async () => ({ outcome: 'delivered' }) })
    const outbox = make()
    await db.run(function* () {
      for (let at = 0; at < 1_100; at++) yield* outbox.put({ payload: 'x', key: `k${at}` })
    })
    const { signal } = new AbortController()
    expect(await outbox.duties[1]?.run({ signal })).toEqual({ handled: 0 })
    await db.run(() => execute("update outbox_keys set used_on = used_on - 2 where message_key <> 'k7'"))
    const [, purge] = make().duties
    expect(await purge?.run({ signal })).toEqual({ handled: 1_000 })
    expect(await purge?.run({ signal })).toEqual({ handled: 99 })
  })
})
