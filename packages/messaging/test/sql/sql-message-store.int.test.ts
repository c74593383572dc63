import { postgresDatabase } from '@enablement/core/postgres'
import type { SqlDatabase } from '@enablement/core/sql'
import { migrate } from '@enablement/core/sql'
import { conformanceTests } from '@enablement/core/testing'
import {
  createIdentity,
  createMessenger,
  createSealingKey,
  type MessagingEvent,
  type Messenger
} from '@enablement/messaging'
import { inProcessDirectory, inProcessTransport } from '@enablement/messaging/memory'
import { messagingSchema, sqlMessageStore } from '@enablement/messaging/sql'
import { messageStoreConformance } from '@enablement/messaging/testing'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { bytesOf, textOf } from '../support/town.ts'

const sealingKey = createSealingKey()
let pools: pg.Pool[]
let databases: SqlDatabase[]
let schema: string

beforeAll(async () => {
  schema = `messaging_${process.pid}_${process.hrtime.bigint()}`
  const admin = new pg.Pool({ connectionString: inject('postgresUrl'), max: 1 })
  await admin.query(`create schema ${schema}`)
  await admin.end()
  // Two pools, as two processes would have.
  pools = [1, 2].map(
    () => new pg.Pool({ connectionString: inject('postgresUrl'), max: 8, options: `-c search_path=${schema}` })
  )
  databases = pools.map((pool) => postgresDatabase(pool))
  await migrate(databases[0] as SqlDatabase, [messagingSchema])
})

afterAll(async () => {
  await pools[0]?.query(`drop schema ${schema} cascade`)
  for (const database of databases) await database.close()
  for (const pool of pools) if (!pool.ended) await pool.end()
})

describe('the SQL message store on Postgres', () => {
  let owners = 0
  const create = async () => {
    owners += 1
    return {
      store: sqlMessageStore(databases[0] as SqlDatabase, { sealingKey }),
      owner: `owner ${owners}`,
      async [Symbol.asyncDispose]() {}
    }
  }
  for (const { name, run } of conformanceTests(messageStoreConformance, { create, supports: {} })) it(name, run)
})

describe('two messengers of one identity on Postgres', () => {
  it('send and receive at the same time without using a message number twice or opening a message twice', async () => {
    const directory = inProcessDirectory()
    const transport = inProcessTransport()
    const events: MessagingEvent[] = []
    const identity = await createIdentity()
    const make = async (address: string, own: typeof identity, database: number): Promise<Messenger> =>
      await createMessenger({
        address,
        identity: own,
        store: sqlMessageStore(databases[database] as SqlDatabase, { sealingKey }),
        directory,
        transport,
        trust: () => true,
        observe: (event) => events.push(event)
      })
    const bob = await make('bob#1', await createIdentity(), 0)
    await bob.publishPrekeys()
    const [one, two] = [await make('alice#1', identity, 0), await make('alice#1', identity, 1)]
    await one.publishPrekeys()
    const heard: string[] = []
    const texts = Array.from({ length: 40 }, (_, at) => `m${at}`)
    const allHeard = new Promise<void>((resolve) => {
      bob.receive(async (message) => {
        await message.ack()
        heard.push(textOf(message.bytes))
        if (heard.length === texts.length) resolve()
      })
    })
    const sent = await Promise.all(
      texts.map((text, at) => (at % 2 === 0 ? one : two).send('bob#1', bytesOf(text), { idempotencyKey: text }))
    )
    expect(new Set(sent.map(({ outcome }) => outcome))).toEqual(new Set(['delivered']))
    await allHeard
    expect(heard.toSorted()).toEqual(texts.toSorted())
    expect(new Set(sent.map((each) => (each.outcome === 'delivered' ? each.id : ''))).size).toBe(texts.length)
    expect(events.filter(({ type }) => type === 'message.refused')).toEqual([])

    // Each turn leaves the other process behind by one version, which its next commit finds out.
    events.length = 0
    for (const messenger of [one, two, one]) await messenger.send('bob#1', bytesOf('by turns'))
    expect(events.filter(({ type }) => type === 'session.contended').length).toBeGreaterThanOrEqual(2)

    // A repetition in the other process finds what this one sent.
    expect(await one.send('bob#1', bytesOf('m39'), { idempotencyKey: 'm39' })).toEqual(sent[39])
    await Promise.all([one.close(), two.close(), bob.close()])
  })
})
