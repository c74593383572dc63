import { postgresDatabase } from '@enablement/core/postgres'
import { migrate } from '@enablement/core/sql'
import { meteringSchema, sqlUsageFeed, sqlUsageStore } from '@enablement/metering/sql'
import { ownSchema } from '@enablement/services/own-schema'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'

const own = ownSchema(inject('postgresUrl'), { max: 12 })
const database = postgresDatabase(own.pool)

beforeAll(async () => {
  await own.create()
  await migrate(database, [meteringSchema])
})
afterAll(async () => {
  await database.close()
  await own.drop()
})

const AT = Date.UTC(2026, 0, 15, 10)
const entry = (transactionId: string) => ({
  tenant: 'org',
  subscription: 'sub',
  transactionId,
  metric: 'calls',
  quantity: 1,
  at: AT,
  propertiesJson: '{}',
  payloadHash: 'h',
  receivedAt: AT,
  lateness: 'on-time' as const,
  rollup: { rollup: 'sum' as const }
})

const INSERT = `insert into metering_usage(tenant, subscription, transaction_id, metric, quantity, used_at, properties,
    payload_hash, received_at, counted_at, state, rollup, late, unconfirmed)
  values ('org', 'slow', $1, 'calls', 1, ${AT}, '{}', 'h', ${AT}, ${AT}, 'counted', 'sum', 0, 0)`

/** The last number there is, while nobody writes: the feed may be behind it, for others use the server, too. */
const last = async (): Promise<number> =>
  Number((await own.pool.query('select max(recorded_seq) as last from metering_usage')).rows[0].last ?? 0)

/** Whatever runs on the server at the same time holds a feed back: what is waited for comes, or the test is out of time. */
describe('the feed of a ledger on Postgres', () => {
  it('passes nothing over that was numbered before and is committed after', async () => {
    const store = sqlUsageStore(database)
    const feed = sqlUsageFeed(database)
    const slow = await own.pool.connect()
    try {
      await slow.query('begin')
      await slow.query(INSERT, ['first'])
      // Numbered after the slow one, and there before it.
      await store.record([entry('second')])
      for (let look = 0; look < 3; look++) expect(await feed.read({ after: 0, limit: 10 })).toEqual([])
      await slow.query('commit')
    } finally {
      slow.release()
    }
    let read: Awaited<ReturnType<typeof feed.read>> = []
    while (read.length < 2) read = await feed.read({ after: 0, limit: 10 })
    expect(read.map(({ transactionId }) => transactionId)).toEqual(['first', 'second'])
  })

  it('goes on behind units that never end all at once, and over those that are rolled back', async () => {
    const store = sqlUsageStore(database)
    const feed = sqlUsageFeed(database)
    const after = await last()
    let older = await own.pool.connect()
    await older.query('begin')
    await older.query(INSERT, ['rolled-back'])
    const recorded: string[] = []
    let seen: string[] = []
    // There is always somebody under way; each ends after the next has begun. Others use the server, too.
    for (let turn = 0; seen.length < 5; turn++) {
      const newer = await own.pool.connect()
      await newer.query('begin')
      await newer.query(INSERT, [`turn-${turn}`])
      await store.record([entry(`between-${turn}`)])
      recorded.push(`turn-${turn}`, `between-${turn}`)
      await older.query(turn === 0 ? 'rollback' : 'commit')
      older.release()
      older = newer
      seen = (await feed.read({ after, limit: 1_000 })).map(({ transactionId }) => transactionId)
    }
    await older.query('commit')
    older.release()
    let all = seen
    while (all.length < recorded.length) {
      all = (await feed.read({ after, limit: 1_000 })).map(({ transactionId }) => transactionId)
    }
    expect([...all].sort()).toEqual([...recorded].sort())
    expect(all.slice(0, seen.length)).toEqual(seen)
  })

  it('gives each event once to one who reads along while many write', async () => {
    const store = sqlUsageStore(database)
    const feed = sqlUsageFeed(database)
    let position = await last()
    const expected = Array.from({ length: 200 }, (_, at) => `race-${at}`)
    const read: string[] = []
    let isWriting = true
    const writes = Promise.all(
      [0, 1, 2, 3].map(async (writer) => {
        for (let at = writer; at < expected.length; at += 4) {
          const [stores] = [sqlUsageStore(database)]
          await (at % 3 === 0 ? store : stores).record([entry(expected[at] as string)])
        }
      })
    ).finally(() => {
      isWriting = false
    })
    const look = async (): Promise<void> => {
      for (const { transactionId, position: at } of await feed.read({ after: position, limit: 7 })) {
        read.push(transactionId)
        position = at
      }
    }
    while (isWriting) await look()
    await writes
    while (read.length < expected.length) await look()
    await look()
    expect([...read].sort()).toEqual([...expected].sort())
  })
})
